// The descriptors that are held so that they are there.
import test from 'ava'
import { closeSync, openSync } from 'node:fs'
import { Reserve } from '../../src/descriptors/reserve.js'
import { countOpen } from '../../src/descriptors/rlimit.js'
import { inProcess } from '../scan/ordinary.js'

test('a reserve really holds what it says, grows and shrinks, and gives all back', (t) => {
  closeSync(openSync('/dev/null', 'r'))
  countOpen()
  const before = countOpen()
  const reserve = new Reserve()
  for (const count of [4, 9, 2, 0, 6]) {
    reserve.fill(count)
    t.is(reserve.held.length, count)
    t.is(countOpen(), before + count)
  }
  reserve.close()
  t.is(countOpen(), before)
})

for (const native of ['', 'off']) {
  const env = { SPACEDRIVE_NATIVE: native }
  const how = native === 'off' ? 'without the addon' : 'with the addon'

  test(`${how}: a loan frees what it says for one use at a time, and its end takes it back`, (t) => {
    const told = inProcess<Record<string, unknown>>(
      [],
      `
      const { Reserve, lend } = await load('src/descriptors/reserve.js')
      const { countOpen } = await load('src/descriptors/rlimit.js')
      const { openSync, closeSync } = await import('node:fs')
      closeSync(openSync('/dev/null'))
      const before = countOpen()
      const reserve = new Reserve()
      reserve.fill(4)
      const first = lend('log')
      const second = lend('log')
      const other = lend('drain')
      const during = countOpen() - before
      const counts = [first.count, second.count, other.count]
      for (const loan of [first, first, second, other]) loan[Symbol.dispose]()
      const after = countOpen() - before
      const half = new Reserve()
      half.fill(2)
      const both = countOpen() - before
      half.close()
      const one = [countOpen() - before, reserve.count]
      reserve.close()
      return { counts, during, after, both, one, end: countOpen() - before }`,
      null,
      env,
    )
    t.deepEqual(told, { counts: [1, 0, 2], during: 1, after: 4, both: 6, one: [4, 4], end: 0 })
  })

  test(`${how}: what was taken while it was lent is missed, and is had back first once something is returned`, (t) => {
    const told = inProcess<Record<string, unknown>>(
      ['prlimit', '--nofile=64:64'],
      `
      const { Ledger } = await load('src/descriptors/ledger.js')
      const { plan } = await load('src/descriptors/planner.js')
      const { Reserve, lend } = await load('src/descriptors/reserve.js')
      const { openSync, closeSync } = await import('node:fs')
      const ledger = Ledger.create(plan({ soft: 64, base: 20, connectionsMax: 'auto' }))
      const reserve = new Reserve()
      reserve.fill(2)
      const leased = []
      const take = () => { for (;;) try { leased.push(openSync('/dev/null')) } catch { return } }
      const lease = ledger.tryAcquire('libraries', 1, { holder: 'test' })
      take()
      const loan = lend('drain')
      take() // whoever opens now has what was lent
      loan[Symbol.dispose]()
      ledger.reserveMissing = reserve.fill()
      const stolen = [reserve.missing, reserve.count, ledger.reserveMissing]
      closeSync(leased.pop())
      closeSync(leased.pop())
      lease.release()
      const back = [reserve.fill(), reserve.count, ledger.reserveMissing]
      for (const fd of leased) closeSync(fd)
      return { stolen, back }`,
      null,
      env,
    )
    t.deepEqual(told, { stolen: [2, 0, 2], back: [0, 2, 0] })
  })
}

test('threads lend from one reserve, and never more than there is', async (t) => {
  const { count, open } = inProcess<{ count: number; open: number }>(
    [],
    `
    const { Reserve } = await load('src/descriptors/reserve.js')
    const { countOpen } = await load('src/descriptors/rlimit.js')
    const { Worker } = await import('node:worker_threads')
    const reserve = new Reserve()
    reserve.fill(8)
    const script = (url) => \`
      import { parentPort } from 'node:worker_threads'
      const { lend } = await import('\${url}')
      for (let round = 0; round < 2000; round++) {
        const loan = lend(round % 2 ? 'drain' : 'checkpoint')
        if (loan.count > 2) throw new Error('too many')
        loan[Symbol.dispose]()
      }
      parentPort.postMessage('done')\`
    const workers = Array.from({ length: 4 }, () => new Worker(new URL('data:text/javascript,' + encodeURIComponent(script(argument)))))
    await Promise.all(workers.map((worker) => new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject))))
    await Promise.all(workers.map((worker) => worker.terminate()))
    return { count: reserve.count, open: reserve.held.length }`,
    new URL('../../src/descriptors/reserve.js', import.meta.url).href,
  )
  t.is(count, 8)
  t.is(open, 8)
})

test('at exhaustion it is as full as it can be, and full once descriptors are back', (t) => {
  const told = inProcess<{ short: number; full: number }>(
    ['prlimit', '--nofile=64:64'],
    `
    const { Reserve } = await load('src/descriptors/reserve.js')
    const { closeSync, openSync } = await import('node:fs')
    const taken = []
    try { for (;;) taken.push(openSync('/dev/null')) } catch {}
    for (const fd of taken.splice(0, 3)) closeSync(fd)
    const reserve = new Reserve()
    reserve.fill(10)
    const short = reserve.held.length
    for (const fd of taken) closeSync(fd)
    reserve.fill()
    return { short, full: reserve.held.length }`,
    null,
  )
  t.deepEqual(told, { short: 3, full: 10 })
})
