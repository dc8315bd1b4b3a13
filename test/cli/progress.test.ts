// What a command shows of a job while it waits for it.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import test from 'ava'
import { LIMITS } from '../../src/base/limits.js'
import { Exit } from '../../src/cli/failure.js'
import { openGauge, watch } from '../../src/cli/progress.js'
import { Terminal } from '../../src/cli/terminal.js'
import { aJob, aLibrary, aLocation, FakeDaemon, remembering } from './fake.js'

const CLI = join(import.meta.dirname, '../../src/cli')
const SHOWN_AGAIN = '\u001b[?25h'

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  test(`a bar that ${signal} ends gives the terminal its cursor back`, async (t) => {
    const program = `
      import { openGauge } from ${JSON.stringify(join(CLI, 'progress.js'))}
      import { Terminal } from ${JSON.stringify(join(CLI, 'terminal.js'))}
      openGauge(new Terminal(process.stdout, Object.assign(process.stdout, { isTTY: true, columns: 80 })), 'copying', false)
      setInterval(() => undefined, 1e6)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', program])
    t.teardown(() => child.kill('SIGKILL'))
    let text = ''
    child.stdout.on('data', (bytes: Buffer) => (text += bytes.toString()))
    await once(child.stdout, 'data')
    const closed = once(child, 'close')
    child.kill(signal)
    t.deepEqual(await closed, [null, signal])
    t.true(text.lastIndexOf(SHOWN_AGAIN) > text.lastIndexOf('\u001b[?25l'), JSON.stringify(text))
  })
}

test.serial('whoever leaves a job to itself is told how to follow it, whichever library it is of', async (t) => {
  const err = remembering()
  let job = aJob({ state: 'running' })
  const client = { call: async () => job } as unknown as Parameters<typeof watch>[0]['client']
  const desk = { terminal: new Terminal(remembering(), err), client, json: true }
  const watching = watch(desk, { library: job.library, job: job.id }, 'hashing')
  process.emit('SIGINT')
  job = aJob() // Nobody is left to wait for it.
  t.is((await t.throwsAsync(watching, { instanceOf: Exit }))!.exitCode, 130)
  t.is(err.text(), `the job goes on; \`spacedrive job watch ${job.id} --library ${job.library}\` follows it\n`)
})

test('who leaves before the daemon has answered is told where the job would be', async (t) => {
  const commands: ChildProcess[] = []
  // Answered as late as a command that is left cannot read it any more.
  const late = () => {
    const child = commands.at(-1)!
    child.kill('SIGINT')
    return new Promise((resolve) => child.once('close', resolve))
  }
  const begins = ['locations.add', 'locations.rescan', 'libraries.check', 'libraries.backup', 'files.hash'] as const
  await using daemon = await FakeDaemon.open({
    'libraries.list': () => [aLibrary()],
    'locations.list': () => [aLocation('/some')],
    ...Object.fromEntries(begins.map((each) => [each, late])),
  })
  for (const words of [
    ['location', 'add', '/some'],
    ['location', 'rescan', '/some'],
    ['library', 'check'],
    ['library', 'backup'],
    ['hash', '/some/file'],
  ]) {
    const child = spawn(process.execPath, [join(CLI, 'main.js'), ...words, '--data-dir', daemon.dataDir])
    t.teardown(() => child.kill('SIGKILL'))
    commands.push(child)
    let said = ''
    child.stderr.on('data', (bytes: Buffer) => (said += bytes.toString()))
    t.deepEqual(await once(child, 'close'), [130, null], words.join(' '))
    t.regex(said, /^the daemon may have begun it all the same: `spacedrive job list --library \S+` tells\n$/)
  }
})

test.serial('where no terminal is, a job that waits is told of once, and again when it goes on', (t) => {
  const { now } = performance
  t.teardown(() => (performance.now = now))
  let ms = 0
  performance.now = () => ms
  const err = remembering()
  const gauge = openGauge(new Terminal(remembering(), err), 'indexing', false)
  const lineAt = (done: number, job: Partial<ReturnType<typeof aJob>>) => {
    ms += LIMITS.cliProgressLineMs
    const before = err.text().length
    gauge.show(aJob({ progress: { done, unit: 'entries' }, ...job }))
    return err.text().slice(before)
  }
  const waiting = { code: 'DISK_FULL', message: 'the disk is full', hint: '', retryable: true } as const
  t.regex(lineAt(3, { state: 'queued', waiting }), /^indexing: 3 entries, queued: DISK_FULL\n$/)
  t.is(lineAt(3, { state: 'queued', waiting }), '')
  t.is(lineAt(3, { state: 'queued', waiting }), '')
  t.regex(lineAt(9, { state: 'running' }), /^indexing: 9 entries/)
})
