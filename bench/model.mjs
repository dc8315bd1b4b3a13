// Show 1 by rescan alone: an index equals its tree entry by entry (path, kind, size, mtime, inode), also after random changes.
// node bench/model.mjs [TREE ...]: each tree is copied (hard links kept) and changed there; the copies are removed.
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { Chance, disturb } from '../dist/test/harness/churn.js'
import { differences, disk, index, rescan, Stage } from '../dist/test/library/stage.js'

const CHANGES = Number(process.env.MODEL_CHANGES ?? 10_000)
const ROUNDS = 20
const trees = process.argv.slice(2)

for (const tree of trees.length > 0 ? trees : ['/usr/share/doc', 'node_modules']) {
  const stage = new Stage()
  try {
    rmSync(stage.tree, { recursive: true })
    execFileSync('cp', ['-a', tree, stage.tree])
    mkdirSync(join(stage.tree, 'churned'))
    const library = stage.open(stage.create())
    const location = await index(library, stage.tree)
    let wrong = differences(library, location, stage.tree)
    const chance = new Chance(1)
    for (let round = 0; round < ROUNDS && wrong.length === 0; round++) {
      for (let change = 0; change < CHANGES / ROUNDS; change++) disturb(join(stage.tree, 'churned'), chance)
      await rescan(library, location)
      wrong = differences(library, location, stage.tree)
    }
    const entries = disk(stage.tree).size
    console.log(
      `${basename(tree)}: ${entries} entries, ${CHANGES} changes in ${ROUNDS} rescans, ${wrong.length} differences`,
    )
    for (const each of wrong.slice(0, 10)) console.log(`  ${each}`)
    if (wrong.length > 0) process.exitCode = 1
  } finally {
    stage[Symbol.dispose]()
  }
}
