// The task threads: each a thread that lives while there is work and a little longer, under a lease for what a thread costs.
import { Piscina } from 'piscina'
import { performance, type EventLoopUtilization } from 'node:perf_hooks'
import type { MessagePort } from 'node:worker_threads'
import { setTimeout as sleep } from 'node:timers/promises'
import { availableParallelism } from 'node:os'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { LIMITS } from '../base/limits.js'
import { toWire } from '../base/errors.js'
import type { Lease, Ledger } from '../descriptors/ledger.js'
import { idleShare, jobMayBegin } from '../descriptors/pressure.js'
import { proveRoom } from '../descriptors/reserve.js'
import { newTold, type Told } from '../descriptors/threads.js'
import { decodeName, printable } from '../scan/names.js'
import type { TaskSetup, TaskWork } from './lines.js'

const ENTRY = fileURLToPath(new URL('../../workers/task.js', import.meta.url))
/** A walk often follows another; after this long without one the thread goes. */
const IDLE_MS = 3_000
const LEASE_WAIT_MS = 24 * 3600 * 1000

/** What the lease of a thread says of it: `path` is the tree it walks now. */
interface Walking {
  readonly holder: string
  readonly told: Told
  path?: string
}

interface Slot {
  readonly thread: Thread
  /** Until it could do something. */
  readonly loading: Promise<void>
  readonly lease: Lease
  /** For what it reads beside; like the other it is kept until a thread that is ended has really ended. */
  beside: Lease | null
  readonly walking: Walking
  idle: NodeJS.Timeout | undefined
  ending: Promise<void> | undefined
  /** Why the thread could not start. */
  failure: unknown
  /** Of what it does: not zero once nobody waits for it, and at how many looks in a row that was so. */
  over: Int32Array | null
  overLooks: number
}

/**
 * A pool of one thread, which is the last. piscina would start another for one that was lost, and again when it hears of the exit, also
 * after `destroy`; ended while it starts, such a thread leaves its loop behind, 3 to 5 descriptors (Node 20).
 *
 * @throws where the system lets no thread be started
 */
export class Thread extends Piscina {
  readonly #exit: Promise<void>
  #utilization: EventLoopUtilization | undefined

  constructor(filename: string, workerData: object) {
    super({
      filename,
      minThreads: 1,
      maxThreads: 1,
      idleTimeout: Infinity,
      maxQueue: 1,
      // The other modes block the thread's event loop while it waits for a task: timers and ports would stand still.
      atomics: 'disabled',
      // V8 would let much more gather in each thread before it looks for what is left of it.
      resourceLimits: { maxYoungGenerationSizeMb: LIMITS.threadYoungMb, maxOldGenerationSizeMb: LIMITS.threadOldMb },
      workerData,
    })
    const options: { minThreads: number } = this.options
    options.minThreads = 0
    const [thread] = this.threads
    this.#exit = new Promise((resolve) => thread!.once('exit', () => resolve()))
  }

  /**
   * piscina's `destroy` resolves at once where another has begun to end it, and after an error.
   *
   * @param over called when its descriptors are closed
   * @returns true then; false after a while, where it stands in a call to a file system that does not answer
   */
  async end(over: () => void): Promise<boolean> {
    void this.destroy()
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<boolean>((resolve) => (timer = setTimeout(resolve, LIMITS.threadEndMs, false)))
    const ended = this.#exit.then(over).then(() => true)
    return await Promise.race([ended, late]).finally(() => clearTimeout(timer))
  }

  /** The part of the time since this was asked last in which it was not idle: what it waited for a core counts too. */
  busy(): number {
    const before = this.#utilization
    this.#utilization = this.threads[0]?.performance.eventLoopUtilization()
    return this.#utilization ? performance.eventLoopUtilization(this.#utilization, before).utilization : 0
  }

  /** As a crash would. For tests and drills. */
  async crash(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread.terminate()))
  }
}

/** Where it reads, for the lease of its thread. */
function placeOf(work: TaskWork): string {
  return printable('walk' in work ? decodeName(Buffer.from(work.walk.root)) : dirname(work.identify.files.paths[0]!))
}

