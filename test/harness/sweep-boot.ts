// The sweep's first scenario, the boot: each N is a start of its own, on a data directory that outlives them all.
import assert from 'node:assert'
import { launch, parsed, TestDaemon, within, type Loose } from './daemon.js'
import { compileNth, Nth } from './nth.js'
import { closedUnseen } from './rest.js'
import type { Scene } from './scene.js'
import { difference, isLibuvs } from './sweep.js'

const LIBRARIES = 3
const BOOT_MS = 60_000
const SOFT = 1024
const UNMET_IN_A_ROW = 3
/** Under this limit the shell cannot even read the launcher. */
export const SHELL_FLOOR = 12

export type BootWay = 'limit' | 'single shot'

export interface BootRun {
  readonly n: number
  readonly met: boolean
  readonly call: string | null
  /** `served`, or how it ended. */
  readonly outcome: string
  readonly problems: readonly string[]
}

type Launched = ReturnType<typeof launch>

export class Boots {
  readonly #scene: Scene
  readonly #front: string
  /** By which each of them is started. */
  readonly #args: readonly string[]
  readonly #binary: string | null
  readonly #names = new Map<string, string>()
  #base: readonly string[] = []
  #native = false
  #serial = 0

  private constructor(scene: Scene, front: string, fronts: number, binary: string | null) {
    this.#scene = scene
    this.#front = front
    this.#args = ['--front', front, '--fronts', String(fronts)]
    this.#binary = binary
  }

  static async open(scene: Scene, front: string, way: BootWay, fronts = 1): Promise<Boots> {
    const compiled = way === 'single shot' ? compileNth(scene.directory) : null
    if (compiled && 'missing' in compiled) throw new Error(compiled.missing)
    const boots = new Boots(scene, front, fronts, compiled ? compiled.binary : null)
    await boots.#plant()
    return boots
  }

