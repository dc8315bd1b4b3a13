// What lies in one directory, as it was read.
#pragma once
#include "addon.h"

#include <string>
#include <vector>

// Kinds and their flags are read by src/scan, see `Native` in src/descriptors/native.ts.
constexpr uint8_t kFile = 0, kDirectory = 1, kSymlink = 2, kOther = 3;
constexpr uint8_t kKindMask = 0x3f, kUnreadable = 0x40, kOtherDevice = 0x80;

struct Children {
  std::string names;
  std::vector<uint8_t> kinds;
  std::vector<double> sizes;
  std::vector<double> mtimes;
  std::vector<uint64_t> inodes;

  void clear() {
    names.clear();
    kinds.clear();
    sizes.clear();
    mtimes.clear();
    inodes.clear();
  }
};

struct Listing {
  Children children;
  uint64_t device = 0;
  uint64_t inode = 0;
};

/**
 * 0, or the errno of the call that is named then. Holds one descriptor meanwhile; any thread may. In steps a path may be longer than
 * the system takes one, and for a moment two descriptors are held.
 */
int readListing(const std::string& path, Listing& listing, const char*& syscall, bool inSteps = false);

/** The first argument. @throws ENOENT or EINVAL where it cannot be a path */
std::string pathOf(const Napi::CallbackInfo& call);

Napi::Object toColumns(Napi::Env env, const Children& children, uint64_t device);

/** The same of a listing that is not needed any more: of a million children there are never two of it in memory. */
Napi::Object moveToColumns(Napi::Env env, Listing& listing);
