// Runs a command in whose process, all threads of it, one chosen system call that makes a descriptor fails with EMFILE, once.
// usage: nth SOCKET N MARK COMMAND... | nth --try
// Every such call stops in the kernel (seccomp) and is let go from here: nothing escapes, neither the dynamic loader nor a raw call.
// Calls count once the command line of the process holds MARK. N = 0 counts and fails none. SOCKET listens for this program, and says
//   arm N   counting starts anew, the Nth from now on fails; answered by `armed`
//   read    answered by COUNT, the first call that opened a path with MARK in it, then, where one failed, its name and path
// The same answer is the last word when the command has ended.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Name, number, and which argument is a path (-1: none). */
struct call { const char *name; int number; int path; };
static const struct call calls[] = {
#define CALL(name, path) {#name, __NR_##name, path},
#ifdef __NR_open
  CALL(open, 0) CALL(creat, 0) CALL(pipe, -1) CALL(eventfd, -1) CALL(inotify_init, -1) CALL(epoll_create, -1) CALL(signalfd, -1)
#endif
  CALL(openat, 1) CALL(openat2, 1) CALL(socket, -1) CALL(socketpair, -1) CALL(accept, -1) CALL(accept4, -1) CALL(epoll_create1, -1)
  CALL(eventfd2, -1) CALL(pipe2, -1) CALL(dup, -1) CALL(inotify_init1, -1) CALL(memfd_create, -1) CALL(timerfd_create, -1)
  CALL(signalfd4, -1) CALL(pidfd_open, -1) CALL(io_uring_setup, -1) CALL(fcntl, -1)
};
enum { CALLS = sizeof calls / sizeof *calls };

static int control = -1, listener = -1;
static pid_t child;
static const char *mark;
static long count, wanted, opened;
static char failed[4200];

static void die(const char *what) {
  perror(what);
  exit(125);
}

/* Of fcntl only the two duplications: its numbers are looked at in the filter, everything else stays at full speed. */
static int install(void) {
  struct sock_filter filter[2 * CALLS + 8];
  int n = 0;
  filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (int at = 0; at < CALLS; at++) {
    if (calls[at].number == __NR_fcntl) continue;
    filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[at].number, 0, 1);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
  }
  filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_fcntl, 0, 4);
  filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1]));
  filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, F_DUPFD, 1, 0);
  filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, F_DUPFD_CLOEXEC, 0, 1);
  filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
  filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = {(unsigned short)n, filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) die("no_new_privs");
  unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
#ifdef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
  // Else a signal makes a call start again, and it is counted twice.
  int killable = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);
  if (killable >= 0) return killable;
#endif
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static void send_descriptor(int over, int fd) {
  char byte = 0, room[CMSG_SPACE(sizeof fd)] = {0};
  struct iovec io = {&byte, 1};
  struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
  struct cmsghdr *part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(part), &fd, sizeof fd);
  if (sendmsg(over, &message, 0) < 0) die("sendmsg");
}

static int receive_descriptor(int over) {
  char byte, room[CMSG_SPACE(sizeof(int))];
  struct iovec io = {&byte, 1};
  struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
  if (recvmsg(over, &message, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&message)) exit(125);
  int fd;
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  return fd;
}

static void run_command(char **command, int over) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int fd = install();
  if (fd < 0) die("seccomp");
  send_descriptor(over, fd);
  close(fd);
  execvp(command[0], command);
  die(command[0]);
}

/* Threads of the process itself, from the moment that it runs what it was started for. */
static int counts(pid_t thread) {
  static int marked;
  char path[64], line[4096];
  snprintf(path, sizeof path, "/proc/%d/task/%d", child, thread);
  if (access(path, F_OK)) return 0;
  if (marked) return 1;
  snprintf(path, sizeof path, "/proc/%d/cmdline", child);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t length = fd < 0 ? 0 : read(fd, line, sizeof line);
  if (fd >= 0) close(fd);
  marked = length > 0 && memmem(line, (size_t)length, mark, strlen(mark)) != NULL;
  return marked;
}

static const struct call *call_of(const struct seccomp_notif *asked) {
  const struct call *call = calls;
  while (call < calls + CALLS - 1 && call->number != asked->data.nr) call++;
  return call;
}

/* Empty for a call without one. */
static const char *path_of(const struct seccomp_notif *asked) {
  static char path[4096];
  const struct call *call = call_of(asked);
  memset(path, 0, sizeof path);
  if (call->path < 0) return path;
  struct iovec here = {path, sizeof path - 1}, there = {(void *)asked->data.args[call->path], sizeof path - 1};
  // The string may end close before a page that is not there.
  while (there.iov_len > 0 && process_vm_readv((pid_t)asked->pid, &here, 1, &there, 1, 0) < 0)
    there.iov_len = here.iov_len = there.iov_len / 2;
  for (char *each = path; *each; each++) if (*each == '\n') *each = '?';
  return path;
}

static void decide(void) {
  struct seccomp_notif asked;
  memset(&asked, 0, sizeof asked);
  if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked)) return;
  struct seccomp_notif_resp answer = {.id = asked.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
  if (counts((pid_t)asked.pid)) {
    count += 1;
    if (!opened && strstr(path_of(&asked), mark)) opened = count;
    if (count == wanted) {
      snprintf(failed, sizeof failed, "%s %s", call_of(&asked)->name, path_of(&asked));
      answer.flags = 0;
      answer.error = -EMFILE;
    }
  }
  ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

static void tell(void) {
  char answer[sizeof failed + 64];
  int length = snprintf(answer, sizeof answer, "%ld %ld %s\n", count, opened, failed);
  send(control, answer, (size_t)length, MSG_NOSIGNAL);
}

static void steer(void) {
  char line[64];
  ssize_t length = recv(control, line, sizeof line - 1, 0);
  if (length <= 0) exit(125);
  line[length] = 0;
  if (sscanf(line, "arm %ld", &wanted) == 1) {
    count = 0;
    failed[0] = 0;
    send(control, "armed\n", 6, MSG_NOSIGNAL);
  } else tell();
}

static void leave(void) {
  int status;
  tell();
  waitpid(child, &status, 0);
  if (WIFEXITED(status)) exit(WEXITSTATUS(status));
  signal(WTERMSIG(status), SIG_DFL);
  raise(WTERMSIG(status));
  exit(128 + WTERMSIG(status));
}

/* Whether this kernel, and whatever runs us, lets a filter be installed that tells its parent. */
static int try_install(void) {
  int fd = install();
  if (fd < 0) die("seccomp");
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 2 && !strcmp(argv[1], "--try")) return try_install();
  if (argc < 5) return 125;
  wanted = atol(argv[2]);
  mark = argv[3];
  struct sockaddr_un place = {.sun_family = AF_UNIX};
  strncpy(place.sun_path, argv[1], sizeof place.sun_path - 1);
  control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(control, (struct sockaddr *)&place, sizeof place)) die(argv[1]);
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) die("socketpair");
  child = fork();
  if (child < 0) die("fork");
  if (child == 0) run_command(argv + 4, pair[1]);
  close(pair[1]);
  listener = receive_descriptor(pair[0]);
  int gone = (int)syscall(SYS_pidfd_open, child, 0);
  struct pollfd watched[] = {{gone, POLLIN, 0}, {listener, POLLIN, 0}, {control, POLLIN, 0}};
  for (;;) {
    if (poll(watched, 3, -1) < 0 && errno != EINTR) die("poll");
    if (watched[1].revents & POLLIN) decide();
    else if (watched[0].revents) leave();
    if (watched[2].revents) steer();
  }
}
