// The order of names, in which JavaScript compares those that `decodeName` in src/scan/names.ts made of them: by UTF-16 units, each byte
// that is no part of valid UTF-8 being the unit 0xDC00 + byte. A walk goes on after a name, so both must mean the same by "after".
#pragma once
#include <cstddef>

/** Whether names, the last of which ends in NUL as well, are all UTF-8. */
bool isText(const char* names, size_t bytes);

/** Below 0, 0, or above. */
int compareNames(const char* one, const char* other, bool areText);
