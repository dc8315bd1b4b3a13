// What is lent of the reserve so that those who come can be told: whoever is let in on it leaves none for the next.
import test from 'ava'
import { AcceptWatch, type Door } from '../../src/front/accept.js'
import { until } from './stage.js'

/** A process whose descriptors are counted: `free` are left, `reserve` are held beside. */
class Counted {
  free: number
  reserve: number
  readonly watch: AcceptWatch

  constructor(free: number, reserve: number) {
    this.free = free
    this.reserve = reserve
    const room = (count: number) => this.free >= count
    this.watch = new AcceptWatch({ log: () => undefined, borrow: () => this.#borrow(), room, work: () => 0 })
  }

  #borrow(): Disposable | null {
    if (this.reserve === 0) return null
    this.reserve -= 1
    this.free += 1
    return { [Symbol.dispose]: () => this.#refill() }
  }

  #refill(): void {
    if (this.free === 0) return
    this.free -= 1
    this.reserve += 1
  }
}

class OpenDoor implements Door {
  readonly name = 'a door'
  readonly sheds: boolean
  met = 0
  paused = false

  constructor(sheds: boolean) {
    this.sheds = sheds
  }

  meet(): void {
    this.met += 1
  }

  waiting(): boolean {
    return false
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
  }

  close(): void {}
}

test('who is let in on what was lent leaves the next one a descriptor to be told on', async (t) => {
  const counted = new Counted(0, 3)
  const door = new OpenDoor(true)
  counted.watch.add(door)
  await until(() => counted.watch.starved, 'one is lent before anybody comes')
  for (const reserve of [1, 0]) {
    counted.free -= 1
    counted.watch.admitted(door)
    t.deepEqual([counted.free, counted.reserve, counted.watch.starved], [1, reserve, true])
    t.false(door.paused)
  }
  counted.free -= 1
  counted.watch.admitted(door)
  t.true(door.paused, 'with the reserve gone they wait, and are not closed without a word')
  counted.watch.stop()
})

test('who takes the last descriptor of all has one lent for the next, before the next look', (t) => {
  const counted = new Counted(1, 1)
  const door = new OpenDoor(true)
  counted.watch.add(door)
  counted.free -= 1
  counted.watch.admitted(door)
  t.deepEqual([counted.free, counted.reserve, counted.watch.starved], [1, 0, true])
  counted.watch.stop()
  t.deepEqual([counted.free, counted.reserve], [0, 1], 'and it is held again at the end')
})

test('a door that tells who waits is lent nothing in advance', (t) => {
  const counted = new Counted(0, 1)
  const door = new OpenDoor(false)
  counted.watch.add(door)
  counted.watch.admitted(door)
  t.deepEqual([counted.free, counted.reserve, counted.watch.starved], [0, 1, false])
  counted.watch.stop()
})
