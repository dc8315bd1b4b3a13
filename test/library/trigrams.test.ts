// The search index may say "perhaps" too often, but never misses a block.
import Database from 'better-sqlite3'
import test from 'ava'
import fc from 'fast-check'
import { fold } from '../../src/library/fold.js'
import { migrate } from '../../src/library/schema.js'
import { buildPostings, postingPlace, Postings, trigramsOf } from '../../src/library/trigrams.js'

const text = fc.oneof(
  fc.string({ maxLength: 20 }),
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.string({ unit: fc.constantFrom('a', 'b', 'é', '中', '.', '😀'), maxLength: 12 }),
)
const block = fc
  .array(text, { maxLength: 8 })
  .map((names) => names.map((each) => `${fold(each).replaceAll('\0', '')}\0`).join(''))

test('every block that contains the query is among the candidates, ascending and each once', (t) => {
  fc.assert(
    fc.property(
      fc.array(block, { maxLength: 40 }),
      fc.array(text, { maxLength: 6 }),
      fc.nat(),
      (blocks, queries, at) => {
        const connection = new Database(':memory:')
        migrate(connection, 'test')
        const insert = connection.prepare('INSERT INTO posting (place, lists) VALUES (?, ?)')
        const text = { first: 0, blocks: blocks.map((each) => Buffer.from(each, 'utf8')) }
        for (const { bucket, lists } of buildPostings(text)) insert.run(postingPlace(7, bucket), lists)
        const postings = new Postings(connection)
        const inside = blocks.flatMap((each) => each.split('\0')).filter((each) => each.length > 2)
        const picked = inside.length > 0 ? [inside[at % inside.length]!] : []
        for (const query of [...queries, ...picked, ...picked.map((each) => each.slice(1))]) {
          const needle = fold(query).replaceAll('\0', '')
          const codes = trigramsOf(Buffer.from(needle, 'utf8'))
          if (codes.length === 0) continue
          const found = postings.candidates(7, codes)
          t.deepEqual(
            found,
            [...new Set(found)].sort((a, b) => a - b),
          )
          const known = new Set(found)
          blocks.forEach((each, number) => {
            if (each.toWellFormed().includes(needle.toWellFormed())) t.true(known.has(number), JSON.stringify(needle))
          })
        }
        connection.close()
      },
    ),
    { numRuns: 120 },
  )
})

test('queries shorter than three bytes have no trigrams, and lists of many blocks come back as they went in', (t) => {
  t.deepEqual(trigramsOf(Buffer.from('ab')), [])
  t.is(trigramsOf(Buffer.from('中')).length, 1)
  const connection = new Database(':memory:')
  migrate(connection, 'test')
  const blocks = Array.from({ length: 2_048 }, (_, at) => Buffer.from(at % 300 === 0 ? 'needle\0' : 'hay\0'))
  const insert = connection.prepare('INSERT INTO posting (place, lists) VALUES (?, ?)')
  for (const { bucket, lists } of buildPostings({ first: 0, blocks })) insert.run(postingPlace(1, bucket), lists)
  const found = new Postings(connection).candidates(1, trigramsOf(Buffer.from('needle')))
  t.deepEqual(found, [0, 300, 600, 900, 1200, 1500, 1800])
  connection.close()
})
