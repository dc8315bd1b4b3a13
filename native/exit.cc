// The end of this process, where Node's own does not come to one.
#include <unistd.h>

#include <chrono>
#include <system_error>
#include <thread>

#include "addon.h"

/** Unless it has ended before: Node waits for every thread, and one may stand in a call to a file system that does not answer. */
void exitWithin(const Napi::CallbackInfo& call) {
  const auto time = std::chrono::milliseconds(call[0].As<Napi::Number>().Int64Value());
  const int code = call[1].As<Napi::Number>().Int32Value();
  try {
    std::thread([time, code] {
      std::this_thread::sleep_for(time);
      _exit(code);
    }).detach();
  } catch (const std::system_error& error) {
    throwErrno(call.Env(), error.code().value(), "pthread_create");
  }
}
