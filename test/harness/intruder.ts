// Code of somebody else inside the daemon under test: takes every descriptor, samples memory, breaks, stands still, is slow at each
// turn, or collects garbage, as files in a directory tell.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Scene } from './scene.js'

/** What it can be told to do, again and again while the file is there; `fill` for a moment, and what it took it holds meanwhile. */
export type Trick = 'hog' | 'fill' | 'sample' | 'reject' | 'break' | 'collect' | 'stand' | 'hang' | 'lag'

export class Intruder {
  readonly #directory: string
  /** For the daemon that it is to be in. */
  readonly env: Readonly<Record<string, string>>

  constructor(scene: Scene) {
    this.#directory = scene.path('intruder')
    mkdirSync(this.#directory)
    const script = join(this.#directory, 'intruder.cjs')
    writeFileSync(script, `(${intrude.toString()})(${JSON.stringify(this.#directory)}, require)`)
    this.env = { NODE_OPTIONS: `--require ${script}` }
  }

  begin(trick: Trick): void {
    writeFileSync(join(this.#directory, trick), '')
  }

  end(trick: Trick): void {
    rmSync(join(this.#directory, trick))
    rmSync(join(this.#directory, `${trick}s`), { recursive: true, force: true })
  }

  /** Told to stand, or hang, it does: the main thread, or the first shard. */
  stands(trick: 'stand' | 'hang'): boolean {
    return existsSync(join(this.#directory, `${trick}s`))
  }

  /** Told to fill up, it has all there is, and takes no more from then on. */
  get isFull(): boolean {
    return existsSync(join(this.#directory, 'full'))
  }

  /** What all threads that are there keep on their heaps, garbage not counted: of the last time they were told to collect it. */
  takeHeapBytes(): number {
    const files = readdirSync(this.#directory).filter((name) => name.startsWith('heap.'))
    const sizes = files.map((name) => Number(readFileSync(join(this.#directory, name), 'utf8')))
    for (const name of files) rmSync(join(this.#directory, name))
    return sizes.reduce((sum, size) => sum + size, 0)
  }
}

/** Runs in the daemon, as text: knows nothing of this file. Looking for a file takes no descriptor. */
function intrude(directory: string, load: NodeJS.Require): void {
  const fs = load('node:fs') as typeof import('node:fs')
  const { isMainThread, threadId, workerData } = load('node:worker_threads') as typeof import('node:worker_threads')
  // A thread is not told the arguments of its process; only the daemon has threads.
  if (isMainThread && !process.argv.includes('start')) return
  const told = (trick: string) => fs.existsSync(`${directory}/${trick}`)
  const every = (act: () => void) => void setInterval(act, 20).unref()
  let collected = false
  const v8 = load('node:v8') as typeof import('node:v8')
  v8.setFlagsFromString('--expose-gc')
  const collect = (load('node:vm') as typeof import('node:vm')).runInNewContext('gc') as () => void
  // In each thread, once for each time it is told.
  every(() => {
    const wanted = told('collect')
    if (wanted && !collected) {
      collect()
      fs.writeFileSync(`${directory}/heap.${threadId}`, String(v8.getHeapStatistics().used_heap_size))
    }
    collected = wanted
  })
  // Its loop does not turn: of the main thread, or of all others.
  const still = new Int32Array(new SharedArrayBuffer(4))
  const isShard = Boolean((workerData as { ledger?: unknown } | null)?.ledger)
  const stand = (trick: string) => {
    if (!told(trick)) return
    // A file would take a descriptor.
    if (isMainThread || isShard) fs.mkdirSync(`${directory}/${trick}s`, { recursive: true })
    while (told(trick)) Atomics.wait(still, 0, 0, 10)
  }
  every(() => stand(isMainThread ? 'stand' : 'hang'))
  if (!isMainThread) return
  // It turns, but never in time.
  every(() => void (told('lag') && Atomics.wait(still, 0, 0, 700)))
  const held: number[] = []
  /** How often it has filled up: what closes in the first moment is taken as well. */
  let filled = 0
  every(() => {
    try {
      while (told('hog')) held.push(fs.openSync('/dev/null', 'r'))
      while (filled === 0 && held.length > 0) fs.closeSync(held.pop()!)
    } catch {
      // It has them all.
    }
  })
  every(() => {
    if (!told('fill')) {
      while (filled > 0 && held.length > 0) fs.closeSync(held.pop()!)
      if (filled > 10) fs.rmdirSync(`${directory}/full`)
      filled = 0
    } else if (filled === 10) {
      filled += 1
      // A file would take a descriptor.
      fs.mkdirSync(`${directory}/full`)
    } else if (filled < 10) {
      filled += 1
      try {
        for (;;) held.push(fs.openSync('/dev/null', 'r'))
      } catch {
        // It has them all.
      }
    }
  })
  every(() => void (told('sample') && process.memoryUsage()))
  every(() => void (told('reject') && Promise.resolve().then(() => process.memoryUsage())))
  every(() => {
    if (told('break')) throw new TypeError('a sampler that is broken')
  })
}
