// Failures as data: what crosses a thread or a socket says what it was, and whether to try again.
import { constants } from 'node:os'
import test from 'ava'
import { errnoOf, fromSystem, fromWire, isErrorCode, SpacedriveError, statusOf, toWire } from '../../src/base/errors.js'

test('an error survives the way over a thread, with its code, hint and time to wait', (t) => {
  const error = new SpacedriveError('SHARD_BUSY', 'busy', { retryAfterMs: 250, hint: 'wait a little' })
  const back = fromWire(structuredClone(toWire(error)))
  t.like(back, { code: 'SHARD_BUSY', message: 'busy', hint: 'wait a little', retryAfterMs: 250, retryable: true })
})

test('errors of the system are told by errno, and a lack of descriptors is never absence', (t) => {
  for (const [errno, code, retryable] of [
    ['EMFILE', 'BUDGET_EXHAUSTED', true],
    ['ENFILE', 'BUDGET_EXHAUSTED', true],
    ['ENOSPC', 'DISK_FULL', true],
    ['EDQUOT', 'DISK_FULL', true],
    ['EROFS', 'READ_ONLY', true],
    ['EIO', 'DISK_FAILED', false],
    ['EACCES', 'READ_ONLY', true],
    ['ENOENT', 'INTERNAL', false],
  ] as const) {
    const error = fromSystem(Object.assign(new Error('made up'), { code: errno }))
    t.is(error.code, code)
    t.is(error.retryable, retryable)
    t.is(errnoOf(error.cause), errno)
  }
})

test('the same errno means another thing of inotify and of a thread, and what is full is named', (t) => {
  const made = (code: string, syscall?: string, message = 'made up') =>
    Object.assign(new Error(message), { code, syscall })
  const init = (errno: string) => made('ERR_WORKER_INIT_FAILED', undefined, `Worker initialization failure: ${errno}`)
  for (const [error, full, words] of [
    [made('EMFILE', 'open'), 'process', /this process/],
    [made('ENFILE', 'open'), 'machine', /the whole machine/],
    [made('EMFILE', 'watch'), 'watches', /inotify instance/],
    [made('ENOSPC', 'watch'), 'watches', /inotify watch/],
    [init('EMFILE'), 'process', /this process/],
    [init('ENFILE'), 'machine', /the whole machine/],
    [init('EAGAIN'), 'threads', /thread/],
  ] as const) {
    const wire = toWire(error)
    t.is(wire.code, 'BUDGET_EXHAUSTED')
    t.is(wire.class, full)
    t.regex(wire.message, words)
    t.notRegex(wire.message + wire.hint, /disk is full/)
    t.is(fromWire(structuredClone(wire)).class, full)
  }
  t.is(toWire(made('ENOSPC', 'write')).code, 'DISK_FULL')
  // As Node tells what it has no name for.
  const quota = Object.assign(new Error('made up'), { code: 'UNKNOWN', errno: -constants.errno.EDQUOT })
  t.regex(toWire(quota).message, /quota/)
})

test('whatever is thrown becomes data, and an unknown code becomes INTERNAL', (t) => {
  for (const thrown of [null, undefined, 'text', 7, {}, new Error('plain')]) t.is(toWire(thrown).code, 'INTERNAL')
  t.is(toWire({ message: 'cloned' }).message, 'cloned')
  t.is(fromWire({ code: 'toString' as never, message: 'm', hint: 'h', retryable: false }).code, 'INTERNAL')
  t.false(isErrorCode('constructor'))
  t.is(statusOf('CONNECTION_LIMIT'), 503)
})
