// Answers in memory that two threads share: what was written is what is read, whatever was given back, in whatever order.
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import type { Reply } from '../../src/protocol/messages.js'
import { LongAnswers, LongAnswersRead, newLongAnswers } from '../../src/shard/long-answers.js'

function both() {
  const shared = newLongAnswers()
  return { written: new LongAnswers(shared), read: new LongAnswersRead(shared) }
}

/** Of one, two, three or four bytes each. */
const CHARACTERS = ['a', 'é', '€', '😀']

function textOf(characters: number, seed: number): string {
  const character = CHARACTERS[seed % CHARACTERS.length]!
  return JSON.stringify(`${seed} ${character.repeat(characters)}`)
}

test('a text is read as it was written, until it is given back', (t) => {
  const { written, read } = both()
  const kept: Reply[] = []
  for (const [at, character] of CHARACTERS.entries()) {
    const text = textOf(LIMITS.longAnswerBytesMin, at)
    const where = written.write(text)
    t.true(where >= 0, character)
    read.tell(where, written.length, (reply) => {
      kept.push(reply)
      t.true(reply.ok && Buffer.from(reply.bytes!).equals(Buffer.from(text)))
      if (at === 0) t.is(reply.ok && reply.json, text)
    })
  }
  t.is(kept[0]!.ok && kept[0]!.json, textOf(LIMITS.longAnswerBytesMin, 0), 'one that was made a text stays that')
  t.throws(() => kept[1]!.ok && kept[1]!.json, { message: /given back/ })
  t.throws(() => kept[1]!.ok && kept[1]!.bytes, { message: /given back/ })
})

test('one whose reader fails is given back all the same', (t) => {
  const { written, read } = both()
  const text = textOf(LIMITS.longAnswersBytes / 8, 0)
  for (let times = 0; times < 20; times++) {
    const at = written.write(text)
    t.true(at >= 0)
    const fail = () => {
      throw new Error('of the reader')
    }
    t.throws(() => read.tell(at, written.length, fail), { message: 'of the reader' })
  }
})

test('what is short or very long is not taken, nor what there is no room for; and there is room again', (t) => {
  const { written, read } = both()
  t.is(written.write('x'.repeat(LIMITS.longAnswerBytesMin - 1)), -1)
  t.is(written.write('x'.repeat(LIMITS.longAnswersBytes / 4 + 1)), -1)
  const text = 'x'.repeat(LIMITS.longAnswersBytes / 4)
  const all: number[] = []
  for (let at = written.write(text); at >= 0; at = written.write(text)) all.push(at)
  t.is(all.length, 3, 'the heads of blocks take the room of the fourth')
  read.free(all[1]!)
  t.is(written.write(text), -1, 'the oldest is still there')
  read.free(all[0]!)
  t.true(written.write(text) >= 0)
  t.true(written.write(text) >= 0)
  t.is(written.write(text), -1)
})

test('many of any length, given back in any order, keep what they hold', (t) => {
  const { written, read } = both()
  let seed = 1
  const random = (below: number) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0
    return (seed >>> 8) % below
  }
  const held: { at: number; length: number; text: string }[] = []
  let [taken, refused] = [0, 0]
  const giveBack = () => {
    const [one] = held.splice(random(held.length), 1)
    read.tell(one!.at, one!.length, (reply) => {
      if (!reply.ok || reply.json !== one!.text) t.fail(`what was written at ${one!.at} is another text`)
    })
  }
  for (let times = 0; times < 4_000; times++) {
    const text = textOf(LIMITS.longAnswerBytesMin + random(random(8) === 0 ? 300_000 : 20_000), random(1_000))
    const at = written.write(text)
    if (at >= 0) held.push({ at, length: written.length, text })
    if (at >= 0) taken += 1
    else refused += 1
    if (at < 0 || random(60) < held.length) giveBack()
  }
  while (held.length > 0) giveBack()
  t.true(taken > 2_000 && refused > 20, `${taken} taken, ${refused} refused`)
})
