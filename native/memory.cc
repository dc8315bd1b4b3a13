// What this process has freed, as far as the system does not have it back.
#include "addon.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

/** Whole pages of it, wherever they lie: glibc alone gives back what is at the end of what it has. Other allocators do so by themselves. */
void giveBackMemory(const Napi::CallbackInfo&) {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}
