// The end of this process, where Node's own does not come to one.
#include <unistd.h>

#include <chrono>
#include <system_error>
#include <thread>

#include "addon.h"

/**
 * Unless it has ended before: Node waits for every thread, and one may stand in a call to a file system that does not answer. False where
 * the system lets no thread be started that would see to it.
 */
Napi::Value exitWithin(const Napi::CallbackInfo& call) {
  const auto time = std::chrono::milliseconds(call[0].As<Napi::Number>().Int64Value());
  const int code = call[1].As<Napi::Number>().Int32Value();
  try {
    std::thread([time, code] {
      std::this_thread::sleep_for(time);
      _exit(code);
    }).detach();
    return Napi::Boolean::New(call.Env(), true);
  } catch (const std::system_error&) {
    return Napi::Boolean::New(call.Env(), false);
  }
}
