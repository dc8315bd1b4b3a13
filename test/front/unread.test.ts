// What is unread by all clients together: bounded, and the longest unread goes first.
import test from 'ava'
import { Unread, type Reader } from '../../src/front/unread.js'

const PART = 1 << 20

class Slow implements Reader {
  left = PART
  isCut = false

  unread(): number {
    return this.left
  }

  cutOff(): void {
    this.isCut = true
  }
}

function readers(unread: Unread, count: number): Slow[] {
  return Array.from({ length: count }, () => {
    const slow = new Slow()
    unread.note(slow, slow.left)
    return slow
  })
}

test('past the bound the longest unread are cut, no more than need be', (t) => {
  const unread = new Unread(10 * PART)
  const all = readers(unread, 13)
  t.deepEqual(
    all.map(({ isCut }) => isCut),
    [true, true, true, ...Array<boolean>(10).fill(false)],
  )
  t.is(unread.cut, 3)
})

test('who has read in the meantime, has gone, or has little unread is not counted', (t) => {
  const unread = new Unread(10 * PART)
  const all = readers(unread, 10)
  for (const slow of all.slice(0, 4)) slow.left = 0
  unread.forget(all[4]!)
  unread.note(all[5]!, 100)
  const more = readers(unread, 6)
  t.false([...all, ...more].some(({ isCut }) => isCut))
  readers(unread, 1)
  t.deepEqual(
    all.map(({ isCut }) => isCut),
    all.map((_, at) => at === 6),
  )
})
