// A walk in another thread: what it finds arrives whole, in as few batches as others leave room for.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { loadNative } from '../../src/descriptors/native.js'
import { Balance } from '../../src/job/balance.js'
import { decodeNames, encodeName } from '../../src/scan/names.js'
import { readDirectoryPlain } from '../../src/scan/read.js'
import { runsIn, type Batch } from '../../src/scan/walk.js'
import { answerWalk, walkElsewhere } from '../../src/shard/walker.js'
import { batchesOf, newLedger, Stage } from '../library/stage.js'

const DIRECTORIES = 40
const FILES = 5

let restore = () => {}
test.afterEach.always(() => restore())

async function walked(root: string, asked: () => number): Promise<Batch[]> {
  const walk = walkElsewhere((port, options) => void answerWalk(port, options, 0, readDirectoryPlain), asked)
  const batches: Batch[] = []
  const options = { root: encodeName(root), leftOut: [] }
  for await (const batch of walk(options, new AbortController().signal, new Balance(newLedger(), 'test'))) {
    batches.push(structuredClone(batch))
    // Time for what comes next to arrive.
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
  }
  return batches
}

function namesIn(batches: readonly Batch[]): Map<string, string[]> {
  const found = new Map<string, string[]>()
  for (const batch of batches) {
    const all = decodeNames(batch.names)
    for (const { directory, count } of runsIn(batch))
      found.set(directory, [...(found.get(directory) ?? []), ...all.splice(0, count)])
  }
  for (const names of found.values()) names.sort()
  return found
}

test.serial(
  'batches that wait become one while nothing else is asked, and stay apart while something is',
  async (t) => {
    restore = batchesOf(6)
    using stage = new Stage()
    for (let at = 0; at < DIRECTORIES; at++) {
      mkdirSync(join(stage.tree, `d${at}`))
      for (let file = 0; file < FILES; file++) writeFileSync(join(stage.tree, `d${at}`, `f${file}`), '')
    }
    let count = 0
    const apart = await walked(stage.tree, () => ++count)
    const together = await walked(stage.tree, () => count)
    t.deepEqual(namesIn(together), namesIn(apart))
    t.is(namesIn(apart).size, DIRECTORIES + 1)
    t.true(together.length <= apart.length / 2, `${together.length} of ${apart.length}`)
    const largest = (batches: readonly Batch[]) => Math.max(...batches.map(({ kinds }) => kinds.length))
    t.true(largest(together) <= LIMITS.walkAheadBatchesMax * largest(apart))
  },
)

test.serial('what a batch takes is given back when the next one is asked for, joined or not', async (t) => {
  restore = batchesOf(6)
  using stage = new Stage()
  for (let at = 0; at < DIRECTORIES; at++) mkdirSync(join(stage.tree, `d${at}`, 'below'), { recursive: true })
  const native = loadNative()
  const descent = () => (native ? new native.Descent() : null)
  const walk = walkElsewhere(
    (port, options) => void answerWalk(port, options, 0, readDirectoryPlain, descent()),
    () => 0,
  )
  const options = { root: encodeName(stage.tree), leftOut: [] }
  const batches: Batch[] = []
  const lengths: number[] = []
  for await (const batch of walk(options, new AbortController().signal, new Balance(newLedger(), 'test'))) {
    t.true(batches.every(isEmpty))
    batches.push(batch)
    lengths.push(batch.names.length)
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
  }
  t.true(batches.every(isEmpty))
  t.true(batches.length > 1 && lengths.every((length) => length > 0))
})

function isEmpty({ names, kinds, sizes, mtimes, inodes, runs }: Batch): boolean {
  const ofRuns = runs.flatMap((run) => ('directories' in run ? Object.values(run.directories) : []))
  return [names, kinds, sizes, mtimes, inodes, ...ofRuns].every((each) => each.length === 0)
}
