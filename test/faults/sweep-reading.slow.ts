// Reading files for what they hold: whichever descriptor of a run fails, once, no entry, tag or id is lost, and no file is blamed.
import http from 'node:http'
import { mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { FileItem } from '../../src/protocol/messages.js'
import { loadBlake3 } from '../../src/scan/blake3.js'
import { idOf, writtenId } from '../../src/scan/content-id.js'
import { eventually, Refusal, type Loose, type TestDaemon } from '../harness/daemon.js'
import { compileNth, Nth, whyNoNth } from '../harness/nth.js'
import { play, type Scene } from '../harness/scene.js'

const missing = whyNoNth()
const shot = missing ? test.serial.skip : test.serial
if (missing) console.log(`not run: single descriptors that fail: ${missing}`)

const FILES = ['one', 'two', 'deep/three', 'deep/four']
/** So many calls in a run and no more, or the sweep would not end. */
const CALLS_MAX = 300
const LET_IN_MS = 30_000

/** A tree of which every run changes what its files hold, by name and copies included. */
class Ground {
  readonly root: string
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  readonly #daemon: TestDaemon
  #blake3!: Awaited<ReturnType<typeof loadBlake3>>
  #library = ''
  #location = ''
  #ids = new Map<string, string>()

  private constructor(scene: Scene, daemon: TestDaemon) {
    this.#daemon = daemon
    this.root = scene.path('read')
  }

  static async open(scene: Scene, daemon: TestDaemon): Promise<Ground> {
    const ground = new Ground(scene, daemon)
    mkdirSync(join(ground.root, 'deep'), { recursive: true })
    ground.#blake3 = await loadBlake3()
    ground.write(0)
    const { id: library } = await ground.ask('libraries.create', { name: 'read' })
    const { location, job } = await ground.ask('locations.add', { library, path: ground.root, mode: 'deep' })
    ground.#library = library
    ground.#location = location
    await ground.#ended(job)
    await ground.ask('tags.create', { library, name: 'kept' })
    const paths = FILES.map((name) => join(ground.root, name))
    await ground.ask('tags.apply', { library, tag: 'kept', paths })
    for (const { path, id } of await ground.#items()) ground.#ids.set(path, id)
    return ground
  }

  close(): void {
    this.#agent.destroy()
  }

  /** The first two hold the same. */
  write(round: number): void {
    for (const [at, name] of FILES.entries()) {
      writeFileSync(join(this.root, name), this.#bytes(round, at))
      utimesSync(join(this.root, name), 1_000_000 + round, 1_000_000 + round)
    }
  }

  #bytes(round: number, at: number): Buffer {
    // A picture of that height, whose header is read as well.
    return Buffer.from(`GIF89a\x01\0${String.fromCharCode((round % 127) + 1)}\0 ${round} ${Math.max(1, at)}`)
  }

  /** From a library that is closed to the last hash. */
  async run(): Promise<void> {
    const library = this.#library
    const { job } = await this.ask('locations.rescan', { library, location: this.#location })
    await this.#ended(job)
    await eventually('all are read', LET_IN_MS, async () => (await this.#items()).every(({ contentId }) => contentId))
    const { items } = await this.ask('duplicates.list', { library })
    const contentIds = items.map(({ contentId }: Loose) => contentId)
    await this.#ended((await this.ask('duplicates.verify', { library, contentIds })).job)
    const paths = FILES.map((name) => join(this.root, name))
    await this.#ended((await this.ask('files.hash', { library, paths })).job)
  }

  /** What is wrong, in words. */
  async look(round: number): Promise<string[]> {
    const library = this.#library
    const wrong: string[] = []
    const items = await this.#items()
    if (items.length !== FILES.length) wrong.push(`${items.length} files`)
    for (const [at, name] of FILES.entries()) {
      const path = join(this.root, name)
      const item: FileItem = await this.ask('files.get', { library, path })
      const bytes = this.#bytes(round, at)
      const size = Buffer.alloc(8)
      size.writeBigUInt64LE(BigInt(bytes.length))
      const contentId = writtenId(idOf(this.#blake3.digest(Buffer.concat([size, bytes]))))
      const hash = Buffer.from(this.#blake3.digest(bytes)).toString('hex')
      if (item.contentId !== contentId) wrong.push(`${name} has the id ${item.contentId}`)
      if (item.media?.height !== (round % 127) + 1) wrong.push(`${name} has the height ${item.media?.height}`)
      if (item.hash !== hash) wrong.push(`${name} has the hash ${item.hash}`)
      if (item.id !== this.#ids.get(path)) wrong.push(`${name} is another entry`)
      if (item.tags?.join() !== 'kept') wrong.push(`${name} has the tags ${item.tags?.join()}`)
    }
    const { items: groups } = await this.ask('duplicates.list', { library })
    const told = groups.map(({ names, compared }: Loose) => `${names}: ${compared?.sets.join()} ${compared?.unread}`)
    if (told.join() !== '2: 2 0') wrong.push(`duplicates ${told.join()}`)
    const { items: jobs } = await this.ask('jobs.list', { library })
    for (const { kind, state, failureCount } of jobs as Loose[])
      if (state !== 'done' || failureCount > 0) wrong.push(`a job ${kind} is ${state} with ${failureCount} failures`)
    return wrong
  }

  /** Refusals that pass are asked again. */
  async ask(method: string, params: object): Promise<Loose> {
    const { answer } = await eventually(`${method} is answered`, LET_IN_MS, () =>
      this.#daemon.call(method, params, { agent: this.#agent }).then(
        (answer: Loose) => ({ answer }),
        (error: unknown) => {
          if (error instanceof Refusal && error.data.retryable) return null
          throw error
        },
      ),
    )
    return answer
  }

  async #items(): Promise<FileItem[]> {
    const filters = { kind: 'file' }
    return (await this.ask('search.files', { library: this.#library, query: '', filters })).items
  }

  async #ended(job: string): Promise<void> {
    await eventually('a job is through', LET_IN_MS, async () => {
      const { state } = await this.ask('jobs.info', { library: this.#library, job })
      return state !== 'queued' && state !== 'running'
    })
  }

  closed(): Promise<boolean> {
    return this.#daemon.call('libraries.close', { library: this.#library }, { agent: this.#agent }).then(
      () => true,
      () => false,
    )
  }
}

shot('every descriptor of a run that reads files may fail, and all are read', async (t) => {
  await play(async (scene) => {
    const compiled = compileNth(scene.directory)
    if ('missing' in compiled) return t.fail(compiled.missing)
    const nth = await Nth.open(compiled.binary, scene.directory)
    scene.atEnd(() => nth.close())
    const daemon = await scene.daemon({ limit: '1024:1024', through: nth.through })
    const ground = await Ground.open(scene, daemon)
    const calls: string[] = []
    const problems: string[] = []
    for (let n = 1; n <= CALLS_MAX; n++) {
      ground.write(n)
      await eventually('the library is closed', LET_IN_MS, () => ground.closed())
      await nth.arm(n)
      await ground.run()
      const { call } = await nth.fired()
      await nth.arm(0)
      problems.push(...(await ground.look(n)).map((each) => `N = ${n} (${call}): ${each}`))
      if (call === null) break
      calls.push(call)
      if (process.env.EACH) console.log(n, call, problems.length)
    }
    t.log(`${calls.length} calls failed, each in its turn`)
    t.deepEqual(problems, [])
    t.true(calls.length < CALLS_MAX, 'the sweep came to its end')
    t.true(
      FILES.every((name) => calls.some((call) => call.endsWith(join(ground.root, name)))),
      'each of the files was among what failed',
    )
    ground.close()
    t.is((await daemon.stop()).code, 0)
  })
})
