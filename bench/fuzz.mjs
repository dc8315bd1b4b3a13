// Show 5 of the protocol: bytes that nobody would send, to every way in: HTTP heads and bodies, JSON-RPC, WebSocket frames, MessagePack,
// cursors, queries, ranges, the line protocol. The daemon may not crash, hang, leak or answer INTERNAL.
// node bench/fuzz.mjs [TARGET …]: FUZZ_SECONDS for each (600), FUZZ_SEED, FUZZ_FRONT. What was wrong is kept in test/fuzz/corpus.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { Chance } from '../dist/test/harness/churn.js'
import { play } from '../dist/test/harness/scene.js'
import { madeUp, nameOf, prepare, stands, TARGETS } from '../dist/test/fuzz/targets.js'

const SECONDS = Number(process.env.FUZZ_SECONDS ?? 600)
const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000)
const CORPUS = resolve('test/fuzz/corpus')
const LOOK_EVERY = 500
/** Sent at a time; where most of an input's time is a wait for what does not come, more. */
const AT_ONCE = { http: 64, ws: 64, msgpack: 64 }
const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(TARGETS)

let failed = false
for (const name of names) await play((scene) => fuzz(scene, name))
process.exit(failed ? 1 : 0)

async function fuzz(scene, name) {
  const target = TARGETS[name]
  const ground = await prepare(scene, process.env.FUZZ_FRONT ?? 'auto')
  const { daemon } = ground
  const kept = corpus(name)
  const chance = new Chance(SEED)
  daemon.hangUp()
  const before = await daemon.descriptorsAtRest()
  const memory = [rss(daemon)]
  const until = performance.now() + SECONDS * 1_000
  let sent = 0
  let slowest = 0
  while (performance.now() < until) {
    const inputs = Array.from({ length: AT_ONCE[name] ?? 8 }, () => madeUp(target, chance, kept))
    await Promise.all(
      inputs.map(async (input) => {
        const at = performance.now()
        const wrong = await target.send(ground, input).catch((error) => String(error))
        slowest = Math.max(slowest, performance.now() - at)
        if (wrong !== null) keep(name, input, wrong)
      }),
    )
    sent += inputs.length
    if (sent % LOOK_EVERY < inputs.length)
      await stands(ground).catch((error) => keep(name, inputs.at(-1), String(error)))
    if (sent % (20 * LOOK_EVERY) < inputs.length) memory.push(rss(daemon))
  }
  await stands(ground)
  daemon.hangUp()
  const after = await daemon.descriptorsAtRest(before)
  // Fewer: threads that were kept for a next walk have gone.
  if (after.length > before.length) {
    failed = true
    console.log(`${name}: ${before.length} descriptors before, ${after.length} after`)
  }
  memory.push(rss(daemon))
  const told = memory.map((bytes) => `${Math.round(bytes / 2 ** 20)}`).join(' ')
  console.log(
    `${name}: ${sent} inputs in ${SECONDS} s, seed ${SEED}, slowest ${Math.round(slowest)} ms, memory ${told} MB`,
  )
}

function keep(name, input, wrong) {
  failed = true
  mkdirSync(join(CORPUS, name), { recursive: true })
  writeFileSync(join(CORPUS, name, nameOf(input)), input)
  console.log(`${name} ${nameOf(input)}: ${wrong}`)
}

function corpus(name) {
  try {
    return readdirSync(join(CORPUS, name)).map((file) => readFileSync(join(CORPUS, name, file)))
  } catch {
    return []
  }
}

function rss({ pid }) {
  return 4096 * Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1])
}
