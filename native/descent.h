// Goes down trees in the order of a walk; a thread of its own reads ahead what comes next.
#pragma once
#include "scan.h"

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

/** A subdirectory: where its name begins, and its inode as its directory has it. */
struct Below {
  uint32_t name;
  uint64_t inode;
};

/** What was read of a directory. */
struct Found {
  Listing listing;
  /** 48 bits of what the children are, in whatever order; 0 where not all of it could be read. */
  double print = 0;
  /** Names of the subdirectories on the same device, each with a NUL, and these in the order of the walk. */
  std::string below;
  std::vector<Below> order;
};

/** A directory that comes next. */
struct Place {
  /** Relative to the root, '' for that itself. */
  std::string path;
  /** How far below the root. */
  int depth = 0;
  /** As its directory has it; 0 for one of those that were to be gone down. */
  uint64_t inode = 0;
  /** What it and everything below it counts for. */
  double weight = 0;
};

class Descent {
 public:
  ~Descent() { end(); }

  /** Reads ahead from now on, under a second descriptor. False where no thread can be had. */
  bool beginAhead();
  void end();
  bool hasAhead() const { return thread_.joinable(); }

  /** Trees to go down one after the other, by paths that each have a NUL; those before are forgotten. */
  void begin(std::string root, std::string paths, const double* weights);

  /** The directory that comes next, the same until it was entered or skipped; null where all is through. */
  const Place* next();
  const Place& place() const { return place_; }
  /** 0, or the errno of the call that is named then. */
  int read(const char*& syscall);
  /** What was read, until it is entered. */
  const Found& found() const { return *found_; }
  /** The same, where its children are to be had without a copy. */
  Listing& listing() { return found_->listing; }
  /** What lies in it comes next. Answers what of its weight it has for itself. */
  double enter();
  /** It is left out. Answers its weight. */
  double skip();

  std::string absolute(const std::string& path) const;
  /** While it is held nothing is read ahead: the descriptor for that is free. */
  std::unique_lock<std::mutex> rest();

 private:
  using Clock = std::chrono::steady_clock;
  struct Slot;
  /** The subdirectories of one directory. */
  struct Frame {
    std::string path;
    std::string names;
    std::vector<Below> order;
    /** Of each; where there are none it is the same for all, and so is the depth. */
    std::vector<double> weights;
    double weight = 0;
    int depth = 0;
    size_t next = 0;
    /** What was read ahead: of `next`, and of those that come right after it. Null where none was. */
    std::vector<std::shared_ptr<Slot>> ahead;
  };
  enum class State { kReading, kRead, kFailed };
  struct Slot {
    State state = State::kReading;
    /** Nobody waits for it any more. */
    bool isForgotten = false;
    Clock::time_point at;
    Place place;
    std::unique_ptr<Found> found;
    size_t bytes = 0;
    Frame below;
  };

  Place placeAt(const Frame& frame, size_t at) const;
  Frame frameOf(const Place& place, Found& found) const;
  bool isLong(const std::string& path) const;
  std::shared_ptr<Slot> want();
  Frame* wantIn(Frame& frame);
  bool makeRoom(size_t frame);
  bool isFull(size_t most) const;
  bool readWanted(std::unique_lock<std::mutex>& lock);
  void forget(const std::shared_ptr<Slot>& slot);
  void giveBack(std::unique_ptr<Found> found);
  std::unique_ptr<Found> spare();
  void run();

  std::string root_;
  /** Of the thread that goes down. */
  Place place_;
  bool isAt_ = false;
  std::unique_ptr<Found> found_;
  Frame below_;
  std::shared_ptr<Slot> taken_;

  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  /** Under the lock: the directories that lead to the one that comes next, and what was read ahead of it. */
  std::vector<Frame> frames_;
  std::vector<std::unique_ptr<Found>> spares_;
  size_t outstanding_ = 0;
  size_t bytes_ = 0;
  bool isReading_ = false;
  bool waits_ = false;
  /** Why it waits: else there was nothing to be read. */
  bool wasFull_ = false;
  Clock::time_point waitsSince_;
  bool ended_ = false;
};
