// inotify, as the kernel has it: one instance, its watches, and what it has to tell. Elsewhere there is none, and opening says so.
#include "addon.h"

#include <errno.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#ifdef __linux__

#include <sys/inotify.h>

namespace {

int descriptorOf(const Napi::CallbackInfo& call) { return call[0].As<Napi::Number>().Int32Value(); }

/** What happened, one after the other. */
struct Events {
  std::vector<int32_t> watches;
  std::vector<uint32_t> masks;
  std::vector<uint32_t> cookies;
  std::string names;
};

void append(Events& events, const char* bytes, ssize_t count) {
  for (ssize_t at = 0; at < count;) {
    inotify_event head;
    memcpy(&head, bytes + at, sizeof head);
    const char* name = bytes + at + sizeof head;
    events.watches.push_back(head.wd);
    events.masks.push_back(head.mask);
    events.cookies.push_back(head.cookie);
    // Padded with NULs to a multiple of 16.
    if (head.len > 0) events.names.append(name, strnlen(name, head.len));
    events.names.push_back('\0');
    at += sizeof head + head.len;
  }
}

template <typename Array, typename Element>
Napi::Value columnOf(Napi::Env env, const std::vector<Element>& from) {
  Array column = Array::New(env, from.size());
  memcpy(column.Data(), from.data(), from.size() * sizeof(Element));
  return column;
}

}  // namespace

Napi::Value watchOpen(const Napi::CallbackInfo& call) {
  const int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (fd < 0) throwErrno(call.Env(), errno, "inotify_init1");
  return Napi::Number::New(call.Env(), fd);
}

Napi::Value watchAdd(const Napi::CallbackInfo& call) {
  const auto given = call[1].As<Napi::Buffer<char>>();
  const std::string path(given.Data(), given.Length());
  const int watch = inotify_add_watch(descriptorOf(call), path.c_str(), call[2].As<Napi::Number>().Uint32Value());
  if (watch < 0) throwErrno(call.Env(), errno, "inotify_add_watch");
  return Napi::Number::New(call.Env(), watch);
}

void watchRemove(const Napi::CallbackInfo& call) {
  // One that went with its directory is gone already.
  inotify_rm_watch(descriptorOf(call), call[1].As<Napi::Number>().Int32Value());
}

Napi::Value watchRead(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  alignas(inotify_event) char buffer[64 * 1024];
  ssize_t count;
  do {
    count = read(descriptorOf(call), buffer, sizeof buffer);
  } while (count < 0 && errno == EINTR);
  if (count < 0 && errno == EAGAIN) return env.Null();
  if (count < 0) throwErrno(env, errno, "read");

  Events events;
  append(events, buffer, count);
  Napi::Object columns = Napi::Object::New(env);
  columns.Set("watches", columnOf<Napi::Int32Array>(env, events.watches));
  columns.Set("masks", columnOf<Napi::Uint32Array>(env, events.masks));
  columns.Set("cookies", columnOf<Napi::Uint32Array>(env, events.cookies));
  columns.Set("names", Napi::Buffer<char>::Copy(env, events.names.data(), events.names.size()));
  return columns;
}

#else

Napi::Value watchOpen(const Napi::CallbackInfo& call) { throwErrno(call.Env(), ENOSYS, "inotify_init1"); }
Napi::Value watchAdd(const Napi::CallbackInfo& call) { throwErrno(call.Env(), ENOSYS, "inotify_add_watch"); }
void watchRemove(const Napi::CallbackInfo&) {}
Napi::Value watchRead(const Napi::CallbackInfo& call) { return call.Env().Null(); }

#endif

void watchClose(const Napi::CallbackInfo& call) { close(call[0].As<Napi::Number>().Int32Value()); }
