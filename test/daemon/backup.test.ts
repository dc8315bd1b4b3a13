// Copies of a library made while it is used: whole, never over anything, and good to go on with.
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { basename, dirname, join } from 'node:path'
import Database from 'better-sqlite3'
import test from 'ava'
import { cli, eventually, type Refusal, type TestDaemon } from '../harness/daemon.js'
import { play, sameAsDisk, type Scene } from '../harness/scene.js'
import { wrongTotals } from '../harness/totals.js'

async function indexed(scene: Scene, files: number) {
  const root = scene.tree('tree', files)
  const daemon = await scene.daemon()
  const { id: library, path } = await daemon.call('libraries.create', { name: 'Kept' })
  const { job, location } = await daemon.call('locations.add', { library, path: root })
  await daemon.jobDone(library, job)
  return { daemon, library, path, root, location }
}

async function backUp(daemon: TestDaemon, library: string, to?: string): Promise<string> {
  const { job, path } = await daemon.call('libraries.backup', { library, ...(to === undefined ? {} : { to }) })
  await daemon.jobDone(library, job)
  return path
}

test('what another version wrote into library.json stays there, over a rename, in a copy, and in what is made of it', (t) =>
  play(async (scene) => {
    const daemon = await scene.daemon()
    const { id: library, path } = await daemon.call('libraries.create', { name: 'Kept' })
    const read = (folder: string) => JSON.parse(readFileSync(join(folder, 'library.json'), 'utf8'))
    const written = { ...read(path), colour: 'red', owners: [{ name: 'ada' }] }
    writeFileSync(join(path, 'library.json'), JSON.stringify(written))
    await daemon.call('libraries.rename', { library, name: 'Renamed' })
    t.deepEqual(read(path), { ...written, name: 'Renamed' })
    const to = await backUp(daemon, library)
    t.deepEqual(read(to), { ...written, name: 'Renamed' })
    const made = await daemon.call('libraries.create', { name: 'Made', from: to })
    t.deepEqual(read(made.path), { ...written, id: made.id, name: 'Made' })
    await daemon.stop()
  }))

test('a copy made while the library changes is whole, and put back it is that library', (t) =>
  play(async (scene) => {
    const { daemon, library, path, root, location } = await indexed(scene, 1_000)
    for (let at = 0; at < 500; at++) writeFileSync(join(root, 'd0', `new ${at}.txt`), 'x')
    const to = scene.path('copy.sdlibrary')
    const rescan = await daemon.call('locations.rescan', { library, location })
    t.is(await backUp(daemon, library, to), to)
    await daemon.jobDone(library, rescan.job)
    const made = await daemon.call('libraries.create', { name: 'Made of it', from: join(to, 'library.db') })
    const [of] = await daemon.call('locations.list', { library: made.id })
    t.not(of.id, location, 'both are here, with ids of their own')
    const isSame = () =>
      sameAsDisk(daemon, made.id, root).then(
        () => true,
        () => false,
      )
    await eventually('what it lacked since was found', 60_000, isSame)
    const sizes = async (id: string) => (await daemon.call('libraries.info', { library: id })).files
    t.is(await sizes(made.id), await sizes(library))
    for (const from of [path, join(path, 'library.db'), root, scene.path('nowhere'), 'copy.sdlibrary'])
      t.is(await daemon.codeOf('libraries.create', { name: 'x', from }), 'PATH_REFUSED', from)
    t.is((await daemon.call('libraries.list')).length, 2)
    await daemon.call('libraries.delete', { library: made.id, data: true })
    t.deepEqual(readdirSync(to).sort(), ['library.db', 'library.json'])
    const database = new Database(join(to, 'library.db'))
    t.is(database.pragma('integrity_check', { simple: true }), 'ok')
    t.deepEqual(wrongTotals(database), [])
    t.is(database.prepare(`SELECT state FROM job WHERE kind = 'backup'`).pluck().get(), 'done')
    database.close()
    await daemon.call('libraries.delete', { library, data: true })
    await daemon.stop()
    cpSync(to, join(dirname(path), 'Kept.sdlibrary'), { recursive: true })
    const again = await scene.daemon()
    const ids = (await again.call('libraries.list')).map(({ id }: { id: string }) => id)
    t.deepEqual(ids, [library])
    await again.callOnceLetIn('locations.list', { library })
    // Until those are over that the copy brought, and the one by which its watcher begins.
    const { job } = await eventually('it may be scanned', 60_000, () =>
      again.call('locations.rescan', { library, location }).catch((error: Refusal) => {
        if (error.code !== 'JOB_STATE') throw error
        return null
      }),
    )
    await again.jobDone(library, job)
    await sameAsDisk(again, library, root)
  }))

