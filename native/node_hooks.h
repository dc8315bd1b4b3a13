// Compiled into better-sqlite3 by scripts/setup.mjs, where a clone is installed: mends node_object_wrap.h of Node 24 and 26.
//
// Their ObjectWrap removes a cleanup hook in its destructor, and asks for the current environment to do so. There is none
// when V8 collects garbage while no JavaScript runs, and then Node aborts the process. Entering the context in which the
// object was made gives it one.
#pragma once
#ifdef __cplusplus
#include <node.h>
#if NODE_MAJOR_VERSION >= 24
namespace node {

/** The context of this thread; never freed, because the thread outlives its isolate by a little. */
inline v8::Global<v8::Context>*& HookContext() {
  static thread_local v8::Global<v8::Context>* context = nullptr;
  return context;
}

inline void AddHookAndRememberContext(v8::Isolate* isolate, void (*hook)(void*), void* argument) {
  if (HookContext() == nullptr) HookContext() = new v8::Global<v8::Context>(isolate, isolate->GetCurrentContext());
  AddEnvironmentCleanupHook(isolate, hook, argument);
}

inline void RemoveHookInContext(v8::Isolate* isolate, void (*hook)(void*), void* argument) {
  v8::HandleScope handles(isolate);
  v8::Context::Scope scope(HookContext()->Get(isolate));
  RemoveEnvironmentCleanupHook(isolate, hook, argument);
}

}  // namespace node

#define AddEnvironmentCleanupHook AddHookAndRememberContext
#define RemoveEnvironmentCleanupHook RemoveHookInContext
#endif
#endif
