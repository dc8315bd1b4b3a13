// Memory that nobody uses any more goes back to the system: V8 and malloc both keep it for what may come.
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { LIMITS } from '../base/limits.js'
import type { Level } from '../protocol/messages.js'
import { loadNative } from './native.js'

/** What V8 has of this thread, whose objects are all looked through in one go of 10 to 40 ms; and what malloc has of all. */
export function giveBackMemory(): void {
  lookThroughObjects()
  // An addon that was built before has none.
  loadNative()?.giveBackMemory?.()
}

/** What a thread's start left, as soon as it is over: some 5 MB, of the main thread 15. */
export function giveBackSoon(): void {
  setTimeout(giveBackMemory, LIMITS.afterStartMs).unref()
}

/** Of what this thread's objects may take, how much they do. */
export function heapShare(): number {
  const { used_heap_size: used, heap_size_limit: most } = getHeapStatistics()
  return used / most
}

/** Says of a thread when it is to give back what it could do without: as soon as memory is short, and now and then while it is. */
export class GivingBack {
  #at = -Infinity

  isDue(memory: Level): boolean {
    const now = performance.now()
    if (memory === 'normal' || now - this.#at < LIMITS.memoryGiveBackMs) return false
    this.#at = now
    return true
  }
}

/** Node offers it only by this flag, which holds for contexts that are made after it was set. */
function lookThroughObjects(): void {
  setFlagsFromString('--expose-gc')
  const look = runInNewContext('typeof gc === "function" ? gc : null') as (() => void) | null
  look?.()
}