  async #plant(): Promise<void> {
    const daemon = await this.#scene.daemon({ limit: `${SOFT}:${SOFT}`, args: this.#args })
    const small = this.#scene.tree('small', 3)
    for (let at = 0; at < LIBRARIES; at++) {
      const { library } = await daemon.index(`library ${at}`, small)
      this.#names.set(library, `library ${at}`)
    }
    assert.equal((await daemon.stop()).code, 0)
    const plain = await this.#scene.daemon({ limit: `${SOFT}:${SOFT}`, args: this.#args })
    this.#base = await plain.descriptorsAtRest()
    this.#native = (await plain.status()).native
    assert.equal((await plain.stop()).code, 0)
  }

  /** One start after the other until one is not met by its fault any more, or those that are given. */
  async sweep(ns: Iterable<number>, told: (run: BootRun) => void = () => {}): Promise<BootRun[]> {
    const runs: BootRun[] = []
    let unmet = 0
    for (const n of ns) {
      const run = await this.run(n)
      runs.push(run)
      told(run)
      unmet = run.met ? 0 : unmet + 1
      if (unmet >= (this.#binary ? 1 : UNMET_IN_A_ROW)) break
    }
    return runs
  }

  /** With a limit: the hard limit too, for Node raises the soft one to it. */
  async run(n: number): Promise<BootRun> {
    const nth = this.#binary ? await Nth.open(this.#binary, this.#scene.directory, n) : null
    const limit = nth ? `${SOFT}:${SOFT}` : `${n}:${n}`
    const launched = launch(this.#scene.dataDir, { limit, args: this.#args, through: nth?.through ?? [] })
    const problems: string[] = []
    try {
      const ready = await this.#ready(launched)
      const fired = await nth?.fired()
      if (ready) await nth?.arm(0)
      const call = fired?.call ?? null
      const outcome = ready
        ? await this.#serves(launched, ready, call, problems)
        : await this.#refusal(launched, problems)
      // Up to the open of our first file Node alone decides, and no code of ours could say anything.
      const nodes = fired !== undefined && (fired.opened === 0 || n <= fired.opened) && outcome !== 'served'
      if (nodes) return { n, met: true, call, outcome: 'Node itself ended', problems: [] }
      return { n, met: nth ? call !== null : outcome !== 'served', call, outcome, problems }
    } finally {
      if (launched.child.exitCode === null) launched.child.kill('SIGKILL')
      await nth?.close()
    }
  }

  /** Null when it ended instead. */
  async #ready({ child, said, exited }: Launched): Promise<Loose> {
    const line = () => said.out.split('\n').find((each) => each.includes('"ready":true'))
    const ready = new Promise<Loose>((resolve) => child.stdout.on('data', () => line() && resolve(parsed(line()!))))
    return await within(BOOT_MS, 'it serves or has ended', Promise.race([ready, exited.then(() => null)]))
  }

  /** One sentence, a hint, an exit code that says whether to try again, and no stack. */
  async #refusal({ said, exited }: Launched, problems: string[]): Promise<string> {
    const { code, signal } = await exited
    const lines = said.err.split('\n').filter((line) => line !== '')
    const [error, hint] = lines.slice(-2)
    const refused = /^error ([A-Z_]+): /.exec(error ?? '') ?? /^error ([A-Z_]+): /.exec(hint ?? '')
    const stack = lines.some((line) => /^ {4}at |node:internal/.test(line))
    // A limit that is too low stays so until somebody raises it; one descriptor that was missing is there by now.
    const right = this.#binary ? 75 : 78
    if (!refused || stack || code !== right) problems.push(`${code ?? signal}: ${said.err.slice(0, 600)}`)
    return refused ? `refused: ${refused[1]}, exit ${code}` : `ended ${code ?? signal}`
  }

  async #serves(launched: Launched, ready: Loose, call: string | null, problems: string[]): Promise<string> {
    const daemon = new TestDaemon(this.#scene.dataDir, launched, ready)
    const begun = this.#binary ? this.#base : await daemon.descriptorsAtRest()
    const listed: Loose[] = await daemon.watch('libraries.list')
    if (listed.length !== LIBRARIES || listed.some(({ problem }) => problem))
      problems.push(`libraries: ${JSON.stringify(listed)}`)
    for (const library of this.#names.keys()) await this.#lookAt(daemon, library, problems)
    const { native, front } = await daemon.status()
    if (native !== this.#native) problems.push('serves without the addon')
    if (front !== this.#front) problems.push(`serves with the front ${front}`)
    const now = await daemon.descriptorsAtRest(begun)
    const changed = now.join() !== begun.join() && difference(begun, now)
    if (changed && !isLibuvs(call, changed)) problems.push(`descriptors: ${changed}`)
    daemon.hangUp()
    const { code } = await daemon.stop()
    if (code !== 0) problems.push(`stopped with ${code}`)
    return 'served'
  }

  async #lookAt(daemon: TestDaemon, library: string, problems: string[]): Promise<void> {
    const info = await daemon.watch('libraries.info', { library })
    if (info.name !== this.#names.get(library) || info.files !== 3) problems.push(`lost: ${JSON.stringify(info)}`)
    const name = `name ${(this.#serial += 1)}`
    await daemon.watch('libraries.rename', { library, name })
    this.#names.set(library, name)
    await closedUnseen(daemon, library)
  }
}

export interface BootTally {
  swept: number
  readonly outcomes: Map<string, number>
  readonly problems: string[]
}

export function tallyBoots(runs: readonly BootRun[]): BootTally {
  const sum: BootTally = { swept: 0, outcomes: new Map(), problems: [] }
  for (const { n, met, call, outcome, problems } of runs) {
    if (!met) continue
    sum.swept += 1
    sum.outcomes.set(outcome, (sum.outcomes.get(outcome) ?? 0) + 1)
    sum.problems.push(...problems.map((each) => `N = ${n}${call ? ` (${call})` : ''}: ${each}`))
  }
  return sum
}
