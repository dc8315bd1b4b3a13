// The names of a library: stored once, found again, whatever is forgotten and rolled back in between.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import Database from 'better-sqlite3'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { LIMITS } from '../../src/base/limits.js'
import { Names } from '../../src/library/names.js'
import { migrate } from '../../src/library/schema.js'

function fresh(): { connection: Database.Database; names: Names } {
  const connection = new Database(':memory:')
  migrate(connection, 'test')
  return { connection, names: new Names(connection) }
}

const FEW = { namesRecentMax: 8, namesTabledMax: 60, namesUnhashedMax: 20, hashesACommitMax: 7 }

test.serial('each name has one id, and each id its name, through commits, rollbacks and forgetting', (t) => {
  keepsNames(t, 80)
})

test.serial('the same where what is in memory is soon full, and hashes are written a few at a time', (t) => {
  const before = { ...LIMITS }
  Object.assign(LIMITS, FEW)
  try {
    keepsNames(t, 200)
  } finally {
    Object.assign(LIMITS, before)
  }
})

function keepsNames(t: ExecutionContext, numRuns: number): void {
  const word = fc.oneof(
    fc.constantFrom('a', 'b', 'c', '\udcff', '💀', 'x'.repeat(255)),
    fc.stringMatching(/^[a-z]{1,2}$/),
  )
  const step = fc.record({
    words: fc.array(word, { maxLength: 80 }),
    what: fc.constantFrom('commit', 'commit', 'fail', 'forget', 'anew'),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const { connection, ...made } = fresh()
      let { names } = made
      const ids = new Map<string, number>()
      for (const { words, what } of steps) {
        if (what === 'forget') names.forget()
        if (what === 'anew') names = new Names(connection)
        const added = new Map<string, number>()
        try {
          connection.transaction(() => {
            for (const each of words) added.set(each, names.idOf(each))
            for (const [each, id] of added) t.is(names.text(id), each)
            names.flush()
            if (what === 'fail') throw new Error('rolled back')
          })()
          for (const [each, id] of added) ids.set(each, id)
        } catch (error) {
          if ((error as Error).message !== 'rolled back') throw error
          names.forget()
        }
        for (const [each, id] of ids) {
          t.is(names.find(each), id)
          t.is(names.text(id), each)
        }
      }
      t.is(new Set(ids.values()).size, ids.size)
      for (const each of ['never added', 'a '.repeat(3)]) t.is(names.find(each), undefined)
      while (!names.hash(names.count));
      const hashes = connection.prepare('SELECT name FROM name_hash ORDER BY name').pluck().all()
      t.deepEqual(
        hashes,
        hashes.map((_, at) => at),
      )
      const hashed = connection.prepare<[], number>(`SELECT value FROM meta WHERE key = 'namesHashed'`).pluck().get()
      t.is(hashes.length, hashed ?? 0)
      connection.close()
    }),
    { numRuns },
  )
}

test('a name just added is known while thousands of blocks are read past it', (t) => {
  const { connection, names } = fresh()
  const blocks = 2_200
  connection.transaction(() => {
    for (let at = 0; at < blocks * 64; at++) names.idOf(`name ${at}`)
    names.flush()
  })()
  names.forget()
  connection.transaction(() => {
    const id = names.idOf('the new one')
    for (let block = 0; block < blocks; block++) t.is(names.text(block * 64), `name ${block * 64}`)
    t.is(names.text(id), 'the new one')
    names.flush()
    for (let block = 0; block < blocks; block++) names.text(block * 64)
    const next = names.idOf('and the next')
    t.is(names.text(id), 'the new one')
    t.is(names.text(next), 'and the next')
    names.flush()
  })()
  t.is(names.find('the new one'), blocks * 64)
  connection.close()
})

test('names that are added one after the other are not kept in memory', (t) => {
  const { connection, names } = fresh()
  const before = heapBytes()
  connection.transaction(() => {
    for (let at = 0; at < 400_000; at++) names.idOf(`a name of some length ${at}`)
    names.flush(Infinity)
  })()
  const grown = heapBytes() - before
  t.is(names.text(0), 'a name of some length 0')
  t.true(grown < 16 * 2 ** 20, `${grown} bytes`)
  connection.close()
})

function heapBytes(): number {
  setFlagsFromString('--expose-gc')
  ;(runInNewContext('gc') as () => void)()
  return process.memoryUsage().heapUsed
}
