// The process's descriptors: their limit, the kernel's table of them, how many there are, and what each one is.
// Everything here works when not one descriptor is left, except `preallocate`, which is for boot.
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#ifdef __APPLE__
#include <libproc.h>
#include <sys/param.h>
#include <sys/sysctl.h>
#endif

namespace {

constexpr double kUnlimited = 9007199254740991.0;  // Number.MAX_SAFE_INTEGER
constexpr int kProbeChunk = 1024;
constexpr rlim_t kProbeMax = 1 << 20;

rlimit readLimit(Napi::Env env) {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) throwErrno(env, errno, "getrlimit");
#ifdef __APPLE__
  // The hard limit reads as infinite there, but the kernel refuses anything above this.
  int perProcess = 0;
  size_t length = sizeof perProcess;
  if (sysctlbyname("kern.maxfilesperproc", &perProcess, &length, nullptr, 0) == 0 && perProcess > 0) {
    limit.rlim_max = std::min(limit.rlim_max, static_cast<rlim_t>(perProcess));
  }
#endif
  return limit;
}

double toNumber(rlim_t value) {
  return value == RLIM_INFINITY || static_cast<double>(value) > kUnlimited ? kUnlimited : static_cast<double>(value);
}

#ifdef __APPLE__

std::vector<int32_t> openDescriptors() {
  std::vector<proc_fdinfo> found;
  int bytes = proc_pidinfo(getpid(), PROC_PIDLISTFDS, 0, nullptr, 0);
  // The answer to a null buffer has some room to spare; when threads open more meanwhile, the answer fills the buffer: ask again.
  while (bytes > 0) {
    found.resize(static_cast<size_t>(bytes) / sizeof(proc_fdinfo) + 32);
    int capacity = static_cast<int>(found.size() * sizeof(proc_fdinfo));
    bytes = proc_pidinfo(getpid(), PROC_PIDLISTFDS, 0, found.data(), capacity);
    if (bytes < capacity) break;
    bytes = capacity * 2;
  }
  std::vector<int32_t> numbers;
  for (size_t i = 0; i < static_cast<size_t>(std::max(bytes, 0)) / sizeof(proc_fdinfo); i++) numbers.push_back(found[i].proc_fd);
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

size_t countDescriptors() { return openDescriptors().size(); }

std::string targetOf(int fd) {
  char path[MAXPATHLEN];
  return fcntl(fd, F_GETPATH, path) == 0 ? std::string(path) : std::string();
}

#else

/** Linux 6.2 and newer count for us, without a descriptor; 0 means that this kernel does not. */
size_t countByKernel() {
  struct stat status;
  return stat("/proc/self/fd", &status) == 0 && status.st_size > 0 ? static_cast<size_t>(status.st_size) : 0;
}

/**
 * Asks about every number. One poll() answers for a thousand numbers at 10 to 20 ns each, where fcntl() costs a syscall apiece;
 * it refuses more numbers than the soft limit, hence the chunk. Numbers above the limit exist (inherited, or the limit was
 * lowered), so the search ends when as many were found as the kernel counts, and only else at the hard limit.
 */
std::vector<int32_t> openDescriptors() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const int chunk = static_cast<int>(std::clamp<rlim_t>(limit.rlim_cur, 1, kProbeChunk));
  const int end = static_cast<int>(std::clamp<rlim_t>(limit.rlim_max, 65536, kProbeMax));

  std::vector<int32_t> numbers;
  std::vector<pollfd> asked(static_cast<size_t>(chunk));
  for (int first = 0; first < end; first += chunk) {
    for (int i = 0; i < chunk; i++) asked[static_cast<size_t>(i)] = {first + i, 0, 0};
    while (poll(asked.data(), static_cast<nfds_t>(chunk), 0) < 0 && errno == EINTR) {
    }
    for (const pollfd& one : asked) {
      if (!(one.revents & POLLNVAL)) numbers.push_back(one.fd);
    }
    const size_t expected = countByKernel();
    if (expected > 0 && numbers.size() >= expected) break;
  }
  return numbers;
}

