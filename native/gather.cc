// Reads one directory after the other into one batch, which crosses to JavaScript as a whole: for the many directories of few children
// the crossing would cost more than the reading. A thread of its own reads ahead what comes next.
#include "scan.h"

#include <limits.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <unordered_map>

namespace {

using Clock = std::chrono::steady_clock;

/** What was read ahead this long ago is read again: a walk is to say how things are now. */
constexpr auto kFresh = std::chrono::milliseconds(200);
/** Bytes of listings that wait to be asked for, at which nothing more is read ahead. */
constexpr size_t kAheadBytes = 4 << 20;

size_t bytesOf(const Children& children) { return children.names.size() + children.kinds.size() * 25; }

uint64_t load(const char* bytes, size_t count) {
  uint64_t value = 0;
  memcpy(&value, bytes, count);
  return value;
}

uint64_t mixed(uint64_t value) {
  value ^= value >> 32;
  value *= 0xd6e8feb86659fd93;
  value ^= value >> 32;
  value *= 0xd6e8feb86659fd93;
  return value ^ (value >> 32);
}

uint64_t printOf(const char* name, size_t length, uint8_t kind, double size, double mtime, uint64_t inode) {
  uint64_t hash = length * 0x9e3779b97f4a7c15;
  size_t at = 0;
  for (; at + 8 <= length; at += 8) hash = mixed(hash ^ load(name + at, 8));
  hash = mixed(hash ^ load(name + at, length - at));
  hash = mixed(hash ^ inode) + kind;
  hash = mixed(hash ^ static_cast<uint64_t>(size));
  return mixed(hash ^ static_cast<uint64_t>(static_cast<int64_t>(mtime)));
}

/** 48 bits of what the children are, in whatever order; 0 where not all of it could be read. */
double printOf(const Children& children) {
  uint64_t sum = mixed(children.kinds.size());
  const char* name = children.names.data();
  for (size_t at = 0; at < children.kinds.size(); at++) {
    if (children.kinds[at] & kUnreadable) return 0;
    const size_t length = strlen(name);
    sum += printOf(name, length, children.kinds[at], children.sizes[at], children.mtimes[at], children.inodes[at]);
    name += length + 1;
  }
  return static_cast<double>((mixed(sum) >> 16) | 1);
}

template <typename T>
void add(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

void clear(Children& children) {
  children.names.clear();
  children.kinds.clear();
  children.sizes.clear();
  children.mtimes.clear();
  children.inodes.clear();
}

/** Reads what it is told will be asked for, in a thread that holds one descriptor at a time. */
class Ahead {
 public:
  ~Ahead() { end(); }

  /** False where no thread can be had. */
  bool begin() {
    try {
      thread_ = std::thread([this] { run(); });
      return true;
    } catch (const std::system_error&) {
      return false;
    }
  }

  void end() {
    if (!thread_.joinable()) return;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      ended_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

  void want(std::string path) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      wanted_.push_back(std::move(path));
    }
    if (waits_) wake_.notify_one();
  }

  /** While it is held nothing is read ahead: the descriptor for that is free. */
  std::unique_lock<std::mutex> rest() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!reading_.empty()) done_.wait(lock);
    return lock;
  }

  /** What was read of it a moment ago, waited for while it is being read. False where it is to be read now. */
  bool take(const std::string& path, Listing& listing) {
    std::unique_lock<std::mutex> lock(mutex_);
    // Instead of waiting for the one, the next is read here.
    while (reading_ == path)
      if (!readWanted(lock)) done_.wait(lock);
    const auto found = read_.find(path);
    if (found == read_.end()) {
      for (auto each = wanted_.begin(); each != wanted_.end(); each++) {
        if (*each != path) continue;
        wanted_.erase(each);
        break;
      }
      return false;
    }
    bytes_ -= bytesOf(found->second.listing.children);
    const bool fresh = Clock::now() - found->second.at <= kFresh;
    if (fresh) listing = std::move(found->second.listing);
    read_.erase(found);
    if (waits_) wake_.notify_one();
    return fresh;
  }

 private:
  struct Read {
    Listing listing;
    Clock::time_point at;
  };

  /** False where nothing may be read ahead now. */
  bool readWanted(std::unique_lock<std::mutex>& lock) {
    if (wanted_.empty() || bytes_ >= kAheadBytes) return false;
    // The latest is the nearest: a walk goes down before it goes on.
    std::string path = std::move(wanted_.back());
    wanted_.pop_back();
    lock.unlock();
    Read read;
    read.at = Clock::now();
    const char* syscall;
    const int error = readListing(path, read.listing, syscall);
    lock.lock();
    // Whoever asks for it meets the error himself, and says what it means.
    if (error != 0) return true;
    bytes_ += bytesOf(read.listing.children);
    read_.emplace(std::move(path), std::move(read));
    return true;
  }

  void run() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      while (!ended_ && (wanted_.empty() || bytes_ >= kAheadBytes)) {
        waits_ = true;
        wake_.wait(lock);
        waits_ = false;
      }
      if (ended_) return;
      reading_ = wanted_.back();
      readWanted(lock);
      reading_.clear();
      done_.notify_one();
    }
  }

  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::deque<std::string> wanted_;
  std::unordered_map<std::string, Read> read_;
  std::string reading_;
  size_t bytes_ = 0;
  bool waits_ = false;
  bool ended_ = false;
};

