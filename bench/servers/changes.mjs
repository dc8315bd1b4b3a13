// Changes files below a tree at a steady rate, in turn made, renamed and written, and says of some of them when; or makes many at once.
import { mkdirSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const { tree, files: planted, directories, seconds, rate, burst } = JSON.parse(process.argv[2])
/** As they were planted. */
const files = Array.from({ length: planted ?? 0 }, (_, at) => join(tree, `d${at % directories}`, `file ${at}`))
const TICK_MS = 5
/** Of what changes in this time one is told. */
const TOLD_MS = 25

if (burst) makeAtOnce(burst)
else await changeSteadily()

async function changeSteadily() {
  const begun = performance.now()
  let made = 0
  let toldAt = begun
  while (performance.now() - begun < 1_000 * seconds) {
    const due = Math.floor(((performance.now() - begun) * rate) / 1_000)
    let last
    for (; made < due; made++) last = change(made)
    if (last && performance.now() - toldAt > TOLD_MS) {
      toldAt = performance.now()
      process.send({ ...last, at: String(process.hrtime.bigint()) })
    }
    await sleep(TICK_MS)
  }
  process.send({ made, files: files.length }, () => process.disconnect())
}

/** Returns what is to be seen of it. */
function change(number) {
  const at = (number * 7_919) % files.length
  if (number % 3 === 0) {
    const target = join(tree, `d${(number * 31) % directories}`, `renamed ${number}`)
    renameSync(files[at], target)
    files[at] = target
    return { path: target, size: statSync(target).size }
  }
  if (number % 3 === 1) {
    const fresh = join(tree, `d${number % directories}`, `made ${number}`)
    writeFileSync(fresh, '')
    files.push(fresh)
    return { path: fresh, size: 0 }
  }
  const size = 1 + (number % 1_000)
  writeFileSync(files[at], 'x'.repeat(size))
  return { path: files[at], size }
}

function makeAtOnce(count) {
  for (let at = 0; at < count; at++) {
    const directory = join(tree, `burst ${at - (at % 1_000)}`)
    if (at % 1_000 === 0) mkdirSync(directory)
    writeFileSync(join(directory, `file ${at}`), 'text')
  }
}
