// Loaded before libc into a daemon under test: stands in for calls that take descriptors or write, counts them, and lets some
// fail, or hang, as told by a file that the test and this process map together. shim.ts is its other half, and names the calls in this order.
//
// What it does not see: calls that libc makes inside itself (opendir, fopen and scandir are therefore here as such), raw syscalls and
// io_uring. It asks for no memory and opens nothing of its own once it stands.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum call {
  CALL_open, CALL_accept, CALL_socket, CALL_pipe, CALL_eventfd, CALL_epoll, CALL_inotify, CALL_dup, CALL_watch, CALL_read, CALL_write,
  CALL_fsync, CALL_truncate, CALL_allocate, CALL_lock, CALL_thread, CALL_limit, CALLS
};

#define RULES 8
#define HANGS -1  // instead of an errno: the call goes on when the rule has ended
#define TEXT 256

struct count { _Atomic uint64_t calls, failed; };

struct rule {
  _Atomic uint32_t active;
  int32_t error;
  uint32_t calls;    // a bit for each enum call
  uint32_t after;    // so many matching calls pass first
  uint32_t times;    // then so many fail; 0 is all of them
  uint32_t share;    // of those, in 2^32 parts; 0 is all of them
  uint32_t threads;  // 0 any, 1 the main thread, 2 the others
  uint32_t seed;
  _Atomic uint64_t matched, failed;
  char path[TEXT];   // part of the path, or of what the descriptor points to; empty is any
  char last[TEXT];   // what was refused last: only for people
};

struct control {
  _Atomic uint32_t attached;  // pid of the process that reads this
  _Atomic uint32_t trim;      // set by the test: malloc is to give the kernel back what it keeps and nobody uses, and then to tell
  _Atomic uint64_t used;      // how many bytes of it are in use
  uint32_t unused[12];
  struct count counts[60];
  struct rule rules[RULES];
};
_Static_assert(sizeof(struct count) == 16 && sizeof(struct rule) == 560 && sizeof(struct control) == 64 + 960 + RULES * 560, "as in shim.ts");

static struct control *control;
static pid_t self;

// Only the daemon is meant: not the shell, prlimit, unshare and `node --version` on the way to it, and not what it starts.
__attribute__((constructor)) static void attach(int count, char **words) {
  const char *path = getenv("SPACEDRIVE_SHIM");
  char program[TEXT];
  const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (path == NULL || length <= 0 || (count == 2 && strcmp(words[1], "--version") == 0)) return;
  program[length] = 0;
  const char *base = strrchr(program, '/');
  if (strncmp(base ? base + 1 : program, "node", 4) != 0) return;
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void *shared = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  unsetenv("LD_PRELOAD");
  unsetenv("SPACEDRIVE_SHIM");
  if (shared == MAP_FAILED) return;
  control = shared;
  self = getpid();
  atomic_store(&control->attached, (uint32_t)self);
}

static uint32_t mixed(uint64_t number) {
  number = (number + 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
  number = (number ^ (number >> 27)) * 0x94d049bb133111ebu;
  return (uint32_t)(number >> 32);
}

static const char *target(int fd, char *buffer) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, buffer, TEXT - 1);
  buffer[length < 0 ? 0 : length] = 0;
  return buffer;
}

static int meant(struct rule *rule, enum call call) {
  if (!atomic_load_explicit(&rule->active, memory_order_acquire) || !(rule->calls >> call & 1)) return 0;
  return rule->threads == 0 || (rule->threads == 1) == (gettid() == self);
}

static int due(struct rule *rule) {
  const uint64_t number = atomic_fetch_add(&rule->matched, 1);
  if (number < rule->after || (rule->times != 0 && number >= (uint64_t)rule->after + rule->times)) return 0;
  return rule->share == 0 || mixed(number + ((uint64_t)rule->seed << 32)) < rule->share;
}

static void trim(void) {
  malloc_trim(0);
  const struct mallinfo2 info = mallinfo2();
  atomic_store(&control->used, info.uordblks + info.hblkhd);
}

