// The addon's exports and its one kind of error.
#include "addon.h"

#include <uv.h>

Napi::Error errnoError(Napi::Env env, int error, const char* syscall) {
  char name[64];
  char text[128];
  // libuv's names and texts, because Node's own errors carry them and callers compare codes.
  uv_err_name_r(uv_translate_sys_error(error), name, sizeof name);
  uv_strerror_r(uv_translate_sys_error(error), text, sizeof text);

  Napi::Error made = Napi::Error::New(env, std::string(name) + ": " + text + ", " + syscall);
  made.Set("code", Napi::String::New(env, name));
  made.Set("errno", Napi::Number::New(env, -error));
  made.Set("syscall", Napi::String::New(env, syscall));
  return made;
}

void throwErrno(Napi::Env env, int error, const char* syscall) { throw errnoError(env, error, syscall); }

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("getLimit", Napi::Function::New(env, getLimit, "getLimit"));
  exports.Set("setLimit", Napi::Function::New(env, setLimit, "setLimit"));
  exports.Set("preallocate", Napi::Function::New(env, preallocate, "preallocate"));
  exports.Set("count", Napi::Function::New(env, count, "count"));
  exports.Set("list", Napi::Function::New(env, list, "list"));
  exports.Set("closeOnExec", Napi::Function::New(env, closeOnExec, "closeOnExec"));
  exports.Set("describe", Napi::Function::New(env, describe, "describe"));
  exports.Set("describeAll", Napi::Function::New(env, describeAll, "describeAll"));
  exports.Set("loopDescriptors", Napi::Function::New(env, loopDescriptors, "loopDescriptors"));
  exports.Set("reserveResize", Napi::Function::New(env, reserveResize, "reserveResize"));
  exports.Set("reserveRefill", Napi::Function::New(env, reserveRefill, "reserveRefill"));
  exports.Set("reserveLend", Napi::Function::New(env, reserveLend, "reserveLend"));
  exports.Set("reserveReturn", Napi::Function::New(env, reserveReturn, "reserveReturn"));
  exports.Set("reserveList", Napi::Function::New(env, reserveList, "reserveList"));
  exports.Set("exitWithin", Napi::Function::New(env, exitWithin, "exitWithin"));
  exports.Set("readDirectory", Napi::Function::New(env, readDirectory, "readDirectory"));
  exports.Set("lookAtFile", Napi::Function::New(env, lookAtFile, "lookAtFile"));
  exports.Set("openFile", Napi::Function::New(env, openFile, "openFile"));
  exports.Set("readParts", Napi::Function::New(env, readParts, "readParts"));
  exports.Set("Descent", gatherer(env));
  exports.Set("sortNames", Napi::Function::New(env, sortNames, "sortNames"));
  exports.Set("giveBackMemory", Napi::Function::New(env, giveBackMemory, "giveBackMemory"));
  exports.Set("listening", Napi::Function::New(env, listening, "listening"));
  exports.Set("bindShared", Napi::Function::New(env, bindShared, "bindShared"));
  exports.Set("setBacklog", Napi::Function::New(env, setBacklog, "setBacklog"));
  exports.Set("readable", Napi::Function::New(env, readable, "readable"));
  exports.Set("watchReads", Napi::Function::New(env, watchReads, "watchReads"));
  exports.Set("setAside", Napi::Function::New(env, setAside, "setAside"));
  exports.Set("putBack", Napi::Function::New(env, putBack, "putBack"));
  exports.Set("lastWatched", Napi::Function::New(env, lastWatched, "lastWatched"));
  exports.Set("lastUnwatched", Napi::Function::New(env, lastUnwatched, "lastUnwatched"));
  exports.Set("silence", Napi::Function::New(env, silence, "silence"));
  exports.Set("peers", Napi::Function::New(env, peers, "peers"));
  exports.Set("hangUp", Napi::Function::New(env, hangUp, "hangUp"));
  exports.Set("watchOpen", Napi::Function::New(env, watchOpen, "watchOpen"));
  exports.Set("watchAdd", Napi::Function::New(env, watchAdd, "watchAdd"));
  exports.Set("watchRemove", Napi::Function::New(env, watchRemove, "watchRemove"));
  exports.Set("watchRead", Napi::Function::New(env, watchRead, "watchRead"));
  exports.Set("watchClose", Napi::Function::New(env, watchClose, "watchClose"));
  return exports;
}

NODE_API_MODULE(spacedrive, init)
