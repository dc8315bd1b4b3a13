#include "names.h"

#include "addon.h"

#include <errno.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace {

struct Name {
  uint32_t start;
  uint32_t place;
};

bool isBetween(uint8_t byte, uint8_t least, uint8_t most) { return byte >= least && byte <= most; }

/** Bytes of the valid sequence that starts here, 0 where none does. Stops at a NUL, which continues nothing. */
size_t sequenceLength(const uint8_t* at) {
  const uint8_t lead = at[0];
  if (lead < 0x80) return 1;
  if (isBetween(lead, 0xc2, 0xdf)) return isBetween(at[1], 0x80, 0xbf) ? 2 : 0;
  if (!isBetween(lead, 0xe0, 0xf4)) return 0;
  const uint8_t least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const uint8_t most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (!isBetween(at[1], least, most) || !isBetween(at[2], 0x80, 0xbf)) return 0;
  if (lead < 0xf0) return 3;
  return isBetween(at[3], 0x80, 0xbf) ? 4 : 0;
}

class Units {
 public:
  explicit Units(const uint8_t* name) : at_(name) {}

  /** 0 at the end. */
  uint32_t next() {
    if (low_ != 0) {
      const uint32_t low = low_;
      low_ = 0;
      return low;
    }
    const uint8_t* from = at_;
    if (from[0] == 0) return 0;
    const size_t length = sequenceLength(from);
    at_ += length == 0 ? 1 : length;
    if (length == 0) return 0xdc00 + from[0];
    if (length == 1) return from[0];
    if (length == 2) return (from[0] & 0x1f) << 6 | (from[1] & 0x3f);
    if (length == 3) return (from[0] & 0x0f) << 12 | (from[1] & 0x3f) << 6 | (from[2] & 0x3f);
    const uint32_t point = (from[0] & 0x07) << 18 | (from[1] & 0x3f) << 12 | (from[2] & 0x3f) << 6 | (from[3] & 0x3f);
    low_ = 0xdc00 | ((point - 0x10000) & 0x3ff);
    return 0xd800 | (point - 0x10000) >> 10;
  }

 private:
  const uint8_t* at_;
  uint32_t low_ = 0;
};

/** Of valid names bytes decide, but that U+E000 to U+FFFF come after what takes two units. */
int rankOf(uint8_t byte) { return byte == 0xee || byte == 0xef ? byte + 0x10 : byte; }

int compareText(const uint8_t* one, const uint8_t* other) {
  while (*one == *other && *one != 0) one++, other++;
  return rankOf(*one) - rankOf(*other);
}

int compareAny(const uint8_t* one, const uint8_t* other) {
  Units ones(one), others(other);
  for (;;) {
    const int unit = static_cast<int>(ones.next());
    const int against = static_cast<int>(others.next());
    if (unit != against || unit == 0) return unit - against;
  }
}

}  // namespace

bool isText(const char* names, size_t bytes) {
  const auto* from = reinterpret_cast<const uint8_t*>(names);
  for (size_t at = 0; at < bytes;) {
    const size_t length = sequenceLength(from + at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

int compareNames(const char* one, const char* other, bool areText) {
  const auto* a = reinterpret_cast<const uint8_t*>(one);
  const auto* b = reinterpret_cast<const uint8_t*>(other);
  return areText ? compareText(a, b) : compareAny(a, b);
}

Napi::Value sortNames(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  const auto given = call[0].As<Napi::Uint8Array>();
  const char* names = reinterpret_cast<const char*>(given.Data());
  const size_t bytes = given.ByteLength();
  if (bytes > UINT32_MAX) throwErrno(env, EFBIG, "sort");
  // Each reading stops at a NUL.
  if (bytes > 0 && names[bytes - 1] != 0) throwErrno(env, EINVAL, "sort");
  std::vector<Name> order;
  for (size_t at = 0; at < bytes; at += strlen(names + at) + 1)
    order.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(order.size())});
  const bool areText = isText(names, bytes);
  std::sort(order.begin(), order.end(), [names, areText](const Name& a, const Name& b) {
    const int difference = compareNames(names + a.start, names + b.start, areText);
    // A directory that changes while it is read may name a child twice.
    return difference != 0 ? difference < 0 : a.place < b.place;
  });
  Napi::Uint32Array sorted = Napi::Uint32Array::New(env, order.size() * 2);
  if (!order.empty()) memcpy(sorted.Data(), order.data(), order.size() * sizeof(Name));
  return sorted;
}
