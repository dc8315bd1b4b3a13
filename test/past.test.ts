// Who was told of all up to some event is told of what came after it, over any restart that was in order; or that this cannot be known.
import { spawn } from 'node:child_process'
import { copyFileSync, existsSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { connect } from '../src/index.js'
import type { Event } from '../src/protocol/messages.js'
import { eventually, LAUNCHER, type TestDaemon } from './harness/daemon.js'
import { play } from './harness/scene.js'

const TYPES = ['library.created', 'library.renamed', 'library.closed'] as const

/** What a client is told that comes with this cursor, up to the event that it makes itself. */
async function toldAfter(cursor: string, daemon: TestDaemon) {
  const client = await connect(daemon.ready.http, { token: daemon.token })
  const told: { event: Event; missed: number; cursor: string }[] = []
  await client.subscribe({ types: [...TYPES], cursor }, (event, missed, at) => told.push({ event, missed, cursor: at }))
  const name = `last ${daemon.pid} ${Math.random()}`
  await client.call('libraries.create', { name })
  await eventually('all were told', 60_000, () => told.at(-1)?.event['name'] === name)
  await client.close()
  return { what: told.map(({ event }) => event.type), missed: told[0]!.missed, cursor: told.at(-1)!.cursor }
}

for (const args of [[], ['--fronts', '2']]) {
  test.serial(`nothing is missed over a restart: ${args.join(' ') || 'one front'}`, async (t) => {
    await play(async (scene) => {
      const file = join(scene.dataDir, 'events.json')
      let daemon = await scene.daemon({ args })
      const live: string[] = []
      const client = await connect(daemon.ready.http, { token: daemon.token, patienceMs: 120_000 })
      scene.atEnd(() => client.close())
      await client.subscribe({ types: [...TYPES] }, ({ type }, missed) => live.push(missed === 0 ? type : `${missed}`))
      const { cursor: first } = await toldAfter('none.1', daemon)
      const all = ['library.created']
      let cursor = first
      for (let restart = 0; restart < 2; restart++) {
        const [{ id: library }] = await daemon.call('libraries.list')
        await client.call('libraries.rename', { library, name: `name ${restart}` })
        await daemon.stop()
        t.is(statSync(file).mode & 0o777, 0o600)
        daemon = await scene.daemon({ args })
        t.false(existsSync(file))
        const after = await toldAfter(cursor, daemon)
        t.is(after.what[0], 'library.renamed')
        t.true(after.what.includes('library.closed'))
        t.is(after.missed, 0)
        all.push(...after.what)
        cursor = after.cursor
      }
      await eventually('the client heard all', 60_000, () => live.length >= all.length)
      t.deepEqual(live, all)
      t.is((await toldAfter(first, daemon)).missed, 0)
    })
  })
}

test.serial('`events -f` goes on over a restart, and prints what happened meanwhile', async (t) => {
  await play(async (scene) => {
    let daemon = await scene.daemon()
    const child = spawn(LAUNCHER, ['events', '-f', '--json', '--type', 'library.created', '--data-dir', scene.dataDir])
    scene.atEnd(() => void child.kill('SIGKILL'))
    let out = ''
    let err = ''
    child.stdout.on('data', (bytes) => (out += bytes))
    child.stderr.on('data', (bytes) => (err += bytes))
    const named = () =>
      out
        .split('\n')
        .filter(Boolean)
        .map((line) => (JSON.parse(line) as { name: string }).name)
    await eventually('it listens', 60_000, async () => (await daemon.call('core.status')).events.subscriptions === 1)
    await daemon.call('libraries.create', { name: 'before' })
    await eventually('it was told', 60_000, () => named().length === 1)
    await daemon.stop()
    daemon = await scene.daemon()
    await daemon.call('libraries.create', { name: 'after' })
    await eventually('it was told again', 60_000, () => named().length === 2)
    t.deepEqual(named(), ['before', 'after'])
    t.regex(err, /^the daemon went away: .+\nit is back\n$/)
  })
})

test.serial('what a crash, a copy or a stranger left is not believed', async (t) => {
  await play(async (scene) => {
    const file = join(scene.dataDir, 'events.json')
    const copy = scene.path('copy')
    let daemon = await scene.daemon()
    const again = async (signal?: NodeJS.Signals) => {
      await daemon.stop(signal)
      return (daemon = await scene.daemon())
    }
    const { cursor: first } = await toldAfter('none.1', daemon)
    t.is((await toldAfter(first, await again('SIGKILL'))).missed, Infinity)
    const { cursor: second } = await toldAfter('none.1', daemon)
    await daemon.stop()
    copyFileSync(file, copy)
    daemon = await scene.daemon()
    const { cursor: third } = await toldAfter(second, daemon)
    await daemon.stop()
    copyFileSync(copy, file)
    daemon = await scene.daemon()
    t.is((await toldAfter(second, daemon)).missed, 0)
    t.is((await toldAfter(third, daemon)).missed, Infinity)
    const broken = [
      '',
      '{',
      '{"runs":[{"run":"a","last":1}],"events":[{}]}',
      '{"runs":[{"run":"a","last":0}],"events":[{"type":"a","at":""}]}',
    ]
    for (const text of broken) {
      const { cursor } = await toldAfter('none.1', daemon)
      await daemon.stop()
      writeFileSync(file, text)
      daemon = await scene.daemon()
      t.is((await toldAfter(cursor, daemon)).missed, Infinity, text)
    }
  })
})
