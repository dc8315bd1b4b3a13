// Preloaded into a daemon under test: native code that takes descriptors nobody told it to take, and keeps them. How many it
// wants is the size of a file, which stat() tells without a descriptor; what it opens is a path, or eventfds where there is none.
// Where there are not as many it takes all there are, once: it does not steal what is given back later.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST 20000
#define PAUSE_US 20000

static const char *wanted;
static const char *opens;
static int held[MOST];

static int take(void) {
  return opens ? open(opens, O_RDONLY | O_CLOEXEC) : eventfd(0, EFD_CLOEXEC);
}

static void *hold(void *unused) {
  int count = 0, before = 0;
  for (;;) {
    struct stat status;
    const int target = stat(wanted, &status) == 0 ? (int)(status.st_size < MOST ? status.st_size : MOST) : 0;
    while (count > target) close(held[--count]);
    for (int fd; target != before && count < target && (fd = take()) >= 0;) held[count++] = fd;
    before = target;
    usleep(PAUSE_US);
  }
  return unused;
}

// Only the daemon is meant, not the shell and prlimit on the way to it, nor `node --version`.
__attribute__((constructor)) static void begin(int count, char **words) {
  char program[256];
  const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  wanted = getenv("SPACEDRIVE_ROGUE");
  if (!wanted || length <= 0 || (count == 2 && strcmp(words[1], "--version") == 0)) return;
  program[length] = 0;
  const char *base = strrchr(program, '/');
  if (strncmp(base ? base + 1 : program, "node", 4) != 0) return;
  wanted = strdup(wanted);
  opens = getenv("SPACEDRIVE_ROGUE_OPENS") ? strdup(getenv("SPACEDRIVE_ROGUE_OPENS")) : NULL;
  unsetenv("LD_PRELOAD");
  unsetenv("SPACEDRIVE_ROGUE");
  pthread_t thread;
  pthread_create(&thread, NULL, hold, NULL);
}
