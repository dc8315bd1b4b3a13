// A lack of descriptors is told apart from absence and from a bug, and asked again.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { SpacedriveError } from '../../src/base/errors.js'
import { again, fromLoading, isShortage } from '../../src/base/shortage.js'
import { listenAgain, listenError } from '../../src/front/address.js'
import { ROOT } from '../harness/daemon.js'

const emfile = () => Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' })

test('what failed for lack of a descriptor is done again, three times at the most; what failed otherwise is not', (t) => {
  let calls = 0
  const failing = (failures: number, error: () => Error) => () => {
    calls += 1
    if (calls <= failures) throw error()
    return 'done'
  }
  t.is(again(failing(2, emfile)), 'done')
  calls = 0
  t.throws(() => again(failing(9, emfile)), { code: 'EMFILE' })
  t.is(calls, 3)
  calls = 0
  t.throws(() => again(failing(1, () => new Error('a bug'))), { message: 'a bug' })
  t.is(calls, 1)
})

test('a package that is there and was not found is a shortage, one that is missing is not', async (t) => {
  const there = join(ROOT, 'node_modules', 'uuidv7', 'index.js')
  const notFound = (path: string) =>
    Object.assign(new Error(`Cannot find package '${path}' imported from x`), { code: 'ERR_MODULE_NOT_FOUND' })
  t.true(isShortage(notFound(there)))
  t.false(isShortage(notFound('/nowhere/at/all/index.js')))
  const required = (name: string) =>
    Object.assign(
      new Error(
        `Cannot find module '${name}'\nRequire stack:\n- ${join(ROOT, 'node_modules', 'better-sqlite3', 'lib', 'database.js')}`,
      ),
      { code: 'MODULE_NOT_FOUND' },
    )
  t.true(isShortage(required('bindings')))
  t.true(isShortage(new SpacedriveError('INTERNAL', 'the lock', { cause: required('bindings') })))
  t.false(isShortage(required('no-such-package')))
  // As Node 26 says it, with no code of the system.
  t.true(isShortage(new Error('Cannot read package config /x/package.json: too many open files.')))
  const byOurs = Object.assign(
    new Error(
      `Cannot find module 'better-sqlite3'\nRequire stack:\n- ${join(ROOT, 'dist', 'src', 'front', 'open.js')}`,
    ),
    { code: 'MODULE_NOT_FOUND' },
  )
  t.true(isShortage(byOurs))
  const missing: unknown = await import('no-such-package' as string).catch((error: unknown) => error)
  t.is(fromLoading(missing), missing)
  const told = fromLoading(emfile())
  t.true(told instanceof SpacedriveError && told.code === 'BUDGET_EXHAUSTED' && told.retryable)
})

test('a listener that met the limit is told as that, not as a port that is taken', async (t) => {
  t.is(listenError(emfile(), '127.0.0.1:0').code, 'BUDGET_EXHAUSTED')
  const never = listenAgain(() => false, { host: '127.0.0.1', port: 0 }, '127.0.0.1:0')
  t.is((await t.throwsAsync<SpacedriveError>(never))?.code, 'BUDGET_EXHAUSTED')
})

test('a listener that could not be had for a moment is asked for again, on a port and on a path', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'sd-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const places = [{ host: '127.0.0.1', port: 0 }, { path: join(directory, 's') }]
  for (const where of places) {
    const answers = [false, 7] as const
    let asked = 0
    t.is(await listenAgain(() => answers[asked++]!, where, 'there'), 7)
    t.is(asked, 2)
  }
  const nowhere = join(directory, 'no such directory', 's')
  const refused = await t.throwsAsync<SpacedriveError>(listenAgain(() => false, { path: nowhere }, nowhere))
  t.is(refused?.code, 'BAD_CONFIG')
  t.regex(refused?.message ?? '', /ENOENT|EACCES/)
})

test('a missing addon is absence, one that met the limit is a shortage', (t) => {
  const script = `
    const { openSync } = require('node:fs')
    try { for (;;) openSync('/dev/null') } catch {}
    try { process.dlopen({ exports: {} }, process.argv[1]) } catch (error) { console.log(error.code + ' ' + error.message.split('\\n')[0]) }`
  const addon = join(ROOT, 'node_modules', 'better-sqlite3', 'build', 'Release', 'better_sqlite3.node')
  const told = execFileSync('prlimit', ['--nofile=40:40', process.execPath, '-e', script, addon], { encoding: 'utf8' })
  const [, code, message] = /^(\S+) (.*)$/m.exec(told) ?? []
  t.is(code, 'ERR_DLOPEN_FAILED', told)
  t.true(isShortage(Object.assign(new Error(message), { code })), told)
  t.true(isShortage(new Error(`This version supports only some.\n\nError: ${message}`)), 'in words of a package')
  t.false(
    isShortage(Object.assign(new Error('x.node: cannot open shared object file: No such file or directory'), { code })),
  )
})
