// The log: every line that can be written is there, whatever happens to its file.
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { openLog } from '../../src/base/log.js'

const nothingLent = () => ({ [Symbol.dispose]: () => undefined })

function opened(t: ExecutionContext) {
  const directory = mkdtempSync(join(tmpdir(), 'log-'))
  const path = join(directory, 'logs', 'daemon.log')
  const log = openLog(path, 'info')
  t.teardown(() => {
    log.close()
    rmSync(directory, { recursive: true })
  })
  return { log, path }
}

function messages(path: string): string[] {
  const lines = readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{'))
  return lines.map((line) => (JSON.parse(line) as { msg: string }).msg)
}

test('each line is in the file when the call returns, with level, time and fields', (t) => {
  const { log, path } = opened(t)
  log.log('warn', 'careful', { count: 3 })
  const line = JSON.parse(readFileSync(path, 'utf8'))
  t.is(line.level, 40)
  t.is(line.count, 3)
  t.true(Math.abs(line.time - Date.now()) < 10_000)
  log.log('debug', 'not asked for')
  t.deepEqual(messages(path), ['careful'])
})

test('a file that was deleted is begun anew, and nothing is written to the old one any more', (t) => {
  const { log, path } = opened(t)
  log.log('info', 'one')
  unlinkSync(path)
  log.log('info', 'two, into the deleted file')
  log.rotate(nothingLent)
  log.log('info', 'three')
  t.deepEqual(messages(path), ['three'])
  t.is(statSync(path).mode & 0o777, 0o600)
})

test('a file that somebody moved aside and made anew is written from then on', (t) => {
  const { log, path } = opened(t)
  log.log('info', 'one')
  renameSync(path, `${path}.old`)
  writeFileSync(path, '')
  log.rotate(nothingLent)
  log.log('info', 'two')
  t.deepEqual(messages(path), ['two'])
  t.deepEqual(messages(`${path}.old`), ['one'])
})

test('a large file is moved aside, once, with a descriptor lent for it', (t) => {
  const { log, path } = opened(t)
  log.log('info', 'old')
  truncateSync(path, LIMITS.logBytesMax)
  let lent = 0
  let returned = 0
  const lend = () => {
    lent += 1
    return { [Symbol.dispose]: () => void (returned += 1) }
  }
  log.rotate(lend)
  log.rotate(lend)
  log.log('info', 'new')
  t.deepEqual(messages(path), ['new'])
  t.deepEqual(messages(`${path}.1`), ['old'])
  t.deepEqual([lent, returned], [1, 1])
})

test('where a new file cannot be made the old one goes on, and the next try succeeds', (t) => {
  const { log, path } = opened(t)
  unlinkSync(path)
  mkdirSync(path)
  log.rotate(nothingLent)
  log.log('info', 'goes to the deleted file')
  rmSync(path, { recursive: true })
  log.rotate(nothingLent)
  log.log('info', 'back')
  t.deepEqual(messages(path), ['back'])
  const aside = join(path, '..', '..', 'aside')
  renameSync(join(path, '..'), aside)
  log.rotate(nothingLent)
  log.log('info', 'still to the moved one')
  t.deepEqual(messages(join(aside, 'daemon.log')), ['back', 'still to the moved one'])
})

test('after it was closed nothing is written, and nothing is thrown', (t) => {
  const { log, path } = opened(t)
  log.log('info', 'one')
  log.close()
  log.close()
  log.log('info', 'two')
  t.deepEqual(messages(path), ['one'])
})
