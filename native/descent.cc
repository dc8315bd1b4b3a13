#include "descent.h"

#include <limits.h>

#include <algorithm>
#include <cstring>
#include <system_error>

#include "names.h"

namespace {

/** What was read ahead this long ago is read again: a walk is to say how things are now. */
constexpr auto kFresh = std::chrono::milliseconds(200);
/** Directories that were read and wait to be asked for, at which nothing more is read ahead; and at which it goes on. */
constexpr size_t kAhead = 32, kAheadFew = 24;
/** The same in bytes. */
constexpr size_t kAheadBytes = 4 << 20;
/** One that waited this long, while others were read by the hundred, lies farther off than it seemed: it gives way to a nearer one. */
constexpr auto kNear = std::chrono::milliseconds(20);
/** One that had more children is not used again: its memory goes. */
constexpr size_t kSpareChildren = 1024;

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

void sortByName(const std::string& names, std::vector<Below>& order) {
  const char* from = names.data();
  const bool areText = isText(from, names.size());
  std::sort(order.begin(), order.end(), [from, areText](const Below& a, const Below& b) {
    return compareNames(from + a.name, from + b.name, areText) < 0;
  });
}

void clear(Found& found) {
  found.listing.children.clear();
  found.below.clear();
  found.order.clear();
}

void lookThrough(Found& found) {
  const Children& children = found.listing.children;
  uint64_t sum = mixed(children.kinds.size());
  bool isWhole = true;
  const char* name = children.names.data();
  for (size_t at = 0; at < children.kinds.size(); at++) {
    const size_t length = strlen(name);
    const uint8_t kind = children.kinds[at];
    if (kind & kUnreadable) isWhole = false;
    sum += printOf(name, length, kind, children.sizes[at], children.mtimes[at], children.inodes[at]);
    if ((kind & kKindMask) == kDirectory && !(kind & kOtherDevice)) {
      found.order.push_back({static_cast<uint32_t>(found.below.size()), children.inodes[at]});
      found.below.append(name, length + 1);
    }
    name += length + 1;
  }
  found.print = isWhole ? static_cast<double>((mixed(sum) >> 16) | 1) : 0;
  if (found.order.size() > 1) sortByName(found.below, found.order);
}

int readWhole(const std::string& path, Found& found, const char*& syscall, bool inSteps = false) {
  clear(found);
  const int error = readListing(path, found.listing, syscall, inSteps);
  if (error == 0) lookThrough(found);
  return error;
}

int depthOf(const std::string& path) {
  return path.empty() ? 0 : 1 + static_cast<int>(std::count(path.begin(), path.end(), '/'));
}

size_t bytesOf(const Found& found) {
  const Children& children = found.listing.children;
  return children.names.size() + children.kinds.size() * 25 + found.below.size() + found.order.size() * sizeof(Below);
}

}  // namespace

