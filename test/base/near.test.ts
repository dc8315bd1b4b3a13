import test from 'ava'
import { nearest } from '../../src/base/near.js'

const WORDS = ['work', 'word', 'holiday', 'holidays 2024', 'invoice', 'Ünique']

test('a misspelt word is known by the letters it shares', (t) => {
  t.deepEqual(nearest('wrok', WORDS, 3), ['work'])
  t.deepEqual(nearest('wor', WORDS, 3), ['word', 'work'])
  t.deepEqual(nearest('invocie', WORDS, 3), ['invoice'])
  t.deepEqual(nearest('holidy', WORDS, 3), ['holiday'])
})

test('a longer word that begins so is proposed too, and no more than were asked for', (t) => {
  t.deepEqual(nearest('holi', WORDS, 3), ['holiday', 'holidays 2024'])
  t.deepEqual(nearest('holi', WORDS, 1), ['holiday'])
})

test('a word that is another one altogether is not', (t) => {
  t.deepEqual(nearest('spreadsheet', WORDS, 3), [])
  t.deepEqual(nearest('xy', WORDS, 3), [])
})
