// What others may change without the kernel here hearing of it is read at intervals, and no watch is asked for.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { decodeNames } from '../../src/scan/names.js'
import { readDirectoryPlain } from '../../src/scan/read.js'
import { runsIn } from '../../src/scan/walk.js'
import { Watch, type Kernel } from '../../src/scan/watch.js'
import { WatchedTree } from '../../src/scan/watched-tree.js'

/** Gives out a number for each path, and hears of nothing. */
class DeafKernel implements Kernel {
  readonly asked: string[] = []

  add(path: Buffer): number {
    return this.asked.push(path.toString())
  }

  remove(): void {}

  read(): null {
    return null
  }
}

interface Ground {
  readonly root: string
  readonly kernel: DeafKernel
  readonly tree: WatchedTree
}

/** A tree of three directories on such a file system, as far as it is watched at first. */
function ground(fileSystem: number, act: (ground: Ground) => void): void {
  const limits = LIMITS as { watchPollMs: number; watchPollRest: number }
  const before = { ...limits }
  Object.assign(limits, { watchPollMs: 0, watchPollRest: 0 })
  const root = mkdtempSync(join(tmpdir(), 'sd-remote-'))
  try {
    mkdirSync(join(root, 'a', 'b'), { recursive: true })
    const kernel = new DeafKernel()
    const watch = new Watch(kernel)
    const setup = { watch, root, leftOut: [], read: readDirectoryPlain, fileSystem: () => fileSystem }
    const tree = new WatchedTree(setup)
    tree.work(Number.MAX_SAFE_INTEGER)
    tree.isUnsure = false
    act({ root, kernel, tree })
  } finally {
    Object.assign(limits, before)
    rmSync(root, { recursive: true })
  }
}

/** `DIRECTORY: NAMES` of what is told to have changed. */
function told(tree: WatchedTree): string[] {
  return [...tree.changes()].flatMap((batch) => {
    const all = decodeNames(batch.names)
    let at = 0
    return runsIn(batch)
      .filter(({ count }) => count > 0)
      .map(({ directory, count }) => `${directory}: ${all.slice(at, (at += count)).join()}`)
  })
}

for (const [type, name] of [
  [0x6969, 'NFS'],
  [0xff534d42, 'CIFS'],
  [-11317950, 'CIFS'],
  [0x65735546, 'FUSE'],
] as const) {
  test.serial(`a tree on ${name} (${type}) is polled, and what changes there is told`, (t) => {
    ground(type, ({ root, kernel, tree }) => {
      t.is(tree.remote, name)
      t.deepEqual(tree.coverage, { state: 'watched', live: 0, polled: 3 })
      t.deepEqual(kernel.asked, [])
      t.false(tree.isReady, 'nothing changed')
      writeFileSync(join(root, 'a', 'b', 'new'), 'text')
      tree.work(performance.now() + 10_000)
      t.true(tree.isReady)
      t.true(told(tree).includes('a/b: new'))
    })
  })
}

test.serial('a tree on a file system of this machine is watched', (t) => {
  ground(0xef53, ({ kernel, tree }) => {
    t.is(tree.remote, null)
    t.deepEqual(tree.coverage, { state: 'watched', live: 3, polled: 0 })
    t.is(kernel.asked.length, 3)
  })
})
