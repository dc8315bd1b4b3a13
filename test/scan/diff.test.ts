// What a rescan concludes from one directory, as a pure function of before and after.
import test from 'ava'
import fc from 'fast-check'
import { diff, halvesOf, inodeKey, plainInode, plainInodeAt, type Found, type Known } from '../../src/scan/diff.js'
import { KIND } from '../../src/scan/read.js'

const name = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f')
const kind = fc.constantFrom(KIND.file, KIND.directory, KIND.symlink, KIND.other)
const small = fc.integer({ min: 0, max: 3 })
const known = fc.record({ id: fc.integer({ min: 1, max: 1e6 }), name, kind, size: small, mtime: small, inode: small })
const found = fc.record({
  name,
  kind,
  size: small,
  mtime: small,
  inode: small,
  unread: fc.boolean(),
  foreign: fc.constant(false),
})
const before = fc.uniqueArray(known, { selector: (each) => each.name, maxLength: 6 })
const after = fc.uniqueArray(found, { selector: (each) => each.name, maxLength: 6 })

test('every name is in exactly one place: added, missing, replaced, changed, or as it was', (t) => {
  fc.assert(
    fc.property(before, after, (known: Known[], found: Found[]) => {
      const { added, missing, changed, replaced } = diff(known, found)
      const knownNames = new Set(known.map((each) => each.name))
      const foundNames = new Set(found.map((each) => each.name))
      t.deepEqual(
        added,
        found.filter((each) => !knownNames.has(each.name)),
      )
      t.deepEqual(
        missing,
        known.filter((each) => !foundNames.has(each.name)),
      )
      const touched = [...changed.map(({ found: { name } }) => name), ...replaced.map(({ found: { name } }) => name)]
      t.is(new Set(touched).size, touched.length)
      for (const each of touched) t.true(knownNames.has(each) && foundNames.has(each))
    }),
  )
})

test('what is found a second time as it was is no difference', (t) => {
  fc.assert(
    fc.property(before, (known: Known[]) => {
      const again = known.map(({ name, kind, size, mtime, inode }) => ({
        name,
        kind,
        size,
        mtime,
        inode: Number(inode),
        unread: false,
        foreign: false,
      }))
      const { added, missing, changed, replaced, directories } = diff(known, again)
      t.deepEqual([added, missing, changed, replaced], [[], [], [], []])
      const expected = known.filter((each) => each.kind === KIND.directory).map(({ name, id }) => [name, id])
      t.deepEqual([...directories].sort(), (expected as [string, number][]).sort())
    }),
  )
})

test('a child whose metadata cannot be read stays what it was', (t) => {
  fc.assert(
    fc.property(before, (known: Known[]) => {
      const unread = known.map(({ name }) => ({
        name,
        kind: KIND.other,
        size: 0,
        mtime: 0,
        inode: 0,
        unread: true,
        foreign: false,
      }))
      const { added, missing, changed, replaced } = diff(known, unread)
      t.deepEqual([added, missing, changed, replaced], [[], [], [], []])
    }),
  )
})

test('inodes past 2^53 and past 2^63 compare equal to what SQLite gives back', (t) => {
  t.is(inodeKey(7), 7)
  t.is(inodeKey(2n ** 60n), '1152921504606846976')
  t.is(inodeKey(2n ** 64n - 1n), '-1')
})

test('an inode is the same number, read in halves or whole', (t) => {
  const inodes = [0n, 1n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constantFrom(...inodes), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }))), (all) => {
      const halves = halvesOf(BigUint64Array.from([9n, ...all]).subarray(1))
      t.deepEqual(
        all.map((_, at) => plainInodeAt(halves, at)),
        all.map(plainInode),
      )
    }),
  )
})