test('a backup goes nowhere where something is, nor among the libraries; without a place it finds its own', (t) =>
  play(async (scene) => {
    const { daemon, library, path } = await indexed(scene, 10)
    mkdirSync(scene.path('taken'))
    writeFileSync(scene.path('file'), 'kept')
    symlinkSync('nowhere', scene.path('dangling'))
    symlinkSync(dirname(path), scene.path('around'))
    const refused = [
      scene.path('taken'),
      scene.path('file'),
      scene.path('dangling'),
      scene.path('no such directory', 'copy'),
      scene.path('file', 'copy'),
      join(path, 'copy'),
      join(dirname(path), 'copy.sdlibrary'),
      scene.path('around', 'copy.sdlibrary'),
      join(scene.dataDir, 'config.json'),
      join(scene.dataDir, 'logs', 'copy'),
      'relative',
    ]
    for (const to of refused) t.is(await daemon.codeOf('libraries.backup', { library, to }), 'PATH_REFUSED', to)
    const own = await backUp(daemon, library)
    t.is(dirname(own), join(scene.dataDir, 'backups'))
    t.true(basename(own).startsWith('Kept 20'))
    t.true(existsSync(join(own, 'library.json')))
    t.not(await backUp(daemon, library), own)
    const named = join(scene.dataDir, 'backups', 'mine')
    t.is(await backUp(daemon, library, named), named)
    t.is((await daemon.call('jobs.list', { library })).items[0].descriptors.left, 0)
  }))

test('a big copy that nobody waits for to the end is no library, whoever goes away in the middle of it', (t) =>
  play(async (scene) => {
    const { daemon, library, path } = await indexed(scene, 10)
    const from = await backUp(daemon, library)
    // As long to copy as a big one, at no cost until then.
    truncateSync(join(from, 'library.db'), 2 ** 31)
    const half = () => readdirSync(dirname(path)).filter((name) => name.startsWith('.new-'))
    const isGone = () => half().length === 0
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'libraries.create', params: { name: 'Big', from } })
    const ask = ({ ready }: TestDaemon) => {
      const socket = connect(ready.socket)
      const head = ['POST /rpc HTTP/1.1', 'Host: localhost', 'Content-Type: application/json']
      socket.write([...head, `Content-Length: ${Buffer.byteLength(body)}`, '', body].join('\r\n'))
      socket.on('error', () => undefined)
      return socket
    }
    const begun = () => eventually('the copy is begun', 20_000, () => half().length === 1)
    const { body: told } = await daemon.ask('/rpc', { method: 'POST', body: body.replace('{', '{"timeoutMs":1,') })
    t.is(JSON.parse(told).error.data.code, 'TIMEOUT')
    await eventually('what timed out is gone', 20_000, isGone)
    const leaving = ask(daemon)
    await begun()
    leaving.destroy()
    await eventually('what its caller left is gone', 20_000, isGone)
    t.deepEqual(readdirSync(dirname(path)), [basename(path)])
    t.is((await daemon.call('libraries.list')).length, 1)
    await eventually('its descriptors came back', 20_000, async () => {
      const { used } = (await daemon.status()).descriptors.classes.libraries
      return used <= 4
    })
    ask(daemon)
    await begun()
    t.is((await daemon.stop()).code, 0)
    t.true(isGone(), 'a stop leaves nothing of it')
    const killed = await scene.daemon()
    ask(killed)
    await begun()
    await killed.stop('SIGKILL')
    const again = await scene.daemon()
    t.true(isGone(), 'the start after a kill throws away what there was of it')
    t.deepEqual(
      (await again.call('libraries.list')).map(({ id }: { id: string }) => id),
      [library],
    )
  }))

test('a library is checked and compacted by command', (t) =>
  play(async (scene) => {
    const { daemon, library, path } = await indexed(scene, 300)
    const args = ['--data-dir', scene.dataDir, 'library']
    t.regex(cli([...args, 'check']).out, /"Kept" is whole: 304 entries/)
    const compacted = JSON.parse(cli(['--json', ...args, 'compact']).out)
    t.true(compacted.bytesAfter <= compacted.bytesBefore)
    t.regex(cli([...args, 'backup', '--to', scene.path('by command')]).out, /copied "Kept", [\d.]+ KiB/)
    await daemon.call('libraries.close', { library })
    const database = new Database(join(path, 'library.db'))
    database.exec('UPDATE folder SET bytes = bytes + 1, files = files + 1 WHERE entry = 1')
    database.close()
    const { code, out } = cli([...args, 'check'])
    t.is(code, 1)
    t.regex(out, /"Kept" is damaged:\n {2}directory 1 is kept with 1 bytes, and has 0/)
  }))