class Gatherer : public Napi::ObjectWrap<Gatherer> {
 public:
  explicit Gatherer(const Napi::CallbackInfo& call) : Napi::ObjectWrap<Gatherer>(call) {}

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Gatherer",
                       {InstanceMethod("read", &Gatherer::read), InstanceMethod("take", &Gatherer::take),
                        InstanceMethod("list", &Gatherer::list),
                        InstanceMethod("beginAhead", &Gatherer::beginAhead), InstanceMethod("ahead", &Gatherer::ahead),
                        InstanceMethod("end", &Gatherer::end)});
  }

 private:
  Napi::Value read(const Napi::CallbackInfo& call) {
    Napi::Env env = call.Env();
    const std::string path = pathOf(call);
    clear(listing_.children);
    if (isLong(path) || !reads_ || !ahead_.take(path, listing_)) readNow(env, path, listing_);
    const Children& children = listing_.children;
    const size_t most = call[1].As<Napi::Number>().Uint32Value();
    if (children.kinds.size() > most) return toColumns(env, children, listing_.device);
    auto told = call[2].As<Napi::Float64Array>();
    told[0] = static_cast<double>(children.kinds.size());
    told[1] = printOf(children);
    told[2] = listing_.inode <= (1ull << 53) ? static_cast<double>(listing_.inode) : 0;
    batch_.names += children.names;
    add(batch_.kinds, children.kinds);
    add(batch_.sizes, children.sizes);
    add(batch_.mtimes, children.mtimes);
    add(batch_.inodes, children.inodes);
    return below(env, children);
  }

  /** Names of the directories that are entered, each with a NUL. */
  Napi::Value below(Napi::Env env, const Children& children) {
    std::string names;
    const char* name = children.names.data();
    bool plain = true;
    for (const uint8_t kind : children.kinds) {
      const size_t length = strlen(name) + 1;
      if ((kind & kKindMask) == kDirectory && !(kind & kOtherDevice)) {
        names.append(name, length);
        for (size_t at = 0; at < length; at++) plain = plain && static_cast<signed char>(name[at]) >= 0;
      }
      name += length;
    }
    if (!plain) return Napi::Buffer<char>::Copy(env, names.data(), names.size());
    napi_value text;
    napi_create_string_latin1(env, names.data(), names.size(), &text);
    return Napi::Value(env, text);
  }

  /** As a listing of its own, whatever it holds. */
  Napi::Value list(const Napi::CallbackInfo& call) {
    Listing listing;
    readNow(call.Env(), pathOf(call), listing);
    return toColumns(call.Env(), listing.children, listing.device);
  }

  static bool isLong(const std::string& path) { return path.size() >= PATH_MAX; }

  /** A path that the system does not take at once costs the descriptor of what is read ahead. */
  void readNow(Napi::Env env, const std::string& path, Listing& listing) {
    const char* syscall;
    int error;
    if (reads_ && isLong(path)) {
      const auto rest = ahead_.rest();
      error = readListing(path, listing, syscall, true);
    } else {
      error = readListing(path, listing, syscall);
    }
    if (error != 0) throwErrno(env, error, syscall);
  }

  Napi::Value take(const Napi::CallbackInfo& call) {
    const Napi::Object columns = toColumns(call.Env(), batch_, 0);
    clear(batch_);
    return columns;
  }

  Napi::Value beginAhead(const Napi::CallbackInfo& call) {
    reads_ = ahead_.begin();
    return Napi::Boolean::New(call.Env(), reads_);
  }

  void ahead(const Napi::CallbackInfo& call) {
    const std::string path = pathOf(call);
    if (reads_ && !isLong(path)) ahead_.want(path);
  }

  void end(const Napi::CallbackInfo&) { ahead_.end(); reads_ = false; }

  Listing listing_;
  Children batch_;
  Ahead ahead_;
  bool reads_ = false;
};

}  // namespace

Napi::Function gatherer(Napi::Env env) { return Gatherer::define(env); }
