// The watching thread's side: one inotify instance, or Node's own where there is no addon, the trees watched through it, and what is told of each, a batch at a time.
//
// Of each location one batch is under way at a time. What changes meanwhile is remembered by its tree, which has a bound.
import { Piscina } from 'piscina'
import type { MessagePort } from 'node:worker_threads'
import { errnoOf } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { openInotify, type Inotify } from '../descriptors/inotify.js'
import { openNodeWatch, type NodeWatch } from '../descriptors/node-watch.js'
import { loadNative } from '../descriptors/native.js'
import { isRoom } from '../descriptors/reserve.js'
import { tellLoop, tellWatches } from '../descriptors/threads.js'
import { encodeName } from '../scan/names.js'
import { readBelow, readDirectoryPlain } from '../scan/read.js'
import { Watch } from '../scan/watch.js'
import { WatchedTree, type Coverage } from '../scan/watched-tree.js'
import { Followed } from './followed.js'
import type { Covered, FromWatcher, TaskSetup, ToWatcher, WatchRequest } from './lines.js'

const { native, told } = Piscina.workerData as TaskSetup
tellLoop(told)
const addon = native ? loadNative() : null
const read = addon?.readDirectory ?? readDirectoryPlain

export function watchFor(port: MessagePort): Promise<void> {
  return new Promise((resolve) => {
    const watching = new Watching((message) => port.postMessage(message))
    const tick = setInterval(() => watching.tick(), LIMITS.watchTickMs)
    port.on('message', (message: ToWatcher) => watching.receive(message))
    port.on('close', () => {
      // The instance stays open: it is closed when this thread is gone, however it went.
      clearInterval(tick)
      resolve()
    })
  })
}

const NO_ROOM = 'no descriptor is free'

class Watching {
  readonly #send: (message: FromWatcher) => void
  readonly #watch = new Watch(null)
  readonly #followed = new Map<string, Followed>()
  #instance: Inotify | NodeWatch | null = null
  /** Why there is no instance. */
  #problem: string | null = null
  #openAt = 0
  #tellAt = 0
  #told = ''

  constructor(send: (message: FromWatcher) => void) {
    this.#send = send
  }

  receive({ watch, unwatch, answer }: ToWatcher): void {
    if (watch) this.#begin(watch)
    if (unwatch !== undefined) this.#stop(unwatch)
    if (answer) this.#followed.get(answer.key)?.answered(answer)
  }

  tick(): void {
    if (this.#instance === null) this.#open()
    this.#watch.listen()
    const until = performance.now() + LIMITS.watchSliceMs
    for (const followed of this.#followed.values()) followed.step(until)
    this.#tellCoverage()
  }

  #begin({ key, root, leftOut, rules }: WatchRequest): void {
    if (this.#instance === null) this.#open()
    const below = readBelow(encodeName(root), read)
    const tree = new WatchedTree({ watch: this.#watch, root, leftOut, rules, read: below })
    this.#followed.set(key, new Followed(key, tree, this.#send))
  }

  #stop(key: string): void {
    const followed = this.#followed.get(key)
    if (!followed) return
    this.#followed.delete(key)
    this.#watch.remove(followed.tree)
  }

  /** Tried again at intervals: what this user has too many of may become fewer. */
  #open(): void {
    if (performance.now() < this.#openAt) return
    this.#openAt = performance.now() + LIMITS.watchPollMs
    try {
      const instance = (this.#instance = addon ? openInotify(addon) : openNodeWatch())
      if (instance.fd >= 0) tellWatches(told, instance.fd)
      this.#watch.goLive(instance)
      this.#problem = null
    } catch (error) {
      // The system says the same of either: too many descriptors, too many instances.
      this.#problem = errnoOf(error) === 'EMFILE' && !isRoom() ? NO_ROOM : (errnoOf(error) ?? 'EIO')
    }
  }

  #tellCoverage(): void {
    if (performance.now() < this.#tellAt) return
    this.#tellAt = performance.now() + LIMITS.watchTellMs
    const coverage = [...this.#followed].map(([key, { tree }]) => covered(key, tree.coverage, this.#why(tree)))
    const text = JSON.stringify(coverage)
    if (text === this.#told) return
    this.#told = text
    this.#send({ coverage })
  }

  #why({ coverage: { state, polled }, remote }: WatchedTree): string | null {
    if (state === 'absent') return 'the directory is not there'
    if (polled === 0) return null
    if (remote !== null) return `others may change what is on ${remote}, and the kernel here does not hear of it`
    if (this.#instance === null) return whyNone(this.#problem)
    return state === 'starting' ? null : whySome(this.#watch.full)
  }
}

function covered(key: string, { state, live, polled }: Coverage, reason: string | null): Covered & { key: string } {
  return { key, state, live, polled, ...(reason === null ? {} : { reason }) }
}

/** Attributed by the call that failed: neither is a matter of descriptors, nor of space on a disk. */
function whyNone(errno: string | null): string {
  if (errno === 'EMFILE') return 'this user has as many inotify instances as max_user_instances allows'
  if (errno === 'ENOSYS') return 'there is no inotify here'
  return `no inotify instance can be had: ${errno}`
}

function whySome(errno: string | null): string {
  if (errno === 'ENOSPC') return 'this user has as many inotify watches as max_user_watches allows'
  if (errno === 'ENOMEM') return 'the kernel has no memory for more watches'
  return 'some directories may not be read'
}