size_t countDescriptors() {
  const size_t counted = countByKernel();
  return counted > 0 ? counted : openDescriptors().size();
}

std::string targetOf(int fd) {
  char link[64];
  char path[4097];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, sizeof path);
  return length > 0 ? std::string(path, static_cast<size_t>(length)) : std::string();
}

#endif

const char* kindOf(mode_t mode) {
  if (S_ISREG(mode)) return "file";
  if (S_ISDIR(mode)) return "directory";
  if (S_ISSOCK(mode)) return "socket";
  if (S_ISFIFO(mode)) return "pipe";
  return "other";
}

int portOf(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return -1;
}

const char* familyOf(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) return "ipv4";
  if (address.ss_family == AF_INET6) return "ipv6";
  if (address.ss_family == AF_UNIX) return "unix";
  return nullptr;
}

void describeSocket(Napi::Env env, int fd, Napi::Object& described) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) return;
  const char* family = familyOf(address);
  if (family == nullptr) return;
  described.Set("family", Napi::String::New(env, family));
  if (address.ss_family == AF_UNIX) {
    const auto& local = reinterpret_cast<const sockaddr_un&>(address);
    const size_t room = length > offsetof(sockaddr_un, sun_path) ? length - offsetof(sockaddr_un, sun_path) : 0;
    const size_t used = strnlen(local.sun_path, room);
    if (used > 0) described.Set("target", Napi::String::New(env, local.sun_path, used));
    return;
  }
  described.Set("localPort", Napi::Number::New(env, portOf(address)));
  length = sizeof address;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0) {
    described.Set("remotePort", Napi::Number::New(env, portOf(address)));
  }
}

// What `describeAll` says of each descriptor, in columns: read by src/descriptors/look.ts.
constexpr uint8_t kFile = 0, kDirectory = 1, kSocket = 2, kPipe = 3, kOther = 4;
constexpr uint8_t kReadOnly = 1, kListening = 2, kKeptOnExec = 4;
constexpr uint8_t kUnix = 1, kIpv4 = 4, kIpv6 = 6;

uint8_t kindNumber(mode_t mode) {
  if (S_ISREG(mode)) return kFile;
  if (S_ISDIR(mode)) return kDirectory;
  if (S_ISSOCK(mode)) return kSocket;
  return S_ISFIFO(mode) ? kPipe : kOther;
}

struct Described {
  /** Came to the port of clients: no more is asked of it. */
  bool client;
  uint8_t kind;
  uint8_t flags;
  uint8_t family;
  int32_t localPort;
  double inode;
  /** Empty for a socket without a path: its inode says it all. */
  std::string target;
  std::string peer;
};

std::string addressOf(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, text, sizeof text);
    return std::string(text) + ":" + std::to_string(portOf(address));
  }
  inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, text, sizeof text);
  return "[" + std::string(text) + "]:" + std::to_string(portOf(address));
}

bool listens(int fd) {
  int listening = 0;
  socklen_t length = sizeof listening;
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) == 0 && listening != 0;
}

/** The process at the other end of a unix socket, where the kernel noted it. */
std::string peerProcess(int fd) {
#ifdef __APPLE__
  pid_t pid = 0;
  socklen_t length = sizeof pid;
  return getsockopt(fd, SOL_LOCAL, LOCAL_PEERPID, &pid, &length) == 0 && pid > 0 ? "pid " + std::to_string(pid) : std::string();
#else
  ucred peer{};
  socklen_t length = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.pid > 0 ? "pid " + std::to_string(peer.pid) : std::string();
#endif
}

