// Reads trees into batches, each of which crosses to JavaScript as a whole: for the many directories of few children the crossing
// would cost more than the reading.
#include "descent.h"

#include <limits.h>

#include <cstring>

namespace {

/** What is answered of a step, where no listing is. */
enum Step { kThrough, kFull };

template <typename T>
void add(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

/** Directories of a batch, one after the other. */
struct Directories {
  /** Of each its path, relative to the root, and a NUL. */
  std::string paths;
  std::vector<uint32_t> counts;
  std::vector<int32_t> depths;
  std::vector<double> prints;
  std::vector<double> inodes;

  void clear() {
    paths.clear();
    counts.clear();
    depths.clear();
    prints.clear();
    inodes.clear();
  }
};

class Gatherer : public Napi::ObjectWrap<Gatherer> {
 public:
  explicit Gatherer(const Napi::CallbackInfo& call) : Napi::ObjectWrap<Gatherer>(call) {}

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Descent",
                       {InstanceMethod("begin", &Gatherer::begin), InstanceMethod("fill", &Gatherer::fill),
                        InstanceMethod("at", &Gatherer::at), InstanceMethod("skip", &Gatherer::skip),
                        InstanceMethod("take", &Gatherer::take), InstanceMethod("list", &Gatherer::list),
                        InstanceMethod("beginAhead", &Gatherer::beginAhead), InstanceMethod("end", &Gatherer::end)});
  }

 private:
  void begin(const Napi::CallbackInfo& call) {
    const auto paths = call[1].As<Napi::Buffer<char>>();
    descent_.begin(pathOf(call), std::string(paths.Data(), paths.Length()), call[2].As<Napi::Float64Array>().Data());
  }

  Napi::Value fill(const Napi::CallbackInfo& call) {
    Napi::Env env = call.Env();
    const size_t room = call[0].As<Napi::Number>().Uint32Value();
    const size_t most = call[1].As<Napi::Number>().Uint32Value();
    double* told = call[2].As<Napi::Float64Array>().Data();
    while (told[0] < static_cast<double>(room)) {
      const Place* place = descent_.next();
      if (place == nullptr) return Napi::Number::New(env, kThrough);
      const char* syscall;
      const int error = descent_.read(syscall);
      if (error != 0) throwErrno(env, error, syscall);
      const size_t count = descent_.found().listing.children.kinds.size();
      if (count > most) {
        Napi::Object columns = moveToColumns(env, descent_.listing());
        columns.Set("print", Napi::Number::New(env, descent_.found().print));
        told[1] += descent_.enter();
        return columns;
      }
      add(*place, descent_.found());
      told[0] += static_cast<double>(count + 1);
      told[1] += descent_.enter();
    }
    return Napi::Number::New(env, kFull);
  }

  void add(const Place& place, const Found& found) {
    const Children& children = found.listing.children;
    children_.names += children.names;
    ::add(children_.kinds, children.kinds);
    ::add(children_.sizes, children.sizes);
    ::add(children_.mtimes, children.mtimes);
    ::add(children_.inodes, children.inodes);
    directories_.paths.append(place.path.c_str(), place.path.size() + 1);
    directories_.counts.push_back(static_cast<uint32_t>(children.kinds.size()));
    // Where it is not what its directory had a moment ago, nothing is concluded from that.
    directories_.depths.push_back(place.inode == found.listing.inode ? place.depth : ~place.depth);
    directories_.prints.push_back(found.print);
    directories_.inodes.push_back(found.listing.inode <= (1ull << 53) ? static_cast<double>(found.listing.inode) : 0);
  }

  Napi::Value at(const Napi::CallbackInfo& call) {
    const std::string& path = descent_.place().path;
    return Napi::Buffer<char>::Copy(call.Env(), path.data(), path.size());
  }

  Napi::Value skip(const Napi::CallbackInfo& call) { return Napi::Number::New(call.Env(), descent_.skip()); }

  Napi::Value take(const Napi::CallbackInfo& call) {
    Napi::Env env = call.Env();
    Napi::Object batch = toColumns(env, children_, 0);
    const size_t count = directories_.counts.size();
    Napi::ArrayBuffer memory = Napi::ArrayBuffer::New(env, count * 24 + directories_.paths.size());
    char* bytes = static_cast<char*>(memory.Data());
    if (count > 0) {
      memcpy(bytes, directories_.prints.data(), count * 8);
      memcpy(bytes + count * 8, directories_.inodes.data(), count * 8);
      memcpy(bytes + count * 16, directories_.counts.data(), count * 4);
      memcpy(bytes + count * 20, directories_.depths.data(), count * 4);
      memcpy(bytes + count * 24, directories_.paths.data(), directories_.paths.size());
    }
    Napi::Object directories = Napi::Object::New(env);
    directories.Set("prints", Napi::Float64Array::New(env, count, memory, 0));
    directories.Set("inodes", Napi::Float64Array::New(env, count, memory, count * 8));
    directories.Set("counts", Napi::Uint32Array::New(env, count, memory, count * 16));
    directories.Set("depths", Napi::Int32Array::New(env, count, memory, count * 20));
    directories.Set("paths", Napi::Uint8Array::New(env, directories_.paths.size(), memory, count * 24));
    batch.Set("directories", directories);
    children_.clear();
    directories_.clear();
    return batch;
  }

  /** As a listing of its own, whatever it holds. A path that the system does not take at once costs the descriptor of what is read ahead. */
  Napi::Value list(const Napi::CallbackInfo& call) {
    const std::string path = pathOf(call);
    Listing listing;
    const char* syscall;
    int error;
    if (descent_.hasAhead() && path.size() >= PATH_MAX) {
      const auto rest = descent_.rest();
      error = readListing(path, listing, syscall, true);
    } else {
      error = readListing(path, listing, syscall);
    }
    if (error != 0) throwErrno(call.Env(), error, syscall);
    return moveToColumns(call.Env(), listing);
  }

  Napi::Value beginAhead(const Napi::CallbackInfo& call) { return Napi::Boolean::New(call.Env(), descent_.beginAhead()); }

  void end(const Napi::CallbackInfo&) { descent_.end(); }

  Children children_;
  Directories directories_;
  Descent descent_;
};

}  // namespace

Napi::Function gatherer(Napi::Env env) { return Gatherer::define(env); }
