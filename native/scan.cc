// One directory and the metadata of its children, in one call that holds one descriptor and closes it before it returns.
#include "scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <type_traits>

#ifdef __linux__
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#endif

namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  int get() const { return fd_; }
  void replace(int fd) {
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
  }
  int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_;
};

struct Metadata {
  uint8_t kind;
  double size;
  double mtime;  // microseconds since the epoch; the nanoseconds part is never negative, so cutting it rounds down
  uint64_t inode;
  uint64_t device;
};

uint8_t kindOfMode(mode_t mode) {
  if (S_ISREG(mode)) return kFile;
  if (S_ISDIR(mode)) return kDirectory;
  if (S_ISLNK(mode)) return kSymlink;
  return kOther;
}

uint8_t kindOfEntry(uint8_t type) {
  if (type == DT_REG) return kFile;
  if (type == DT_DIR) return kDirectory;
  if (type == DT_LNK) return kSymlink;
  return kOther;
}

double microseconds(int64_t seconds, int64_t nanoseconds) {
  return static_cast<double>(seconds * 1000000 + nanoseconds / 1000);
}

int readByFstatat(int directory, const char* name, Metadata& metadata) {
  struct stat status;
  if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0) return errno;
#ifdef __APPLE__
  const timespec modified = status.st_mtimespec;
#else
  const timespec modified = status.st_mtim;
#endif
  metadata = {kindOfMode(status.st_mode), static_cast<double>(status.st_size), microseconds(modified.tv_sec, modified.tv_nsec),
              static_cast<uint64_t>(status.st_ino), static_cast<uint64_t>(status.st_dev)};
  return 0;
}

/** 0, or the errno. On Linux by statx, which may answer from the cache of a network file system and asks for less. */
int readMetadata(int directory, const char* name, Metadata& metadata) {
#if defined(__linux__) && defined(STATX_BASIC_STATS)
  struct statx status;
  const int flags = AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT;
  if (statx(directory, name, flags, STATX_TYPE | STATX_SIZE | STATX_MTIME | STATX_INO, &status) == 0) {
    metadata = {kindOfMode(status.stx_mode), static_cast<double>(status.stx_size),
                microseconds(status.stx_mtime.tv_sec, status.stx_mtime.tv_nsec), status.stx_ino,
                makedev(status.stx_dev_major, status.stx_dev_minor)};
    return 0;
  }
  // Seccomp filters older than statx refuse it with either.
  if (errno != ENOSYS && errno != EPERM) return errno;
#endif
  return readByFstatat(directory, name, metadata);
}

bool isDots(const char* name) { return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0)); }

/** A child that vanished since it was listed is left out; one whose metadata cannot be read keeps its name and says so. */
void append(Children& children, int directory, uint64_t device, const char* name, uint8_t type, uint64_t inode) {
  Metadata metadata;
  const int error = readMetadata(directory, name, metadata);
  if (error == ENOENT) return;
  if (error != 0) metadata = {static_cast<uint8_t>(kindOfEntry(type) | kUnreadable), 0, 0, inode, device};

  children.names.append(name, strlen(name) + 1);
  children.kinds.push_back(metadata.device == device ? metadata.kind : metadata.kind | kOtherDevice);
  children.sizes.push_back(metadata.size);
  children.mtimes.push_back(metadata.mtime);
  children.inodes.push_back(metadata.inode);
}

#ifdef __linux__

struct KernelEntry {
  uint64_t inode;
  int64_t offset;
  uint16_t bytes;
  uint8_t type;
  char name[];
};

/** 0, or the errno. By the bare syscall: readdir() would ask in 32 KiB and keep a buffer on the heap per directory. */
int readChildren(Descriptor& directory, uint64_t device, Children& children) {
  alignas(KernelEntry) char buffer[64 * 1024];
  for (;;) {
    const long bytes = syscall(SYS_getdents64, directory.get(), buffer, sizeof buffer);
    if (bytes < 0) return errno;
    if (bytes == 0) return 0;
    for (long at = 0; at < bytes;) {
      const auto* entry = reinterpret_cast<const KernelEntry*>(buffer + at);
      if (!isDots(entry->name)) append(children, directory.get(), device, entry->name, entry->type, entry->inode);
      at += entry->bytes;
    }
  }
}

#else

int readChildren(Descriptor& directory, uint64_t device, Children& children) {
  DIR* stream = fdopendir(directory.get());
  if (stream == nullptr) return errno;
  const int fd = directory.release();
  int error = 0;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(stream);
    if (entry == nullptr) {
      error = errno;
      break;
    }
    if (!isDots(entry->d_name)) append(children, fd, device, entry->d_name, entry->d_type, entry->d_ino);
  }
  closedir(stream);
  return error;
}

#endif

constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;

#ifdef __linux__

/** Of Linux 5.6, which the headers may not have. */
constexpr long kOpenat2 = 437;
struct HowToOpen {
  uint64_t flags, mode, resolve;
};
constexpr uint64_t kNoLinks = 4;

