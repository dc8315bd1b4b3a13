// What is done when something is short: looks four times a second at descriptors, memory, the main loop and what waits for shards,
// tells each change of a level, and asks whoever can for what would help. What may not begin meanwhile, `shard/pressed.ts` says.
import { LIMITS } from './base/limits.js'
import { Causes } from './descriptors/causes.js'
import { giveBackMemory, GivingBack } from './descriptors/memory.js'
import type { Ledger } from './descriptors/ledger.js'
import { askedAt, Pressure } from './descriptors/pressure.js'
import type { Sights } from './descriptors/sights.js'
import type { Front } from './front/front.js'
import type { Lookout } from './front/lookout.js'
import type { Fronts } from './fronts.js'
import { CAUSES, type PressureState, type Status } from './protocol/messages.js'
import type { Events } from './shard/events.js'
import type { Router } from './shard/router.js'
import type { Tasks } from './shard/tasks.js'

export interface ReliefSetup {
  readonly sights: Sights
  readonly ledger: Ledger
  readonly lookout: Lookout
  readonly events: Events
  readonly unaccounted: () => number
  /** Whoever there is by now. */
  readonly front: () => Front | undefined
  readonly fronts: () => Fronts | undefined
  readonly router: () => Router | undefined
  readonly tasks: () => Tasks | undefined
}

export class Relief {
  readonly #setup: ReliefSetup
  readonly #pressure: Pressure
  readonly #causes: Causes
  readonly #givingBack = new GivingBack()
  #leaving = { count: 0, at: -Infinity }
  #timer: NodeJS.Timeout | undefined

  constructor(setup: ReliefSetup) {
    this.#setup = setup
    const { ledger, lookout, sights } = setup
    this.#pressure = new Pressure(ledger, sights.machine)
    this.#causes = new Causes(ledger, {
      memory: () => sights.memory.read(),
      heaps: () => [...(setup.router()?.heaps() ?? []), ...(setup.fronts()?.heaps() ?? [])],
      lateMs: () => Math.max(lookout.takeLeastMs(), setup.fronts()?.lateMs ?? 0),
      waitedMs: () => setup.router()?.waitedMs ?? 0,
      isCrowded: () => setup.router()?.isCrowded ?? false,
    })
  }

  begin(): void {
    this.checkDescriptors()
    this.#timer = setInterval(() => this.#look(), LIMITS.pressureCheckMs).unref()
  }

  get descriptors(): PressureState {
    return this.#pressure.state
  }

  get causes(): Status['pressure'] {
    const { ledger } = this.#setup
    const { states } = this.#causes
    const told = CAUSES.map((cause) => [cause, { ...states[cause], refused: ledger.refusedForSoFar(cause) }])
    return Object.fromEntries(told) as Status['pressure']
  }

  checkDescriptors(): void {
    const { ledger, lookout, events } = this.#setup
    const change = this.#pressure.check()
    if (change) {
      const { level, before, pressure, reason } = change
      lookout.levelChanged('descriptor', change)
      const front = this.#setup.front()
      if (front) front.level = level
      events.publish({ type: 'descriptors.level', at: new Date().toISOString(), level, before, pressure, reason })
    }
    this.#giveWay(ledger)
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    this.checkDescriptors()
    const { lookout, events, router } = this.#setup
    for (const change of this.#causes.check()) {
      lookout.levelChanged(change.cause, change)
      events.publish({ type: 'pressure.level', at: new Date().toISOString(), ...change })
    }
    if (!this.#givingBack.isDue(this.#causes.level('memory'))) return
    router()?.forgetKept()
    giveBackMemory()
  }

  /** Idle clients, then idle readers and libraries (the shards look for themselves), then threads kept for a next walk. */
  #giveWay(ledger: Ledger): void {
    const front = this.#setup.front()
    const { current = 0, idle = current } = front?.connections() ?? {}
    const { level, pressure } = ledger
    const { worst } = this.#pressure
    const asked = askedAt({ level, pressure, worst }, ledger.totals().budget, idle)
    const leaving = this.#stillLeaving()
    const count = Math.max(0, (asked?.clients ?? 0) - leaving)
    const closed = asked ? (front?.giveWay({ count, idleMs: asked.clientIdleMs }) ?? 0) : 0
    if (closed > 0) this.#leaving = { count: leaving + closed, at: performance.now() }
    ledger.askBack(Math.max(0, (asked?.descriptors ?? 0) - leaving - closed))
    if (level === 'high' || level === 'critical') this.#setup.tasks()?.giveWay()
  }

  /** Clients that were closed and whose descriptors the kernel keeps until their peers close as well: nobody else has to go for them. */
  #stillLeaving(): number {
    const { count, at } = this.#leaving
    return performance.now() - at < LIMITS.leavingMs ? Math.min(count, this.#setup.unaccounted()) : 0
  }
}
