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
