// The sub-protocol of MessagePack on a whole daemon, with either front: calls, events and refusals, as a client that has JSON gets them.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { WebSocket } from 'ws'
import { connect } from '../src/index.js'
import { pack, unpack } from '../src/protocol/msgpack.js'
import { kinds } from './front/stage.js'
import { eventually } from './harness/daemon.js'
import { play } from './harness/scene.js'

for (const front of await kinds()) {
  test.serial(`${front}: MessagePack carries what JSON does`, async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon({ env: { SPACEDRIVE_FRONT: front } })
      const { library, location } = await daemon.index('bücher', scene.tree('größe', 300))
      const token = readFileSync(join(scene.dataDir, 'token'), 'utf8').trim()

      const [json, packed] = await Promise.all([
        connect(daemon.ready.http, { token }),
        connect(daemon.ready.http, { token, format: 'msgpack' }),
      ])
      scene.atEnd(() => Promise.all([json.close(), packed.close()]))
      t.is(await packed.call('core.ping'), 'pong')
      t.deepEqual(await packed.call('libraries.list'), await json.call('libraries.list'))
      const query = { library, query: 'file', limit: 300 }
      t.deepEqual(await packed.call('search.files', query), await json.call('search.files', query))
      t.deepEqual(await packed.call('rpc.discover'), await json.call('rpc.discover'))
      const lacking = { library: '00000000-0000-7000-8000-000000000000' }
      const refusal = await t.throwsAsync(json.call('libraries.info', lacking), { code: 'LIBRARY_NOT_FOUND' })
      t.like(await t.throwsAsync(packed.call('libraries.info', lacking)), { ...refusal })

      const heard: unknown[] = []
      const same: unknown[] = []
      await json.subscribe({ types: ['library.created'] }, (event) => void heard.push(event))
      await packed.subscribe({ types: ['library.created'] }, (event) => void same.push(event))
      for (const name of ['one', 'zwölf', '三']) await packed.call('libraries.create', { name })
      await eventually('all events came', 60_000, () => heard.length === 3 && same.length === 3)
      t.deepEqual(same, heard)

      const ws = new WebSocket(`${daemon.ready.http.replace('http', 'ws')}/ws`, [
        'spacedrive.v1.msgpack',
        'spacedrive.v1',
        `bearer.${token}`,
      ])
      scene.atEnd(() => ws.terminate())
      await once(ws, 'open')
      t.is(ws.protocol, 'spacedrive.v1.msgpack')
      const ask = async (bytes: Uint8Array) => {
        ws.send(bytes)
        const [answer, isBinary] = (await once(ws, 'message')) as [Buffer, boolean]
        t.true(isBinary)
        return unpack(answer, 64)
      }
      const ping = (id?: number | string) => ({ jsonrpc: '2.0', id, method: 'core.ping' })
      t.deepEqual(await ask(pack([ping(1), ping(), ping('zwei')])), [
        { jsonrpc: '2.0', id: 1, result: 'pong' },
        { jsonrpc: '2.0', id: 'zwei', result: 'pong' },
      ])
      for (const bytes of ['c1', 'dfffffffff', '93', `${'91'.repeat(200)}c0`, '00 01', '81c0c0', 'c403010203', '']) {
        const { id, error } = (await ask(Uint8Array.from(Buffer.from(bytes.replace(' ', ''), 'hex')))) as Refusal
        t.is(id, null)
        t.is(error.code, -32700)
        t.regex(error.message, /^not MessagePack: /)
      }
      t.is(
        ((await ask(pack({ jsonrpc: '2.0', id: 1, method: 'files.list', params: { library: 1 } }))) as Refusal).error
          .code,
        -32602,
      )
      t.deepEqual(await ask(pack(ping(2))), { jsonrpc: '2.0', id: 2, result: 'pong' })
      ws.send('{}')
      const [code, reason] = (await once(ws, 'close')) as [number, Buffer]
      t.deepEqual([code, reason.toString()], [1003, 'messages are binary'])
      t.truthy(location)
    })
  })
}

interface Refusal {
  readonly id: unknown
  readonly error: { readonly code: number; readonly message: string }
}