void noteSocket(int fd, int clientPort, Described& described) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) return;
  if (address.ss_family == AF_UNIX) {
    described.family = kUnix;
    const auto& local = reinterpret_cast<const sockaddr_un&>(address);
    const size_t room = length > offsetof(sockaddr_un, sun_path) ? length - offsetof(sockaddr_un, sun_path) : 0;
    described.target.assign(local.sun_path, strnlen(local.sun_path, room));
    if (listens(fd)) described.flags |= kListening;
    else described.peer = peerProcess(fd);
    return;
  }
  if (address.ss_family != AF_INET && address.ss_family != AF_INET6) return;
  described.family = address.ss_family == AF_INET ? kIpv4 : kIpv6;
  described.localPort = portOf(address);
  length = sizeof address;
  const bool connected = getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0;
  described.client = connected && described.localPort == clientPort;
  if (described.client) return;
  if (connected) described.peer = addressOf(address);
  else if (listens(fd)) described.flags |= kListening;
}

/** As few calls as can be: there may be fifteen thousand clients. */
bool describeOne(int fd, int clientPort, Described& described) {
  struct stat status;
  if (fstat(fd, &status) != 0) return false;
  described.kind = kindNumber(status.st_mode);
  described.inode = static_cast<double>(status.st_ino);
  if (described.kind == kSocket) {
    noteSocket(fd, clientPort, described);
    return true;
  }
  if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY) described.flags |= kReadOnly;
  if (!(fcntl(fd, F_GETFD) & FD_CLOEXEC)) described.flags |= kKeptOnExec;
  described.target = targetOf(fd);
  return true;
}

}  // namespace

Napi::Value getLimit(const Napi::CallbackInfo& call) {
  const rlimit limit = readLimit(call.Env());
  Napi::Object result = Napi::Object::New(call.Env());
  result.Set("soft", Napi::Number::New(call.Env(), toNumber(limit.rlim_cur)));
  result.Set("hard", Napi::Number::New(call.Env(), toNumber(limit.rlim_max)));
  return result;
}

/** Sets the soft limit; the hard one is written back as it was read, for lowering it cannot be undone. */
void setLimit(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  const double wanted = call[0].As<Napi::Number>().DoubleValue();
  if (!(wanted >= 0)) throwErrno(env, EINVAL, "setrlimit");
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) throwErrno(env, errno, "getrlimit");
  limit.rlim_cur = wanted >= kUnlimited ? RLIM_INFINITY : static_cast<rlim_t>(wanted);
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) throwErrno(env, errno, "setrlimit");
}

/**
 * Grows the kernel's table of descriptors to `top` at once. Left alone it doubles at 256, 512, 1024 and so on, and each time
 * stalls the thread that opens for 5 to 16 ms once there are several threads. False where the number is taken or out of reach.
 */
Napi::Value preallocate(const Napi::CallbackInfo& call) {
  const int top = call[0].As<Napi::Number>().Int32Value();
  // A file of our own: duplicating and closing somebody's database would drop the locks that this process holds on it.
  const int source = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (source < 0) return Napi::Boolean::New(call.Env(), false);
  // F_DUPFD takes the lowest free number from there on, where dup2 would close what another thread has just put there.
  const int highest = fcntl(source, F_DUPFD_CLOEXEC, top - 1);
  if (highest >= 0) close(highest);
  close(source);
  return Napi::Boolean::New(call.Env(), highest == top - 1);
}

Napi::Value count(const Napi::CallbackInfo& call) {
  return Napi::Number::New(call.Env(), static_cast<double>(countDescriptors()));
}

/** Ascending. A snapshot: other threads go on opening and closing. */
Napi::Value list(const Napi::CallbackInfo& call) {
  const std::vector<int32_t> numbers = openDescriptors();
  Napi::Int32Array result = Napi::Int32Array::New(call.Env(), numbers.size());
  std::copy(numbers.begin(), numbers.end(), result.Data());
  return result;
}

/**
 * Node opens everything so that a program it starts does not inherit it, but not what it was itself started with: a shell's or
 * supervisor's leftovers from number 16 on. Nor does every addon.
 */
Napi::Value closeOnExec(const Napi::CallbackInfo& call) {
  const int first = call[0].As<Napi::Number>().Int32Value();
  int changed = 0;
  for (const int32_t fd : openDescriptors()) {
    if (fd < first) continue;
    const int flags = fcntl(fd, F_GETFD);
    if (flags >= 0 && !(flags & FD_CLOEXEC) && fcntl(fd, F_SETFD, flags | FD_CLOEXEC) == 0) changed++;
  }
  return Napi::Number::New(call.Env(), changed);
}