/** Whether what is open lies at this path, as far as the system tells. */
bool liesAt(int fd, const char* path) {
  char link[32], real[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, real, sizeof real);
  if (length < 0 || length == sizeof real) return true;
  while (path[0] == '/' && path[1] == '/') path++;
  return strlen(path) == static_cast<size_t>(length) && memcmp(path, real, length) == 0;
}

/** ENOTDIR where a link is in the way, be it that a directory above has become one since it was read. */
int openOnce(int directory, const char* path) {
  HowToOpen how = {kFlags, 0, kNoLinks};
  int fd = static_cast<int>(syscall(kOpenat2, directory, path, &how, sizeof how));
  if (fd < 0 && errno == ELOOP) errno = ENOTDIR;
  // Seccomp filters older than this call refuse it with either.
  if (fd >= 0 || (errno != ENOSYS && errno != EPERM)) return fd;
  fd = openat(directory, path, kFlags);
  if (fd < 0 || path[0] != '/' || liesAt(fd, path)) return fd;
  close(fd);
  errno = ENOTDIR;
  return -1;
}

#else

int openOnce(int directory, const char* path) { return openat(directory, path, kFlags); }

#endif

int openFrom(int directory, const char* path) {
  for (;;) {
    const int fd = openOnce(directory, path);
    if (fd >= 0 || errno != EINTR) return fd;
  }
}

/** By parts that the system takes, each from the one before, so that two are open at a time. */
int openInSteps(const std::string& path) {
  Descriptor from(-1);
  for (size_t at = 0;;) {
    const int directory = from.get() < 0 ? AT_FDCWD : from.get();
    if (path.size() - at < PATH_MAX) return openFrom(directory, path.c_str() + at);
    const size_t end = path.rfind('/', at + PATH_MAX - 1);
    if (end == std::string::npos || end <= at) {
      errno = ENAMETOOLONG;
      return -1;
    }
    const int next = openFrom(directory, path.substr(at, end - at).c_str());
    if (next < 0) return -1;
    from.replace(next);
    at = end + 1;
  }
}

}  // namespace

namespace {

/** Puts them one after the other; what may be changed is let go as soon as it was copied, so that there are not two of all. */
template <typename T>
size_t put(char* to, T& from) {
  const size_t bytes = from.size() * sizeof from[0];
  if (bytes > 0) memcpy(to, from.data(), bytes);
  if constexpr (!std::is_const_v<T>) T().swap(from);
  return bytes;
}

/** The columns share one ArrayBuffer: for the many directories of few children, making five would cost more than reading them. */
template <typename T>
Napi::Object columnsOf(Napi::Env env, T& children, uint64_t device) {
  const size_t count = children.kinds.size();
  Napi::ArrayBuffer memory = Napi::ArrayBuffer::New(env, count * 25 + children.names.size());
  char* to = static_cast<char*>(memory.Data());
  to += put(to, children.inodes);
  to += put(to, children.sizes);
  to += put(to, children.mtimes);
  to += put(to, children.kinds);
  put(to, children.names);
  Napi::Object columns = Napi::Object::New(env);
  columns.Set("names", Napi::Uint8Array::New(env, memory.ByteLength() - count * 25, memory, count * 25));
  columns.Set("kinds", Napi::Uint8Array::New(env, count, memory, count * 24));
  columns.Set("sizes", Napi::Float64Array::New(env, count, memory, count * 8));
  columns.Set("mtimes", Napi::Float64Array::New(env, count, memory, count * 16));
  columns.Set("inodes", Napi::BigUint64Array::New(env, count, memory, 0));
  columns.Set("device", Napi::BigInt::New(env, device));
  return columns;
}

}  // namespace

Napi::Object toColumns(Napi::Env env, const Children& children, uint64_t device) { return columnsOf(env, children, device); }

Napi::Object moveToColumns(Napi::Env env, Listing& listing) { return columnsOf(env, listing.children, listing.device); }

int readListing(const std::string& path, Listing& listing, const char*& syscall, bool inSteps) {
  syscall = "open";
  Descriptor directory(inSteps ? openInSteps(path) : openFrom(AT_FDCWD, path.c_str()));
  if (directory.get() < 0) return errno;
  struct stat status;
  syscall = "fstat";
  if (fstat(directory.get(), &status) != 0) return errno;
  listing.device = static_cast<uint64_t>(status.st_dev);
  listing.inode = static_cast<uint64_t>(status.st_ino);
  syscall = "scandir";
  return readChildren(directory, listing.device, listing.children);
}

std::string pathOf(const Napi::CallbackInfo& call) {
  const auto given = call[0].As<Napi::Buffer<char>>();
  const std::string path(given.Data(), given.Length());
  if (path.empty() || path.find('\0') != std::string::npos) throwErrno(call.Env(), path.empty() ? ENOENT : EINVAL, "open");
  return path;
}

Napi::Value readDirectory(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  Listing listing;
  const char* syscall;
  const int error = readListing(pathOf(call), listing, syscall);
  if (error != 0) throwErrno(env, error, syscall);
  return moveToColumns(env, listing);
}
