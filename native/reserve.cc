// Descriptors that the process really holds, so that they are there when nothing else is. One for all threads, behind a mutex: what
// is given up is counted as lent and is not opened again before whoever borrowed it is through.
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <vector>

namespace {

constexpr size_t kUses = 8;

struct Reserve {
  std::mutex mutex;
  std::vector<int> held;
  size_t target = 0;
  size_t lent[kUses] = {};

  size_t lentInAll() const {
    size_t sum = 0;
    for (const size_t each : lent) sum += each;
    return sum;
  }

  size_t missing() const {
    const size_t there = held.size() + lentInAll();
    return there < target ? target - there : 0;
  }

  /** Each by an open of its own: duplicates would share one entry of the machine's table, and help nobody when that is full. */
  void refill() {
    while (missing() > 0) {
      const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
      if (fd >= 0) {
        held.push_back(fd);
      } else if (errno != EINTR) {
        return;
      }
    }
  }

  /** The lowest number first: one above a limit that was cut gives nobody room. */
  void closeOne() {
    const auto lowest = std::min_element(held.begin(), held.end());
    close(*lowest);
    held.erase(lowest);
  }
};

/** Never destroyed: threads may still use it while the process exits. */
Reserve& theReserve() {
  static Reserve& reserve = *new Reserve;
  return reserve;
}

size_t useOf(const Napi::Value& given) { return std::min<size_t>(given.As<Napi::Number>().Uint32Value(), kUses - 1); }

}  // namespace

/** Makes the reserve larger or, by a negative number, smaller. Returns how many are missing. */
Napi::Value reserveResize(const Napi::CallbackInfo& call) {
  Reserve& reserve = theReserve();
  const std::lock_guard<std::mutex> guard(reserve.mutex);
  const double wanted = static_cast<double>(reserve.target) + call[0].As<Napi::Number>().DoubleValue();
  reserve.target = wanted > 0 ? static_cast<size_t>(wanted) : 0;
  while (!reserve.held.empty() && reserve.held.size() + reserve.lentInAll() > reserve.target) reserve.closeOne();
  reserve.refill();
  return Napi::Number::New(call.Env(), static_cast<double>(reserve.missing()));
}

/** Opens what is missing, as far as it goes. Returns how many still are. */
Napi::Value reserveRefill(const Napi::CallbackInfo& call) {
  Reserve& reserve = theReserve();
  const std::lock_guard<std::mutex> guard(reserve.mutex);
  reserve.refill();
  return Napi::Number::New(call.Env(), static_cast<double>(reserve.missing()));
}

/** usage: use, count, most. Closes up to `count`, so that this use has no more than `most`. Returns how many that were. */
Napi::Value reserveLend(const Napi::CallbackInfo& call) {
  Reserve& reserve = theReserve();
  const std::lock_guard<std::mutex> guard(reserve.mutex);
  size_t& lent = reserve.lent[useOf(call[0])];
  const size_t most = call[2].As<Napi::Number>().Uint32Value();
  const size_t room = most > lent ? most - lent : 0;
  const size_t count = std::min({static_cast<size_t>(call[1].As<Napi::Number>().Uint32Value()), room, reserve.held.size()});
  for (size_t i = 0; i < count; i++) reserve.closeOne();
  lent += count;
  return Napi::Number::New(call.Env(), static_cast<double>(count));
}

/** usage: use, count. What was lent is over. Returns how many are missing. */
Napi::Value reserveReturn(const Napi::CallbackInfo& call) {
  Reserve& reserve = theReserve();
  const std::lock_guard<std::mutex> guard(reserve.mutex);
  size_t& lent = reserve.lent[useOf(call[0])];
  lent -= std::min(lent, static_cast<size_t>(call[1].As<Napi::Number>().Uint32Value()));
  while (!reserve.held.empty() && reserve.held.size() + reserve.lentInAll() > reserve.target) reserve.closeOne();
  reserve.refill();
  return Napi::Number::New(call.Env(), static_cast<double>(reserve.missing()));
}

/** The numbers that are held now, in no order. */
Napi::Value reserveList(const Napi::CallbackInfo& call) {
  Reserve& reserve = theReserve();
  const std::lock_guard<std::mutex> guard(reserve.mutex);
  Napi::Int32Array result = Napi::Int32Array::New(call.Env(), reserve.held.size());
  std::copy(reserve.held.begin(), reserve.held.end(), result.Data());
  return result;
}
