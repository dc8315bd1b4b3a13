// The end of a daemon's process. Node waits for every thread, also for one that stands in a call to a file system that does not answer.
import { LIMITS } from '../base/limits.js'
import { loadNative } from '../descriptors/native.js'

/** Whatever comes, where the addon is there. All that is to be kept is on the disk. */
export function leaveSoon(code: number): void {
  // An addon that was built before has none.
  loadNative()?.exitWithin?.(LIMITS.exitMs, code)
}

export function leave(code: number): never {
  leaveSoon(code)
  process.exit(code)
}
