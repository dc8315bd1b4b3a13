// Shards in real threads as the router has them, in directories of their own, and what their tests ask of them.
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'
import { Beats } from '../../src/base/beats.js'
import { fromWire } from '../../src/base/errors.js'
import { Ledger } from '../../src/descriptors/ledger.js'
import { plan } from '../../src/descriptors/planner.js'
import type { Event } from '../../src/protocol/messages.js'
import type { OperationName } from '../../src/protocol/operations.js'
import { Events } from '../../src/shard/events.js'
import { placeOf } from '../../src/shard/place.js'
import { Router, type Askers } from '../../src/shard/router.js'
import { Tasks } from '../../src/shard/tasks.js'

export class Yard {
  readonly path = mkdtempSync(join(tmpdir(), 'sd-router-'))
  readonly libraries = join(this.path, 'libraries')
  readonly tree = join(this.path, 'tree')
  readonly ledger: Ledger
  readonly events = new Events()
  readonly seen: Event[] = []
  readonly logged: string[] = []
  readonly tasks: Tasks
  readonly router: Router
  #closed: Promise<void> | undefined

  constructor(shards: number, soft = 1_000, askers?: Askers) {
    mkdirSync(this.tree, { recursive: true })
    this.ledger = Ledger.create(plan({ soft, base: 0, connectionsMax: 'auto' }))
    this.events.subscribe({}, (event) => this.seen.push(event))
    this.tasks = new Tasks(this.ledger, 2, { native: true }, (message) => this.logged.push(message))
    this.router = new Router({
      shards,
      beats: Beats.create(4),
      ledger: this.ledger,
      tasks: this.tasks,
      events: this.events,
      libraries: this.libraries,
      deleted: join(this.path, 'deleted'),
      leftOut: [this.libraries],
      watch: () => {},
      askers,
      log: (_level, message) => this.logged.push(message),
    })
  }

  static async open(shards = 2, soft?: number, askers?: Askers): Promise<Yard> {
    const yard = new Yard(shards, soft, askers)
    await yard.router.open(() => {})
    return yard
  }

  call<T>(operation: OperationName, params: Record<string, unknown>): Promise<T> {
    return new Promise((resolve, reject) =>
      this.router.request({ operation, params }, (reply) =>
        reply.ok ? resolve(JSON.parse(reply.json) as T) : reject(fromWire(reply.error)),
      ),
    )
  }

  get restarts(): number {
    return this.router.counts().shards.reduce((sum, { restarts }) => sum + restarts, 0)
  }

  async create(name: string): Promise<string> {
    return (await this.call<{ id: string }>('libraries.create', { name })).id
  }

  /** Eight, and more while chance put all of them on one shard. */
  async createOnBoth(): Promise<string[]> {
    const ids = await Promise.all(Array.from({ length: 8 }, (_, at) => this.create(`Library ${at}`)))
    while (new Set(ids.map((id) => placeOf(id, 2))).size < 2) ids.push(await this.create(`Library ${ids.length}`))
    return ids
  }

  close(): Promise<void> {
    this.#closed ??= this.router.close(3_000).then(() => this.tasks.close())
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
    rmSync(this.path, { recursive: true, force: true })
  }
}

export async function until<T>(t: ExecutionContext, what: () => T | Promise<T>): Promise<T> {
  for (let waited = 0; waited < 60_000; waited += 20) {
    const got = await Promise.resolve(what()).catch(() => undefined)
    if (got) return got as T
    await sleep(20)
  }
  t.fail('it did not come to that')
  throw new Error('it did not come to that')
}

export function plant(yard: Yard, directories: number): number {
  for (let at = 0; at < directories; at++) {
    mkdirSync(join(yard.tree, `d${at}`))
    for (let file = 0; file < 20; file++) writeFileSync(join(yard.tree, `d${at}`, `f${file}`), '')
  }
  return directories * 21 + 1
}

/** Keeps so many reads in flight until it is stopped; says how many failed, and with what. */
export function flood(
  yard: Pick<Yard, 'call'>,
  library: string,
  path: string,
  count = 48,
): { stop(): Promise<string[]>; done: () => number } {
  const failures: string[] = []
  let runs = true
  let answered = 0
  const one = async () => {
    while (runs) {
      const asked = yard.call<{ items: unknown[] }>('files.list', { library, path, limit: 20 })
      await asked.then(
        () => (answered += 1),
        (error: { code: string }) => failures.push(error.code),
      )
      if (failures.length > 0) await sleep(5)
    }
  }
  const all = Promise.all(Array.from({ length: count }, one))
  return { stop: () => ((runs = false), all.then(() => failures)), done: () => answered }
}

export function openIn(path: string): number {
  const numbers = readdirSync('/proc/self/fd')
  return numbers.filter((each) => {
    try {
      return readlinkSync(`/proc/self/fd/${each}`).startsWith(path)
    } catch {
      return false
    }
  }).length
}
