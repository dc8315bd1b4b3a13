// What is kept of answers holds exactly as long as nothing was written, and takes no more than it may.
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import type { Reply } from '../../src/protocol/messages.js'
import { Kept, keyOf, newWritten, Written } from '../../src/shard/kept.js'

function both(): { kept: Kept; written: Written; ask: (library: string, key: string) => (json: string) => void } {
  const shared = newWritten()
  const kept = new Kept(shared)
  const ask = (library: string, key: string) => {
    kept.keeping(library, key, () => undefined)
    const answer = kept.keeping(library, key, () => undefined)
    return (json: string) => answer({ ok: true, json })
  }
  return { kept, written: new Written(shared), ask }
}

test('an answer is kept until the shard begins to write, and none that may be of before', (t) => {
  const { kept, written, ask } = both()
  ask('a', '1')('"old"')
  t.is(kept.find('a', '1'), '"old"')
  t.is(kept.find('a', '2'), undefined)
  t.is(kept.find('b', '1'), undefined)
  const askedBefore = ask('a', '1')
  written.begin('a')
  t.is(kept.find('a', '1'), undefined)
  const askedMeanwhile = ask('a', '1')
  written.end('a')
  t.is(kept.find('a', '1'), undefined)
  askedBefore('"old"')
  askedMeanwhile('"whichever"')
  t.is(kept.find('a', '1'), undefined)
  ask('a', '1')('"new"')
  t.is(kept.find('a', '1'), '"new"')
})

test('whoever asked for a change is not answered from before it; an error is not kept', (t) => {
  const { kept, ask } = both()
  ask('a', '1')('1')
  const told: Reply[] = []
  const changed = kept.changing('a', (reply) => told.push(reply))
  t.is(kept.find('a', '1'), undefined)
  changed({ ok: true, json: 'null' })
  t.is(kept.find('a', '1'), '1')
  t.is(told.length, 1)
  const error = { code: 'FILE_NOT_FOUND', message: '', hint: '', retryable: false } as const
  for (const _ of [1, 2]) kept.keeping('a', '2', (reply) => told.push(reply))({ ok: false, error })
  t.is(kept.find('a', '2'), undefined)
  t.is(told.length, 3)
})

test('what is asked once is not kept, nor what others asked very much in between', (t) => {
  const { kept } = both()
  const ask = (key: string) => kept.keeping('a', key, () => undefined)({ ok: true, json: key })
  for (let round = 0; round < 2; round++) for (let at = 0; at < 100_000; at++) ask(String(at))
  const count = Array.from({ length: 100_000 }, (_, at) => kept.find('a', String(at))).filter(Boolean).length
  t.true(count < 5_000, `${count}`)
  ask('again')
  ask('again')
  t.is(kept.find('a', 'again'), 'again')
})

test('it takes no more than it may, and begins anew when that is full', (t) => {
  const { kept, ask } = both()
  const long = JSON.stringify('x'.repeat(LIMITS.keptCharsMax / 10))
  let most = 0
  for (let at = 0; at < 100; at++) {
    ask(`library ${at % 3}`, String(at))(long)
    t.is(kept.find(`library ${at % 3}`, String(at)), long)
    const count = Array.from({ length: at + 1 }, (_, each) => kept.find(`library ${each % 3}`, String(each)))
    most = Math.max(most, count.filter((each) => each !== undefined).length)
  }
  t.true(most >= 5 && most < 10, `${most}`)
  ask('a', 'all')(`"${'x'.repeat(LIMITS.keptCharsMax)}"`)
  t.is(kept.find('a', 'all'), undefined)
  for (let at = 0; at <= 2 * LIMITS.keptLibrariesMax; at++) ask(`other ${at}`, '1')('1')
  const last = `other ${2 * LIMITS.keptLibrariesMax}`
  t.is(kept.find(last, '1'), '1')
  t.is(kept.find('other 0', '1'), undefined)
})

test('an id and a path are never taken for each other', (t) => {
  const key = (params: Record<string, unknown>) => keyOf({ operation: 'files.get', params })
  t.is(key({ library: 'a', id: '5' }), '5')
  t.is(key({ library: 'a', path: '/5' }), '/5')
  t.is(key({ library: 'a', path: '5' }), null)
  t.is(keyOf({ operation: 'files.list', params: { library: 'a', path: '/' } }), null)
})

test('all of it is given back when memory is short, and what comes then is kept again', (t) => {
  const { kept, ask } = both()
  ask('a', '1')('1')
  const late = ask('b', '1')
  kept.forget()
  t.is(kept.find('a', '1'), undefined)
  late('2')
  t.is(kept.find('b', '1'), '2')
  ask('a', '1')('3')
  t.is(kept.find('a', '1'), '3')
})
