// What the event loop of each thread holds, told by the thread itself in shared memory: a busy thread need not be asked, and
// of a dead one nothing is believed.
import { loadNative } from './native.js'

/** Numbers are kept plus one: 0 says nothing, and neither does a thread that has yet to start. */
const WORDS = 8

/** What each number of a loop is for, in the order of `loopDescriptors`. */
const PURPOSES = ['events', 'wake-up', 'wake-up', 'signals', 'signals', 'spare for accept', 'watches'] as const

export type Told = Int32Array

export function newTold(): Told {
  return new Int32Array(new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT))
}

/** Called by the thread itself, first thing; without the addon nobody can tell, and they are counted instead. */
export function tellLoop(told: Told): void {
  loadNative()
    ?.loopDescriptors()
    .forEach((fd, at) => Atomics.store(told, at, fd + 1))
}

/** The one descriptor a thread has for watching directories, told by the thread. */
export function tellWatches(told: Told, fd: number): void {
  Atomics.store(told, PURPOSES.indexOf('watches'), fd + 1)
}

/** The same as it was told last; −1 where there is none. */
export function toldWatches(told: Told): number {
  return Atomics.load(told, PURPOSES.indexOf('watches')) - 1
}

/** Descriptors by number, with what they are for. */
export function readTold(told: Told): Map<number, string> {
  return purposes(Array.from(told, (_, at) => Atomics.load(told, at) - 1))
}

/** The same of the calling thread, as it is now. */
export function ownLoop(): Map<number, string> {
  return purposes([...(loadNative()?.loopDescriptors() ?? [])])
}

function purposes(numbers: readonly number[]): Map<number, string> {
  return new Map(numbers.flatMap((fd, at) => (fd >= 0 && PURPOSES[at] ? [[fd, PURPOSES[at]] as const] : [])))
}
