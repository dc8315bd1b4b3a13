// Show 1: an index equals its tree entry by entry (path, kind, size, mtime, inode), also after random changes, by rescans alone and
// by what a watcher tells alone.
// node bench/model.mjs [TREE ...]: each tree is copied (hard links kept) and changed there; the copies are removed. `odd:ENTRIES` is one
// that is made up, with everything odd.
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { openInotify } from '../dist/src/descriptors/inotify.js'
import { Chance, disturb } from '../dist/test/harness/churn.js'
import { addon, Pursuit } from '../dist/test/harness/pursuit.js'
import { differences, disk, index, rescan, Stage } from '../dist/test/library/stage.js'
import { makeOdd } from './oddities.mjs'

const CHANGES = Number(process.env.MODEL_CHANGES ?? 10_000)
const ROUNDS = Number(process.env.MODEL_ROUNDS ?? 20)
const trees = process.argv.slice(2)

for (const tree of trees.length > 0 ? trees : ['/usr/share/doc', 'node_modules']) {
  await tried(tree, 'rescans', async (stage) => {
    const library = stage.open(stage.create())
    const location = await index(library, stage.tree)
    return {
      settle: () => rescan(library, location),
      differences: () => differences(library, location, stage.tree),
      end: () => {},
    }
  })
  if (!addon) continue
  await tried(tree, 'looks of a watcher', async (stage) => {
    const inotify = openInotify(addon)
    const pursuit = await Pursuit.begin(stage, inotify, Infinity, [])
    return {
      during: () => pursuit.step(),
      settle: () => pursuit.catchUp(),
      differences: () => pursuit.differences(),
      scans: () => pursuit.scans,
      end: () => inotify.close(),
    }
  })
}

async function tried(tree, how, begin) {
  const stage = new Stage()
  let index
  try {
    rmSync(stage.tree, { recursive: true })
    if (tree.startsWith('odd:')) makeOdd(stage.tree, Number(tree.slice(4)))
    else execFileSync('cp', ['-a', tree, stage.tree])
    mkdirSync(join(stage.tree, 'churned'))
    index = await begin(stage)
    let wrong = index.differences()
    const chance = new Chance(1)
    let rounds = 0
    for (; rounds < ROUNDS && wrong.length === 0; rounds++) {
      for (let change = 0; change < CHANGES / ROUNDS; change++) {
        disturb(join(stage.tree, 'churned'), chance)
        if (chance.below(8) === 0) await index.during?.()
      }
      await index.settle()
      wrong = index.differences()
    }
    const entries = disk(stage.tree).size
    const scans = index.scans ? `, ${index.scans()} scans` : ''
    console.log(
      `${basename(tree)}: ${entries} entries, ${CHANGES} changes, ${rounds} times settled by ${how}${scans}: ${wrong.length} differences`,
    )
    for (const each of wrong.slice(0, 10)) console.log(`  ${each}`)
    if (wrong.length > 0) process.exitCode = 1
  } finally {
    index?.end()
    stage[Symbol.dispose]()
  }
}
