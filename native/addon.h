// What the addon exports, one function per syscall or pair of syscalls. No policy, and no state but the reserve and what a gatherer holds: JavaScript decides,
// C++ acts, and every thread may load it.
#pragma once
#include <napi.h>

/** Throws in Node's own shape: `ENOENT: no such file or directory, scandir` with code, errno (negative) and syscall. */
[[noreturn]] void throwErrno(Napi::Env env, int error, const char* syscall);

/** What it throws. */
Napi::Error errnoError(Napi::Env env, int error, const char* syscall);

// descriptors.cc
Napi::Value getLimit(const Napi::CallbackInfo& call);
void setLimit(const Napi::CallbackInfo& call);
Napi::Value preallocate(const Napi::CallbackInfo& call);
Napi::Value count(const Napi::CallbackInfo& call);
Napi::Value list(const Napi::CallbackInfo& call);
Napi::Value closeOnExec(const Napi::CallbackInfo& call);
Napi::Value describe(const Napi::CallbackInfo& call);
Napi::Value describeAll(const Napi::CallbackInfo& call);
Napi::Value loopDescriptors(const Napi::CallbackInfo& call);

// reserve.cc
Napi::Value reserveResize(const Napi::CallbackInfo& call);
Napi::Value reserveRefill(const Napi::CallbackInfo& call);
Napi::Value reserveLend(const Napi::CallbackInfo& call);
Napi::Value reserveReturn(const Napi::CallbackInfo& call);
Napi::Value reserveList(const Napi::CallbackInfo& call);

// scan.cc
Napi::Value readDirectory(const Napi::CallbackInfo& call);

// exit.cc
Napi::Value exitWithin(const Napi::CallbackInfo& call);

// files.cc
void lookAtFile(const Napi::CallbackInfo& call);
Napi::Value readParts(const Napi::CallbackInfo& call);
void openFile(const Napi::CallbackInfo& call);

// gather.cc
Napi::Function gatherer(Napi::Env env);

// names.cc
Napi::Value sortNames(const Napi::CallbackInfo& call);

// memory.cc
void giveBackMemory(const Napi::CallbackInfo& call);

// sockets.cc
Napi::Value listening(const Napi::CallbackInfo& call);
Napi::Value bindShared(const Napi::CallbackInfo& call);
Napi::Value setBacklog(const Napi::CallbackInfo& call);
Napi::Value readable(const Napi::CallbackInfo& call);
void watchReads(const Napi::CallbackInfo& call);
Napi::Value setAside(const Napi::CallbackInfo& call);
void putBack(const Napi::CallbackInfo& call);
Napi::Value lastWatched(const Napi::CallbackInfo& call);
Napi::Value lastUnwatched(const Napi::CallbackInfo& call);
Napi::Value silence(const Napi::CallbackInfo& call);
Napi::Value peers(const Napi::CallbackInfo& call);
Napi::Value hangUp(const Napi::CallbackInfo& call);

// watch.cc
Napi::Value watchOpen(const Napi::CallbackInfo& call);
Napi::Value watchAdd(const Napi::CallbackInfo& call);
void watchRemove(const Napi::CallbackInfo& call);
Napi::Value watchRead(const Napi::CallbackInfo& call);
void watchClose(const Napi::CallbackInfo& call);
