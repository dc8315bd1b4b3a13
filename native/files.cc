// One file: what it is, and bytes of it, in one call that closes what it opened before it returns, but for one case. And the same by
// another thread, for a file that may be too long for one call.
#include "scan.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

// The places of `seen`, see `FileReader` in src/scan/guard.ts.
enum Seen { kDevice, kInode, kSize, kModified, kChanged, kRegular };

constexpr int64_t kNotTheSame = -1;

// What is said instead of a number of bytes of a file that stays open, see `FileOpener` in src/scan/guard.ts.
constexpr int64_t kAnother = -1, kElsewhere = -2;

int64_t nanoseconds(const timespec& time) { return static_cast<int64_t>(time.tv_sec) * 1000000000 + time.tv_nsec; }

void note(const struct stat& status, int64_t* seen) {
  seen[kDevice] = static_cast<int64_t>(status.st_dev);
  seen[kInode] = static_cast<int64_t>(status.st_ino);
  seen[kSize] = static_cast<int64_t>(status.st_size);
#ifdef __APPLE__
  seen[kModified] = nanoseconds(status.st_mtimespec);
  seen[kChanged] = nanoseconds(status.st_ctimespec);
#else
  seen[kModified] = nanoseconds(status.st_mtim);
  seen[kChanged] = nanoseconds(status.st_ctim);
#endif
  seen[kRegular] = S_ISREG(status.st_mode) ? 1 : 0;
}

bool isSame(const int64_t* a, const int64_t* b) {
  for (int at = kDevice; at <= kRegular; at++)
    if (a[at] != b[at]) return false;
  return true;
}

int openPath(const std::string& path) {
  for (;;) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0 || errno != EINTR) return fd;
  }
}

/** How many there are of them, at most `length`; negative, the errno. */
int64_t readPart(int fd, uint8_t* into, int64_t length, int64_t from) {
  int64_t read = 0;
  while (read < length) {
    const ssize_t bytes = pread(fd, into + read, static_cast<size_t>(length - read), static_cast<off_t>(from + read));
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return -errno;
    if (bytes == 0) break;
    read += bytes;
  }
  return read;
}

/** All parts, one after the other; fewer bytes where the file has fewer. Negative, the errno. */
int64_t readAll(int fd, const Napi::Float64Array& parts, uint8_t* into, int64_t most) {
  int64_t total = 0;
  for (size_t at = 0; at + 1 < parts.ElementLength(); at += 2) {
    const auto length = static_cast<int64_t>(parts[at + 1]);
    if (length > most - total) return -EINVAL;
    const int64_t bytes = readPart(fd, into + total, length, static_cast<int64_t>(parts[at]));
    if (bytes < 0) return bytes;
    total += bytes;
  }
  return total;
}

#ifdef __linux__
/** 1 where it lies at this path, 0 where elsewhere, −1 with errno where the kernel does not say. */
int liesAt(int fd, const std::string& path) {
  char place[PATH_MAX];
  const ssize_t length = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), place, sizeof place);
  if (length < 0) return -1;
  return path.compare(0, std::string::npos, place, static_cast<size_t>(length)) == 0 ? 1 : 0;
}
#else
/** Is found out by whoever asked. */
int liesAt(int, const std::string&) { return 1; }
#endif

/** Opens a file that was looked at, and reads its first bytes. One that ends with them is closed again. */
class Opening : public Napi::AsyncWorker {
 public:
  Opening(const Napi::CallbackInfo& call, std::string path)
      : Napi::AsyncWorker(call[3].As<Napi::Function>(), "spacedrive.openFile"), path_(std::move(path)) {
    auto seen = call[1].As<Napi::BigInt64Array>();
    auto into = call[2].As<Napi::Uint8Array>();
    keptSeen_ = Napi::Persistent(seen.As<Napi::Object>());
    keptInto_ = Napi::Persistent(into.As<Napi::Object>());
    seen_ = seen.Data();
    into_ = into.Data();
    most_ = static_cast<int64_t>(into.ByteLength());
  }

  /** Where nobody was told of it, as its thread has ended. Another file's is left open: closing it may be the harm. */
  ~Opening() override {
    if (fd_ >= 0 && bytes_ != kAnother) close(fd_);
  }

 protected:
  void Execute() override {
    fd_ = openPath(path_);
    if (fd_ < 0) return fail("open");
    struct stat status;
    if (fstat(fd_, &status) != 0) return fail("fstat");
    int64_t found[kRegular + 1];
    note(status, found);
    const bool isAnother = found[kDevice] != seen_[kDevice] || found[kInode] != seen_[kInode];
    note(status, seen_);
    bytes_ = isAnother ? kAnother : kElsewhere;
    if (isAnother) return;
    const int lies = liesAt(fd_, path_);
    if (lies < 0) return fail("readlink");
    if (lies == 0) return;
    const int64_t bytes = readPart(fd_, into_, most_, 0);
    if (bytes < 0) {
      errno = static_cast<int>(-bytes);
      return fail("read");
    }
    bytes_ = bytes;
    if (bytes < found[kSize]) return;
    close(fd_);
    fd_ = -1;
  }

  void OnOK() override {
    Napi::Env env = Env();
    Napi::Value error = env.Null();
    if (errno_ != 0) error = errnoError(env, errno_, syscall_).Value();
    Callback().Call({error, Napi::Number::New(env, fd_), Napi::Number::New(env, static_cast<double>(bytes_))});
    fd_ = -1;
  }

 private:
  void fail(const char* syscall) {
    errno_ = errno;
    syscall_ = syscall;
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

  const std::string path_;
  Napi::ObjectReference keptSeen_;
  Napi::ObjectReference keptInto_;
  int64_t* seen_;
  uint8_t* into_;
  int64_t most_;
  int fd_ = -1;
  int64_t bytes_ = 0;
  int errno_ = 0;
  const char* syscall_ = "";
};

}  // namespace

void openFile(const Napi::CallbackInfo& call) { (new Opening(call, pathOf(call)))->Queue(); }

void lookAtFile(const Napi::CallbackInfo& call) {
  struct stat status;
  if (lstat(pathOf(call).c_str(), &status) != 0) throwErrno(call.Env(), errno, "lstat");
  note(status, call[1].As<Napi::BigInt64Array>().Data());
}

Napi::Value readParts(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  int64_t* seen = call[1].As<Napi::BigInt64Array>().Data();
  auto into = call[3].As<Napi::Uint8Array>();
  const int fd = openPath(pathOf(call));
  if (fd < 0) throwErrno(env, errno, "open");
  struct stat status;
  int64_t found[kRegular + 1];
  const auto look = [&]() {
    if (fstat(fd, &status) != 0) return false;
    note(status, found);
    return true;
  };
  if (!look()) {
    const int error = errno;
    close(fd);
    throwErrno(env, error, "fstat");
  }
  if (found[kDevice] != seen[kDevice] || found[kInode] != seen[kInode]) {
    // Closing it may be the harm: whoever asked decides.
    note(status, seen);
    return Napi::Number::New(env, kNotTheSame - 1 - fd);
  }
  int64_t bytes = kNotTheSame;
  if (isSame(found, seen)) {
    bytes = readAll(fd, call[2].As<Napi::Float64Array>(), into.Data(), static_cast<int64_t>(into.ElementLength()));
    if (bytes < 0) {
      close(fd);
      throwErrno(env, static_cast<int>(-bytes), "read");
    }
    if (!look() || !isSame(found, seen)) bytes = kNotTheSame;
  }
  close(fd);
  return Napi::Number::New(env, static_cast<double>(bytes));
}
