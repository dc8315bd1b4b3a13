// Preloaded into clients: what they do not read stays with whoever sends it. The kernel would take up to 32 MB for each of them,
// on some machines and at some times.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/socket.h>

int socket(int domain, int type, int protocol) {
  static int (*real)(int, int, int);
  if (!real) real = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
  int fd = real(domain, type, protocol);
  int bytes = 16 << 10;
  if (fd >= 0 && domain == AF_INET) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  return fd;
}
