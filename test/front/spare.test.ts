// Memory that is kept at hand for answers.
import test from 'ava'
import net from 'node:net'
import { LIMITS } from '../../src/base/limits.js'
import { giveSpare, takeSpare } from '../../src/front/spare.js'
import type { Dispatch } from '../../src/protocol/messages.js'
import { kinds, rpcText, until, withStage } from './stage.js'

const uws = (await kinds()).filter((kind) => kind === 'uws')
const LIBRARY = '01a20942-1332-77fa-ab45-4a2e15942043'

test('what was given back is taken again, and many short ones leave room for a long one', (t) => {
  const short = Array.from({ length: 2 * (LIMITS.spareBytesMax >> 13) }, () => takeSpare(5_000))
  t.true(short.every(({ length }) => length === 8_192))
  for (const one of short) giveSpare(one.subarray(0, 5_000))
  t.is(takeSpare(8_192).buffer, short[(LIMITS.spareBytesMax >> 13) - 1]!.buffer)
  const long = takeSpare(140_000)
  giveSpare(long.subarray(0, 140_000))
  t.is(takeSpare(200_000).buffer, long.buffer)
  t.not(takeSpare(200_000).buffer, long.buffer)
})

for (const kind of uws)
  test(`${kind}: the memory of a long answer is used again once the kernel has all of it, and not before`, (t) => {
    let answered = 0
    const dispatch: Dispatch = ({ params }, answer) => {
      const { limit } = params as { limit: number }
      const json = JSON.stringify('1'.repeat(limit * 2_000))
      answer({ ok: true, json, bytes: Buffer.from(json) })
      answered += 1
    }
    return withStage(kind, { dispatch }, async ({ port }) => {
      const socket = net.connect(port, '127.0.0.1')
      socket.setEncoding('latin1').pause()
      const ask = async (length: number) => {
        const { buffer } = takeSpare(length)
        giveSpare(new Uint8Array(buffer))
        const [id, limit] = [answered + 1, length / 2_000]
        socket.write(rpcText(port, { jsonrpc: '2.0', id, method: 'tags.list', params: { library: LIBRARY, limit } }))
        await until(() => answered === id, 'it is answered')
        return () => {
          const taken = takeSpare(length)
          if (taken.buffer === buffer) giveSpare(taken)
          return taken.buffer === buffer
        }
      }
      const isShortBack = await ask(100_000)
      t.true(isShortBack())
      let isLongBack = await ask(1_900_000)
      while (isLongBack() && answered < 10) isLongBack = await ask(1_900_000)
      t.false(isLongBack(), 'the kernel has not all of it')
      t.true(answered > 2, 'but had all of another')
      let told = ''
      socket.on('data', (text: string) => (told += text)).resume()
      await until(() => told.length > 100_000 + (answered - 1) * 1_900_000, 'all is read')
      t.true(isLongBack())
      const lengths = [...told.matchAll(/"(1+)"/g)].map(([, ones]) => ones!.length)
      t.deepEqual(lengths, [100_000, ...new Array<number>(answered - 1).fill(1_900_000)])
      socket.destroy()
    })
  })
