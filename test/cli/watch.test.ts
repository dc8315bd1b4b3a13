// `fds --watch`, one test at a time: Ctrl-C reaches every command of this process.
import test from 'ava'
import { SpacedriveError } from '../../src/base/errors.js'
import { run } from '../../src/cli/run.js'
import { Terminal } from '../../src/cli/terminal.js'
import { columnsOf } from '../../src/cli/text.js'
import type { Descriptors } from '../../src/protocol/messages.js'
import { FakeDaemon, remembering, someDescriptors } from './fake.js'

test.serial(
  'fds --watch without a terminal writes the lines again, with --json one value a line, until it is told to stop',
  async (t) => {
    const held = someDescriptors()
    let asked = 0
    const answer = () => {
      asked += 1
      if (asked === 2) throw new SpacedriveError('SHARD_BUSY', 'for a moment')
      if (asked === 4) setImmediate(() => process.emit('SIGINT'))
      return held
    }
    await using daemon = await FakeDaemon.open({ 'core.descriptors': answer })
    const { out, code } = await daemon.cli('fds', '--watch')
    t.is(code, 0)
    t.is(out.match(/^60 descriptors open/gm)?.length, 2)
    t.regex(out, /^error SHARD_BUSY: for a moment$/m)
    asked = 2
    const values = (await daemon.cli('fds', '--watch', '--json')).out.trim().split('\n')
    t.true(values.length >= 1)
    for (const value of values) t.deepEqual(JSON.parse(value), held)
  },
)

test.serial('fds --watch on a terminal draws one screen of its size, and gives it back', async (t) => {
  const held = { ...someDescriptors(), holders: Array.from({ length: 100 }, (_, fd) => someHolder(fd)) }
  let asked = 0
  const answer = () => {
    if (++asked === 2) setImmediate(() => process.emit('SIGINT'))
    return held
  }
  await using daemon = await FakeDaemon.open({ 'core.descriptors': answer })
  const [screen, err] = [remembering({ isTTY: true, columns: 60, rows: 20 }), remembering()]
  const argv = ['fds', '--watch', '--data-dir', daemon.dataDir]
  t.is(await run(argv, new Terminal(screen, err, { NO_COLOR: '1' }), {}), 0)
  const text = screen.text()
  t.true(text.startsWith('\u001b[?1049h\u001b[?25l\u001b[H'))
  t.true(text.endsWith('\u001b[?25h\u001b[?1049l'))
  const [, page] = text.split('\u001b[H')
  const lines = page!
    .split('\u001b[J')[0]!
    .split('\r\n')
    .map((line) => line.replace('\u001b[K', ''))
  t.is(lines.length, 20)
  t.true(lines.every((line) => columnsOf(line) <= 60))
  t.regex(lines.at(-1)!, /^and \d+ holders more, of \d+ descriptors$/)
})

function someHolder(fd: number): Descriptors['holders'][number] {
  return { fd, class: 'libraries', holder: `library ${fd}`, detail: '/data', ageMs: 1 }
}