/** Null where the number is not open. */
Napi::Value describe(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  const int fd = call[0].As<Napi::Number>().Int32Value();
  struct stat status;
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fstat(fd, &status) != 0) return env.Null();

  Napi::Object described = Napi::Object::New(env);
  described.Set("kind", Napi::String::New(env, kindOf(status.st_mode)));
  described.Set("target", Napi::String::New(env, targetOf(fd)));
  described.Set("readOnly", Napi::Boolean::New(env, (flags & O_ACCMODE) == O_RDONLY));
  if (S_ISSOCK(status.st_mode)) describeSocket(env, fd, described);
  return described;
}

/**
 * What `describe` says, and more, of many numbers in one call; those that are not open are left out. Columns of equal length, of
 * which the first `count` places are filled; a text that says nothing is empty. Clients of `clientPort` are not among them: of these
 * the number and the inode is told, in columns of `clients` places.
 */
Napi::Value describeAll(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  const Napi::Int32Array numbers = call[0].As<Napi::Int32Array>();
  const int clientPort = call[1].As<Napi::Number>().Int32Value();
  const size_t length = numbers.ElementLength();
  Napi::Int32Array clientFds = Napi::Int32Array::New(env, length);
  Napi::Float64Array clientInodes = Napi::Float64Array::New(env, length);
  uint32_t clients = 0;
  Napi::Int32Array fds = Napi::Int32Array::New(env, length);
  Napi::Uint8Array kinds = Napi::Uint8Array::New(env, length);
  Napi::Uint8Array flags = Napi::Uint8Array::New(env, length);
  Napi::Uint8Array families = Napi::Uint8Array::New(env, length);
  Napi::Int32Array ports = Napi::Int32Array::New(env, length);
  Napi::Float64Array inodes = Napi::Float64Array::New(env, length);
  std::string texts;
  uint32_t count = 0;
  for (size_t i = 0; i < length; i++) {
    const int32_t fd = numbers[i];
    Described described{};
    if (!describeOne(fd, clientPort, described)) continue;
    if (described.client) {
      clientFds[clients] = fd;
      clientInodes[clients] = described.inode;
      clients++;
      continue;
    }
    fds[count] = fd;
    kinds[count] = described.kind;
    flags[count] = described.flags;
    families[count] = described.family;
    ports[count] = described.localPort;
    inodes[count] = described.inode;
    texts.append(described.target).push_back('\0');
    texts.append(described.peer).push_back('\0');
    count++;
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("count", Napi::Number::New(env, count));
  result.Set("clients", Napi::Number::New(env, clients));
  result.Set("clientFds", clientFds);
  result.Set("clientInodes", clientInodes);
  result.Set("fds", fds);
  result.Set("kinds", kinds);
  result.Set("flags", flags);
  result.Set("families", families);
  result.Set("ports", ports);
  result.Set("inodes", inodes);
  result.Set("texts", Napi::Buffer<char>::Copy(env, texts.data(), texts.size()));
  return result;
}

/**
 * What the event loop of the calling thread holds: its poll, the two ends it is woken by (one and the same on Linux), the two of
 * its signals, its spare for accept and its inotify; −1 for what it does not hold. libuv keeps these fields where they are as long
 * as it is version 1.
 */
Napi::Value loopDescriptors(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  uv_loop_t* loop = nullptr;
  Napi::Int32Array result = Napi::Int32Array::New(env, 7);
  for (size_t i = 0; i < 7; i++) result[i] = -1;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok || loop == nullptr) return result;
  result[0] = uv_backend_fd(loop);
  result[1] = loop->async_io_watcher.fd;
  result[2] = loop->async_wfd;
  result[3] = loop->signal_pipefd[0];
  result[4] = loop->signal_pipefd[1];
  result[5] = loop->emfile_fd;
#ifdef __linux__
  result[6] = loop->inotify_fd;
#endif
  return result;
}
