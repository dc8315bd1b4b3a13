// Sockets that other code of this process opened: which of them listen, whether the loop reads them, and how long a peer was silent.
// Nothing here needs a free descriptor, but what is bound. For the thread whose loop owns them.
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <arpa/inet.h>

#include <algorithm>
#include <string>
#include <vector>

#ifdef __APPLE__
#include <sys/event.h>
#else
#include <linux/sockios.h>
#include <sys/epoll.h>
#endif

namespace {

constexpr int32_t kBusy = -1, kGone = -2;

int option(int fd, int level, int name) {
  int value = 0;
  socklen_t length = sizeof value;
  return getsockopt(fd, level, name, &value, &length) == 0 ? value : -1;
}

uv_loop_t* loopOf(Napi::Env env) {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok || loop == nullptr) throwErrno(env, ENOSYS, "uv_loop");
  return loop;
}

int portOf(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return -1;
}

/** −1 with errno set where it cannot be had. */
int bindTo(const addrinfo& where) {
#ifdef __linux__
  const int fd = socket(where.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
#else
  const int fd = socket(where.ai_family, SOCK_STREAM, 0);
#endif
  if (fd < 0) return -1;
  const int on = 1, off = 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (where.ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0 && bind(fd, where.ai_addr, where.ai_addrlen) == 0) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

bool isClientOf(int fd, int port) {
  sockaddr_storage local{};
  socklen_t length = sizeof local;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&local), &length) != 0 || portOf(local) != port) return false;
  return option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 0;
}

struct Silence {
  int32_t received, sent;  // milliseconds since either, by the kernel's clock
};

#ifdef __linux__

Silence silenceOf(int fd) {
  int unread = 0, unsent = 0;
  if (ioctl(fd, SIOCINQ, &unread) != 0 || ioctl(fd, SIOCOUTQ, &unsent) != 0 || unread > 0 || unsent > 0) return {kBusy, kBusy};
  tcp_info told{};
  socklen_t length = sizeof told;
  // Closing or closed already: leave it to those who are closing it.
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &told, &length) != 0 || told.tcpi_state != TCP_ESTABLISHED) return {kBusy, kBusy};
  constexpr uint32_t most = INT32_MAX;
  return {static_cast<int32_t>(std::min(told.tcpi_last_data_recv, most)),
          static_cast<int32_t>(std::min(told.tcpi_last_data_sent, most))};
}

#else

/** That kernel does not tell when a byte came last. */
Silence silenceOf(int) { return {kBusy, kBusy}; }

#endif

std::string unixPeer(int fd) {
#ifdef __APPLE__
  pid_t pid = 0;
  socklen_t length = sizeof pid;
  if (getsockopt(fd, SOL_LOCAL, LOCAL_PEERPID, &pid, &length) != 0) return "unix";
  return "pid " + std::to_string(pid);
#else
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return "unix";
  return "uid " + std::to_string(peer.uid) + " pid " + std::to_string(peer.pid);
#endif
}

/** An IPv4 client of a socket that listens on both is named as IPv4. */
std::string peerOf(int fd) {
  sockaddr_storage remote{};
  socklen_t length = sizeof remote;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&remote), &length) != 0) return "";
  if (remote.ss_family == AF_UNIX) return unixPeer(fd);
  char text[INET6_ADDRSTRLEN] = "";
  if (remote.ss_family == AF_INET) inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in&>(remote).sin_addr, text, sizeof text);
  if (remote.ss_family == AF_INET6) {
    const in6_addr& address = reinterpret_cast<sockaddr_in6&>(remote).sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&address)) inet_ntop(AF_INET, &address.s6_addr[12], text, sizeof text);
    else inet_ntop(AF_INET6, &address, text, sizeof text);
  }
  return text;
}

}  // namespace

/** Those of `fds` that listen. */
Napi::Value listening(const Napi::CallbackInfo& call) {
  const auto asked = call[0].As<Napi::Int32Array>();
  std::vector<int32_t> found;
  for (size_t i = 0; i < asked.ElementLength(); i++) {
    if (option(asked[i], SOL_SOCKET, SO_ACCEPTCONN) > 0) found.push_back(asked[i]);
  }
  Napi::Int32Array result = Napi::Int32Array::New(call.Env(), found.size());
  std::copy(found.begin(), found.end(), result.Data());
  return result;
}

/** A socket bound to an address in figures and a port that others of this user may share, to be listened at. It is the caller's. */
Napi::Value bindShared(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  addrinfo hints{}, *where = nullptr;
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  const std::string port = std::to_string(call[1].As<Napi::Number>().Int32Value());
  if (getaddrinfo(call[0].As<Napi::String>().Utf8Value().c_str(), port.c_str(), &hints, &where) != 0) throwErrno(env, EINVAL, "getaddrinfo");
  const int fd = bindTo(*where);
  const int error = errno;
  freeaddrinfo(where);
  if (fd < 0) throwErrno(env, error, "bind");
  return Napi::Number::New(env, fd);
}

/** How many the kernel keeps at the listening `fd` until they are accepted; those that wait already are kept. False where it cannot. */
Napi::Value setBacklog(const Napi::CallbackInfo& call) {
  const int fd = call[0].As<Napi::Number>().Int32Value();
  return Napi::Boolean::New(call.Env(), listen(fd, call[1].As<Napi::Number>().Int32Value()) == 0);
}