bool Descent::beginAhead() {
  try {
    thread_ = std::thread([this] { run(); });
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

void Descent::end() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Descent::begin(std::string root, std::string paths, const double* weights) {
  const auto lock = rest();
  for (const Frame& frame : frames_)
    for (const auto& slot : frame.ahead)
      if (slot) forget(slot);
  frames_.clear();
  isAt_ = false;
  root_ = std::move(root);
  Frame frame;
  for (size_t at = 0; at < paths.size(); at = paths.find('\0', at) + 1) frame.order.push_back({static_cast<uint32_t>(at), 0});
  frame.weights.assign(weights, weights + frame.order.size());
  frame.names = std::move(paths);
  frames_.push_back(std::move(frame));
  if (waits_) wake_.notify_one();
}

const Place* Descent::next() {
  if (isAt_) return &place_;
  std::unique_lock<std::mutex> lock(mutex_);
  while (!frames_.empty() && frames_.back().next == frames_.back().order.size()) frames_.pop_back();
  if (frames_.empty()) return nullptr;
  Frame& frame = frames_.back();
  if (!frame.ahead.empty()) {
    // Instead of waiting for the one, the next is read here.
    while (frame.ahead.front() && frame.ahead.front()->state == State::kReading)
      if (!readWanted(lock)) done_.wait(lock);
    taken_ = std::move(frame.ahead.front());
    frame.ahead.erase(frame.ahead.begin());
  }
  if (!taken_) {
    place_ = placeAt(frame, frame.next);
  } else {
    place_ = std::move(taken_->place);
    if (taken_->state != State::kRead || Clock::now() - taken_->at > kFresh) {
      forget(taken_);
      taken_ = nullptr;
    } else {
      outstanding_ -= 1;
      bytes_ -= taken_->bytes;
    }
  }
  frame.next += 1;
  isAt_ = true;
  if (waits_ && wasFull_ && !isFull(kAheadFew)) wake_.notify_one();
  return &place_;
}

int Descent::read(const char*& syscall) {
  if (taken_) {
    found_ = std::move(taken_->found);
    below_ = std::move(taken_->below);
    taken_ = nullptr;
    return 0;
  }
  if (!found_) found_ = std::make_unique<Found>();
  const std::string path = absolute(place_.path);
  int error;
  if (hasAhead() && isLong(place_.path)) {
    // A path that the system does not take at once costs the descriptor of what is read ahead.
    const auto lock = rest();
    error = readWhole(path, *found_, syscall, true);
  } else {
    error = readWhole(path, *found_, syscall);
  }
  if (error == 0) below_ = frameOf(place_, *found_);
  return error;
}

double Descent::enter() {
  const double share = below_.weight;
  isAt_ = false;
  std::lock_guard<std::mutex> lock(mutex_);
  giveBack(std::move(found_));
  const size_t count = below_.order.size();
  if (count > 0) frames_.push_back(std::move(below_));
  if (waits_ && count > 1 && (!wasFull_ || Clock::now() - waitsSince_ > kNear)) wake_.notify_one();
  return share;
}

double Descent::skip() {
  isAt_ = false;
  return place_.weight;
}

bool Descent::isFull(size_t most) const { return outstanding_ >= most || bytes_ >= kAheadBytes; }

std::string Descent::absolute(const std::string& path) const {
  if (path.empty()) return root_;
  std::string whole;
  whole.reserve(root_.size() + 1 + path.size());
  return whole.append(root_).append(1, '/').append(path);
}

std::unique_lock<std::mutex> Descent::rest() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (isReading_) done_.wait(lock);
  return lock;
}

Place Descent::placeAt(const Frame& frame, size_t at) const {
  Place place;
  const char* name = frame.names.c_str() + frame.order[at].name;
  if (frame.path.empty()) {
    place.path = name;
  } else {
    const size_t length = strlen(name);
    place.path.reserve(frame.path.size() + 1 + length);
    place.path.append(frame.path).append(1, '/').append(name, length);
  }
  place.inode = frame.order[at].inode;
  place.weight = frame.weights.empty() ? frame.weight : frame.weights[at];
  place.depth = frame.weights.empty() ? frame.depth : depthOf(place.path);
  return place;
}

Descent::Frame Descent::frameOf(const Place& place, Found& found) const {
  Frame frame;
  frame.weight = place.weight / static_cast<double>(found.order.size() + 1);
  if (found.order.empty()) return frame;
  frame.path = place.path;
  frame.depth = place.depth + 1;
  frame.names = std::move(found.below);
  frame.order = std::move(found.order);
  return frame;
}

bool Descent::isLong(const std::string& path) const { return root_.size() + 1 + path.size() >= PATH_MAX; }

/** The nearest that may be read ahead now, which has a slot afterwards. */
std::shared_ptr<Descent::Slot> Descent::want() {
  const bool isFull = this->isFull(kAhead);
  if (!frames_.empty() && frames_.back().ahead.empty() && frames_.back().next < frames_.back().order.size())
    // The one that comes next of all is left to whoever comes to it: it would be waited for.
    frames_.back().ahead.push_back(nullptr);
  for (size_t at = frames_.size(); at-- > 0;) {
    Frame* frame = wantIn(frames_[at]);
    if (frame == nullptr) continue;
    if (isFull && !makeRoom(at)) return nullptr;
    auto slot = std::make_shared<Slot>();
    slot->place = placeAt(*frame, frame->next + frame->ahead.size());
    frame->ahead.push_back(slot);
    outstanding_ += 1;
    return slot;
  }
  return nullptr;
}

/** Drops what is farthest, if that is not so near as this frame. */
bool Descent::makeRoom(size_t frame) {
  for (size_t at = 0; at < frame; at++) {
    auto* ahead = &frames_[at].ahead;
    if (ahead->empty() || !ahead->back()) continue;
    while (!ahead->back()->below.ahead.empty()) ahead = &ahead->back()->below.ahead;
    const auto slot = ahead->back();
    if (slot->state == State::kReading || Clock::now() - slot->at < kNear) return false;
    ahead->pop_back();
    forget(slot);
    return true;
  }
  return false;
}

/** The one of whose directories the nearest without a slot is. */
Descent::Frame* Descent::wantIn(Frame& frame) {
  for (const auto& slot : frame.ahead) {
    if (!slot || slot->state != State::kRead) continue;
    Frame* below = wantIn(slot->below);
    if (below) return below;
  }
  return frame.next + frame.ahead.size() < frame.order.size() ? &frame : nullptr;
}

/** False where nothing may be read ahead now. */
bool Descent::readWanted(std::unique_lock<std::mutex>& lock) {
  const auto slot = want();
  if (!slot) return false;
  auto found = spare();
  lock.unlock();
  const char* syscall;
  // Whoever comes to one that cannot be read meets the error himself, and says what it means.
  const bool isRead = !isLong(slot->place.path) && readWhole(absolute(slot->place.path), *found, syscall) == 0;
  Frame below;
  const size_t bytes = isRead ? bytesOf(*found) : 0;
  if (isRead) below = frameOf(slot->place, *found);
  // One of very many children takes longer to be read than what was read stays fresh.
  slot->at = Clock::now();
  lock.lock();
  slot->state = isRead ? State::kRead : State::kFailed;
  if (slot->isForgotten || !isRead) {
    giveBack(std::move(found));
    return true;
  }
  slot->found = std::move(found);
  slot->below = std::move(below);
  slot->bytes = bytes;
  bytes_ += bytes;
  return true;
}

/** With what was read below it. */
void Descent::forget(const std::shared_ptr<Slot>& slot) {
  slot->isForgotten = true;
  outstanding_ -= 1;
  bytes_ -= slot->bytes;
  if (slot->found) giveBack(std::move(slot->found));
  for (const auto& each : slot->below.ahead) forget(each);
}

void Descent::giveBack(std::unique_ptr<Found> found) {
  if (found->listing.children.kinds.capacity() <= kSpareChildren && spares_.size() < kAhead) spares_.push_back(std::move(found));
}

std::unique_ptr<Found> Descent::spare() {
  if (spares_.empty()) return std::make_unique<Found>();
  auto found = std::move(spares_.back());
  spares_.pop_back();
  return found;
}

void Descent::run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!ended_) {
    isReading_ = true;
    const bool hasRead = readWanted(lock);
    isReading_ = false;
    done_.notify_one();
    if (hasRead || ended_) continue;
    waits_ = true;
    wasFull_ = isFull(kAhead);
    waitsSince_ = Clock::now();
    wake_.wait(lock);
    waits_ = false;
  }
}