// The errno this call has to fail with, or 0. `path` or `fd` is what it is about; NULL and -1 where there is nothing.
static int refused(enum call call, const char *path, int fd) {
  if (control == NULL || getpid() != self) return 0;
  if (atomic_load_explicit(&control->trim, memory_order_relaxed) != 0 && atomic_exchange(&control->trim, 0) != 0) trim();
  atomic_fetch_add_explicit(&control->counts[call].calls, 1, memory_order_relaxed);
  char buffer[TEXT];
  for (struct rule *rule = control->rules; rule < control->rules + RULES; rule++) {
    if (!meant(rule, call)) continue;
    if (path == NULL && fd >= 0) path = target(fd, buffer);
    if (rule->path[0] != 0 && (path == NULL || strstr(path, rule->path) == NULL)) continue;
    if (!due(rule)) continue;
    atomic_fetch_add(&rule->failed, 1);
    atomic_fetch_add_explicit(&control->counts[call].failed, 1, memory_order_relaxed);
    snprintf(rule->last, TEXT, "%s", path ? path : "");
    if (rule->error != HANGS) return rule->error;
    while (atomic_load_explicit(&rule->active, memory_order_acquire)) usleep(10000);
    return 0;
  }
  return 0;
}

#define REAL(name, type) \
  static __typeof__(type) real; \
  if (real == NULL) real = (__typeof__(type))dlsym(RTLD_NEXT, #name)

#define REFUSE(call, path, fd, failure) \
  do { \
    const int refusal = refused(CALL_##call, path, fd); \
    if (refusal != 0) { errno = refusal; return failure; } \
  } while (0)

static mode_t modeOf(int flags, va_list arguments) {
  return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? (mode_t)va_arg(arguments, int) : 0;
}

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    va_list arguments; \
    va_start(arguments, flags); \
    const mode_t mode = modeOf(flags, arguments); \
    va_end(arguments); \
    REFUSE(open, path, -1, -1); \
    REAL(name, int (*)(const char *, int, mode_t)); \
    return real(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
  int name(int directory, const char *path, int flags, ...) { \
    va_list arguments; \
    va_start(arguments, flags); \
    const mode_t mode = modeOf(flags, arguments); \
    va_end(arguments); \
    REFUSE(open, path, -1, -1); \
    REAL(name, int (*)(int, const char *, int, mode_t)); \
    return real(directory, path, flags, mode); \
  }
OPENAT(openat)
OPENAT(openat64)

// The addon's way to open a directory, for which older C libraries have no function.
long syscall(long number, ...) {
  va_list arguments;
  va_start(arguments, number);
  long given[6];
  for (int at = 0; at < 6; at++) given[at] = va_arg(arguments, long);
  va_end(arguments);
  if (number == 437) REFUSE(open, (const char *)given[1], -1, -1);
  REAL(syscall, long (*)(long, ...));
  return real(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}

// What a checked build calls instead of open without a mode.
#define OPEN_2(name, plain) \
  int name(const char *path, int flags) { return plain(path, flags); }
OPEN_2(__open_2, open)
OPEN_2(__open64_2, open64)

// One with a path and one more argument, or none.
#define WITH_PATH(name, call, result, failure, parameters, passed) \
  result name parameters { \
    REFUSE(call, path, -1, failure); \
    REAL(name, result(*) parameters); \
    return real passed; \
  }
WITH_PATH(creat, open, int, -1, (const char *path, mode_t mode), (path, mode))
WITH_PATH(creat64, open, int, -1, (const char *path, mode_t mode), (path, mode))
WITH_PATH(fopen, open, FILE *, NULL, (const char *path, const char *mode), (path, mode))
WITH_PATH(fopen64, open, FILE *, NULL, (const char *path, const char *mode), (path, mode))
WITH_PATH(opendir, open, DIR *, NULL, (const char *path), (path))
WITH_PATH(mkstemp, open, int, -1, (char *path), (path))
WITH_PATH(mkstemp64, open, int, -1, (char *path), (path))
WITH_PATH(scandir, open, int, -1,
          (const char *path, struct dirent ***list, int (*wanted)(const struct dirent *),
           int (*order)(const struct dirent **, const struct dirent **)),
          (path, list, wanted, order))
WITH_PATH(scandir64, open, int, -1,
          (const char *path, struct dirent64 ***list, int (*wanted)(const struct dirent64 *),
           int (*order)(const struct dirent64 **, const struct dirent64 **)),
          (path, list, wanted, order))
WITH_PATH(inotify_add_watch, watch, int, -1, (int fd, const char *path, uint32_t mask), (fd, path, mask))

#define WITH_FD(name, call, result, parameters, passed) \
  result name parameters { \
    REFUSE(call, NULL, fd, -1); \
    REAL(name, result(*) parameters); \
    return real passed; \
  }
WITH_FD(accept, accept, int, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length))
WITH_FD(accept4, accept, int, (int fd, struct sockaddr *address, socklen_t *length, int flags), (fd, address, length, flags))
WITH_FD(dup, dup, int, (int fd), (fd))
WITH_FD(dup2, dup, int, (int fd, int other), (fd, other))
WITH_FD(dup3, dup, int, (int fd, int other, int flags), (fd, other, flags))
WITH_FD(read, read, ssize_t, (int fd, void *bytes, size_t count), (fd, bytes, count))
WITH_FD(readv, read, ssize_t, (int fd, const struct iovec *parts, int count), (fd, parts, count))
WITH_FD(pread, read, ssize_t, (int fd, void *bytes, size_t count, off_t at), (fd, bytes, count, at))
WITH_FD(pread64, read, ssize_t, (int fd, void *bytes, size_t count, off64_t at), (fd, bytes, count, at))
WITH_FD(preadv64, read, ssize_t, (int fd, const struct iovec *parts, int count, off64_t at), (fd, parts, count, at))
WITH_FD(write, write, ssize_t, (int fd, const void *bytes, size_t count), (fd, bytes, count))
WITH_FD(writev, write, ssize_t, (int fd, const struct iovec *parts, int count), (fd, parts, count))
WITH_FD(pwrite, write, ssize_t, (int fd, const void *bytes, size_t count, off_t at), (fd, bytes, count, at))
WITH_FD(pwrite64, write, ssize_t, (int fd, const void *bytes, size_t count, off64_t at), (fd, bytes, count, at))
WITH_FD(pwritev64, write, ssize_t, (int fd, const struct iovec *parts, int count, off64_t at), (fd, parts, count, at))
WITH_FD(fsync, fsync, int, (int fd), (fd))
WITH_FD(fdatasync, fsync, int, (int fd), (fd))
WITH_FD(ftruncate, truncate, int, (int fd, off_t length), (fd, length))
WITH_FD(ftruncate64, truncate, int, (int fd, off64_t length), (fd, length))
WITH_FD(fallocate, allocate, int, (int fd, int mode, off_t at, off_t length), (fd, mode, at, length))
WITH_FD(fallocate64, allocate, int, (int fd, int mode, off64_t at, off64_t length), (fd, mode, at, length))

#define WITHOUT(name, call, result, parameters, passed) \
  result name parameters { \
    REFUSE(call, NULL, -1, -1); \
    REAL(name, result(*) parameters); \
    return real passed; \
  }
WITHOUT(socket, socket, int, (int domain, int type, int protocol), (domain, type, protocol))
WITHOUT(socketpair, socket, int, (int domain, int type, int protocol, int pair[2]), (domain, type, protocol, pair))
WITHOUT(pipe, pipe, int, (int pair[2]), (pair))
WITHOUT(pipe2, pipe, int, (int pair[2], int flags), (pair, flags))
WITHOUT(eventfd, eventfd, int, (unsigned initial, int flags), (initial, flags))
WITHOUT(epoll_create, epoll, int, (int size), (size))
WITHOUT(epoll_create1, epoll, int, (int flags), (flags))
WITHOUT(inotify_init, inotify, int, (void), ())
WITHOUT(inotify_init1, inotify, int, (int flags), (flags))
WITHOUT(setrlimit, limit, int, (__rlimit_resource_t resource, const struct rlimit *limit), (resource, limit))
WITHOUT(setrlimit64, limit, int, (__rlimit_resource_t resource, const struct rlimit64 *limit), (resource, limit))

// These say what went wrong by what they return.
#define BY_RESULT(name, call, fd, parameters, passed) \
  int name parameters { \
    const int refusal = refused(CALL_##call, NULL, fd); \
    if (refusal != 0) return refusal; \
    REAL(name, int (*) parameters); \
    return real passed; \
  }
BY_RESULT(posix_fallocate, allocate, fd, (int fd, off_t at, off_t length), (fd, at, length))
BY_RESULT(posix_fallocate64, allocate, fd, (int fd, off64_t at, off64_t length), (fd, at, length))
BY_RESULT(pthread_create, thread, -1,
          (pthread_t *restrict thread, const pthread_attr_t *restrict attributes, void *(*run)(void *), void *restrict argument),
          (thread, attributes, run, argument))

#define FCNTL(name) \
  int name(int fd, int command, ...) { \
    va_list arguments; \
    va_start(arguments, command); \
    void *argument = va_arg(arguments, void *); \
    va_end(arguments); \
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) REFUSE(dup, NULL, fd, -1); \
    if (command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW) REFUSE(lock, NULL, fd, -1); \
    REAL(name, int (*)(int, int, void *)); \
    return real(fd, command, argument); \
  }
FCNTL(fcntl)
FCNTL(fcntl64)