/** Whether a read, or an accept, would find something. */
Napi::Value readable(const Napi::CallbackInfo& call) {
  pollfd asked{call[0].As<Napi::Number>().Int32Value(), POLLIN, 0};
  const int ready = poll(&asked, 1, 0);
  return Napi::Boolean::New(call.Env(), ready > 0 && (asked.revents & POLLIN) != 0);
}

/**
 * Has this thread's loop leave `fd` alone, or look at it again, behind the back of libuv, which goes on believing that it
 * watches: what waits in the socket keeps waiting.
 */
void watchReads(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  const int fd = call[0].As<Napi::Number>().Int32Value();
  const bool on = call[1].As<Napi::Boolean>().Value();
  const int backend = uv_backend_fd(loopOf(env));
#ifdef __APPLE__
  struct kevent change;
  EV_SET(&change, fd, EVFILT_READ, on ? EV_ENABLE : EV_DISABLE, 0, 0, nullptr);
  if (kevent(backend, &change, 1, nullptr, 0, nullptr) != 0) throwErrno(env, errno, "kevent");
#else
  epoll_event change{};
  change.events = on ? EPOLLIN : 0;
  change.data.fd = fd;
  if (epoll_ctl(backend, EPOLL_CTL_MOD, fd, &change) != 0) throwErrno(env, errno, "epoll_ctl");
#endif
}

/**
 * Has a loop that accepts at `fd` until there is nobody left find that there is nobody left: in its place stands something that
 * accepts nothing. The listener itself is as it was, under the number returned, which needs a free descriptor; −1 without one.
 * Its watch is bound to the open socket, so the loop goes on hearing of it. To be put back before the loop polls again.
 */
Napi::Value setAside(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
#ifdef __linux__
  const int fd = call[0].As<Napi::Number>().Int32Value();
  const int kept = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (kept >= 0 && dup3(uv_backend_fd(loopOf(env)), fd, O_CLOEXEC) == fd) return Napi::Number::New(env, kept);
  if (kept >= 0) close(kept);
#endif
  return Napi::Number::New(env, -1);
}

void putBack(const Napi::CallbackInfo& call) {
#ifdef __linux__
  const int fd = call[0].As<Napi::Number>().Int32Value();
  const int kept = call[1].As<Napi::Number>().Int32Value();
  if (dup3(kept, fd, O_CLOEXEC) != fd) throwErrno(call.Env(), errno, "dup3");
  close(kept);
#endif
}

/** The descriptor that this thread's loop began to watch last and has not told the kernel of yet, or −1. */
Napi::Value lastWatched(const Napi::CallbackInfo& call) {
  uv_loop_t* loop = loopOf(call.Env());
  // Two pointers, next and previous, under either of the names that libuv 1 has had for them.
  void** queue = reinterpret_cast<void**>(&loop->watcher_queue);
  char* last = static_cast<char*>(queue[1]);
  if (last == reinterpret_cast<char*>(queue)) return Napi::Number::New(call.Env(), -1);
  const auto* watcher = reinterpret_cast<uv__io_t*>(last - offsetof(uv__io_t, watcher_queue));
  return Napi::Number::New(call.Env(), watcher->fd);
}

/** The descriptor that this thread's loop ceased to watch last, for good, in this turn; it is closed by now. −1 if there was none. */
Napi::Value lastUnwatched(const Napi::CallbackInfo& call) {
  const uv_handle_t* handle = loopOf(call.Env())->closing_handles;
  const bool watched = handle != nullptr && handle->type == UV_POLL;
  return Napi::Number::New(call.Env(), watched ? reinterpret_cast<const uv_poll_t*>(handle)->io_watcher.fd : -1);
}

/** For each of `fds` two numbers: milliseconds since its peer was heard, and since it was written to. −1, −1: bytes wait; −2, −2: no client of `port`. */
Napi::Value silence(const Napi::CallbackInfo& call) {
  const auto asked = call[0].As<Napi::Int32Array>();
  const int port = call[1].As<Napi::Number>().Int32Value();
  Napi::Int32Array result = Napi::Int32Array::New(call.Env(), 2 * asked.ElementLength());
  for (size_t i = 0; i < asked.ElementLength(); i++) {
    const Silence told = isClientOf(asked[i], port) ? silenceOf(asked[i]) : Silence{kGone, kGone};
    result[2 * i] = told.received;
    result[2 * i + 1] = told.sent;
  }
  return result;
}

/** Who is at the other end of each: an address, or on a unix socket user and process; empty where there is nobody. */
Napi::Value peers(const Napi::CallbackInfo& call) {
  const auto asked = call[0].As<Napi::Int32Array>();
  Napi::Array result = Napi::Array::New(call.Env(), asked.ElementLength());
  for (size_t i = 0; i < asked.ElementLength(); i++) {
    result[static_cast<uint32_t>(i)] = Napi::String::New(call.Env(), peerOf(asked[i]));
  }
  return result;
}

/** Ends a client of `port` in both directions; whoever owns the descriptor sees it and closes. False where it is none. */
Napi::Value hangUp(const Napi::CallbackInfo& call) {
  const int fd = call[0].As<Napi::Number>().Int32Value();
  const bool done = isClientOf(fd, call[1].As<Napi::Number>().Int32Value()) && shutdown(fd, SHUT_RDWR) == 0;
  return Napi::Boolean::New(call.Env(), done);
}