export class Tasks {
  readonly #ledger: Ledger
  readonly #most: number
  readonly #setup: Omit<TaskSetup, 'told'>
  readonly #log: (message: string) => void
  readonly #idle: Slot[] = []
  readonly #waiting: (() => void)[] = []
  readonly #slots = new Set<Slot>()
  /** Their threads still have their descriptors. */
  readonly #endings = new Set<Promise<void>>()
  #opening = 0
  /** Threads that were ended and stand in a call that does not come back. */
  readonly #stuck = new Set<Slot>()
  /** Set while anybody waits for a thread. */
  #looking: NodeJS.Timeout | undefined
  readonly #ended = new AbortController()

  constructor(ledger: Ledger, most: number, setup: Omit<TaskSetup, 'told'>, log: (message: string) => void) {
    this.#ledger = ledger
    this.#most = most
    this.#setup = setup
    this.#log = log
  }

  /** Waits in line for a thread; if none can be had the other end is told why, or takes the closed port for a lost thread. */
  run(port: MessagePort, work: TaskWork): void {
    // Who looks at one path does not wait until whole trees are walked.
    const isLook = 'walk' in work && work.walk.look !== undefined
    this.#take(this.#most + (isLook ? 1 : 0))
      .then(async (slot) => {
        try {
          slot.walking.path = placeOf(work)
          slot.over = new Int32Array('walk' in work ? work.walk.stop : work.identify.stop)
          const beside = (slot.beside = isLook ? null : this.#beside(slot, work))
          const lent = slot.lease.count + (beside?.count ?? 0)
          await slot.thread.run({ port, work, lent, reads: beside ? 2 : 1 }, { transferList: [port] })
          this.#giveBack(slot)
        } catch (error) {
          await this.#end(slot)
          if (!slot.over?.[0]) throw slot.failure ?? error
        }
      })
      .catch((error: unknown) => {
        const wire = toWire(error)
        // What stops for a drain goes on at the next start: nothing of it failed.
        if (!this.#ended.signal.aborted) this.#log(`a task could not be run: ${wire.message}`)
        if (wire.code === 'BUDGET_EXHAUSTED') port.postMessage({ error: wire })
        port.close()
      })
      .finally(() => this.#waiting.shift()?.())
  }

  async close(): Promise<void> {
    this.#ended.abort()
    clearInterval(this.#looking)
    for (const next of this.#waiting.splice(0)) next()
    const late = new AbortController()
    const tooLate = sleep(LIMITS.threadLoadMs, undefined, { signal: late.signal }).catch(() => undefined)
    // The file that a thread is just loading would stay open in a process that goes on.
    const loaded = ({ loading }: Slot) => Promise.race([loading.catch(() => undefined), tooLate])
    await Promise.all([...this.#slots].map((slot) => loaded(slot).then(() => this.#end(slot))))
    await Promise.all(this.#endings)
    late.abort()
  }

  /** Threads that only wait for a next walk end, and give back what they cost. */
  giveWay(): void {
    for (const slot of this.#idle.splice(0)) void this.#end(slot)
  }

  async #take(most: number): Promise<Slot> {
    while (!this.#ended.signal.aborted) {
      const slot = this.#idle.pop()
      if (slot) {
        clearTimeout(slot.idle)
        return slot
      }
      if (this.#slots.size + this.#opening < most) return await this.#open()
      this.#looking ??= setInterval(() => this.#replaceStuck(), LIMITS.threadEndMs).unref()
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    throw new Error('the task threads are closed')
  }

  /** Who does what nobody waits for any more, and goes on with it, stands in a call to a file system that does not answer. */
  #replaceStuck(): void {
    for (const slot of this.#slots) {
      slot.overLooks = slot.over?.[0] ? slot.overLooks + 1 : 0
      if (slot.overLooks < 2 || this.#stuck.size >= LIMITS.threadsStuckMax || this.#waiting.length === 0) continue
      void this.#end(slot)
      this.#waiting.shift()?.()
    }
    if (this.#waiting.length > 0) return
    clearInterval(this.#looking)
    this.#looking = undefined
  }

  async #open(): Promise<Slot> {
    this.#opening += 1
    try {
      // At the peak, which is its start; `#start` gives back what it then does not need.
      const { taskThread, threadStart } = this.#ledger.prices
      const price = taskThread + threadStart
      const walking: Walking = { holder: 'task thread', told: newTold() }
      await this.#untilPressureAllows(price)
      const lease = await this.#ledger.acquire('jobs', price, walking, LEASE_WAIT_MS, this.#ended.signal)
      if (this.#ended.signal.aborted) {
        lease.release()
        throw new Error('the task threads are closed')
      }
      return await this.#ready(this.#start(lease, walking))
    } finally {
      this.#opening -= 1
    }
  }

  #start(lease: Lease, walking: Walking): Slot {
    try {
      // libuv leaks a descriptor of a loop that it could not open whole (Node 20).
      proveRoom(lease.count)
      const thread = new Thread(ENTRY, { ...this.#setup, told: walking.told } satisfies TaskSetup)
      // A walk's port goes with the walk, and with a thread that cannot start, so that nothing could be told by it.
      const loading = thread.run(null) as Promise<void>
      const slot: Slot = {
        thread,
        loading,
        lease,
        beside: null,
        walking,
        idle: undefined,
        ending: undefined,
        failure: undefined,
        over: null,
        overLooks: 0,
      }
      // A thread that cannot start (no descriptor left) would end the process; ended, it refuses the walk instead.
      thread.on('error', (error: unknown) => {
        slot.failure ??= error
        void this.#end(slot)
      })
      this.#slots.add(slot)
      return slot
    } catch (error) {
      // The system lets no thread be started: Node says so at once of threads, and by an event of descriptors.
      lease.release()
      throw error
    }
  }

  async #ready(slot: Slot): Promise<Slot> {
    try {
      await slot.loading
      if (this.#ended.signal.aborted) throw new Error('the task threads are closed')
      this.#started(slot)
      return slot
    } catch (error) {
      await this.#end(slot)
      throw slot.failure ?? error
    }
  }

  /** From now on it holds a loop, and one directory at a time. */
  #started({ lease }: Slot): void {
    const { taskThread, directory } = this.#ledger.prices
    if (lease.count > taskThread + directory) lease.shrink(taskThread + directory)
  }

  /**
   * For a second directory that is read at the same time, or one on the way to files far down; it does without where there is no
   * room, or for a walk no core.
   */
  #beside({ walking }: Slot, work: TaskWork): Lease | null {
    if ('walk' in work ? availableParallelism() < 2 || this.#ledger.level !== 'normal' : !work.identify.far) return null
    return this.#ledger.tryAcquire('jobs', this.#ledger.prices.directory, walking, true)
  }

  async #untilPressureAllows(price: number): Promise<void> {
    const begun = performance.now()
    while (!this.#ended.signal.aborted && !this.#mayBuy(price, performance.now() - begun)) {
      await sleep(LIMITS.pressureCheckMs)
    }
  }

  #mayBuy(price: number, waitedMs: number): boolean {
    if (!jobMayBegin(this.#ledger.level, waitedMs)) return false
    const { used, floor } = this.#ledger.use('jobs')
    return this.#ledger.level !== 'high' || used + price <= floor
  }

  #giveBack(slot: Slot): void {
    delete slot.walking.path
    slot.over = null
    slot.beside?.release()
    slot.beside = null
    if (this.#ended.signal.aborted) return void this.#end(slot)
    slot.idle = setTimeout(() => void this.#end(slot), IDLE_MS * idleShare(this.#ledger.pressure))
    slot.idle.unref()
    this.#idle.push(slot)
  }

  /** Who ends it again waits for the same end. */
  #end(slot: Slot): Promise<void> {
    if (!slot.ending) {
      const ending = (slot.ending = this.#destroy(slot).finally(() => this.#endings.delete(ending)))
      this.#endings.add(ending)
    }
    return slot.ending
  }

  async #destroy(slot: Slot): Promise<void> {
    clearTimeout(slot.idle)
    this.#slots.delete(slot)
    // One that died while it was idle is not to be handed out.
    const at = this.#idle.indexOf(slot)
    if (at >= 0) this.#idle.splice(at, 1)
    const over = () => {
      this.#stuck.delete(slot)
      slot.lease.release()
      slot.beside?.release()
    }
    if (await slot.thread.end(over)) return
    this.#stuck.add(slot)
    this.#log(`a task thread does not end: it waits for the file system of ${slot.walking.path ?? 'what it read last'}`)
  }
}
