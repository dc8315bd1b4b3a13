// What is seen from outside when things go wrong: the figures at the last descriptor, and the records a killed daemon leaves.
import http from 'node:http'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { readFlight } from '../../src/descriptors/recorder.js'
import { METRICS_TYPE } from '../../src/front/metrics.js'
import { parseExposition } from '../front/exposition.js'
import { eventually, type TestDaemon } from '../harness/daemon.js'
import { play } from '../harness/scene.js'

const LIMIT = 200

function flightOf(daemon: TestDaemon) {
  return readFlight(join(daemon.dataDir, 'logs', 'flight.bin'))
}

test.serial('metrics are served when not one descriptor is free, and tell of it', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon({ limit: `${LIMIT}:${LIMIT}` })
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    const scrape = async () => {
      const page = await daemon.ask('/metrics', { agent })
      t.is(page.status, 200)
      t.is(page.headers['content-type'], METRICS_TYPE)
      return parseExposition(page.body)
    }
    const calm = await scrape()
    const rest = await daemon.descriptorsAtRest()
    daemon.limit(daemon.descriptorCount)
    for (let look = 0; look < 3; look += 1) {
      const page = await scrape()
      t.deepEqual([...page.keys()], [...calm.keys()], 'no figure is missing')
      // One of the reserve may be lent for a moment.
      await eventually('it tells what the kernel counts', 30_000, async () => {
        return (await scrape()).get('spacedrive_descriptors_open')!.samples[0]!.value === daemon.descriptorCount
      })
    }
    daemon.limit(LIMIT)
    t.deepEqual(await daemon.descriptorsAtRest(rest), rest)
    t.false(/EMFILE/.test(daemon.log))
    agent.destroy()
    t.is((await daemon.stop()).code, 0)
  })
})

test.serial('a daemon that was killed without a free descriptor leaves its last minutes', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon({ limit: `${LIMIT}:${LIMIT}` })
    const file = statSync(join(daemon.dataDir, 'logs', 'flight.bin'))
    daemon.limit(daemon.descriptorCount)
    const begun = await eventually('it is on record', 30_000, () => {
      const seen = flightOf(daemon)
      return seen.filter(({ kind }) => kind === 'sample').length > 2 && seen
    })
    await daemon.stop('SIGKILL')
    const entries = flightOf(daemon)
    t.is(entries[0]!.kind, 'start')
    t.deepEqual(entries.slice(0, begun.length), begun, 'what was on record stays, to the last second')
    t.is(entries.at(-1)!.pid, daemon.pid)
    t.false(
      entries.some(({ kind }) => kind === 'stop'),
      'it had no time to say so',
    )

    const next = await scene.daemon()
    t.is((await next.stop()).code, 0)
    const both = flightOf(next)
    t.deepEqual(
      both.slice(0, entries.length).map(({ sequence }) => sequence),
      entries.map(({ sequence }) => sequence),
      'the next run writes after them',
    )
    t.is(both.at(-1)!.kind, 'stop')
    t.is(statSync(join(daemon.dataDir, 'logs', 'flight.bin')).size, file.size)
  })
})

test.serial('refusals, errors and a change of the level are on record and in the log', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon({ limit: `${LIMIT}:${LIMIT}`, args: ['--statistics-ms', '1000'] })
    const { max } = (await daemon.status()).connections
    const agents = Array.from({ length: max + 5 }, () => new http.Agent({ keepAlive: true }))
    const asked = agents.map((agent) => daemon.call('core.ping', {}, { agent }).catch((error: Error) => error.message))
    const answers = await Promise.all(asked)
    t.true(answers.filter((answer) => answer === 'pong').length < agents.length)
    await eventually('the refusal and the level are on record', 30_000, () => {
      const kinds = new Set(flightOf(daemon).map(({ kind }) => kind))
      return kinds.has('refusal') && kinds.has('level')
    })
    const refusal = flightOf(daemon).find(({ kind }) => kind === 'refusal')!
    t.regex(refusal.text, /^clients \d+$/)
    await eventually('both are in the log', 30_000, () => {
      return (
        /"msg":"descriptor level is [a-z]+, was [a-z]+: .*; \d+ descriptors open/.test(daemon.log) &&
        /"statistics; \d/.test(daemon.log)
      )
    })
    for (const agent of agents) agent.destroy()
    t.is((await daemon.stop()).code, 0)
  })
})
