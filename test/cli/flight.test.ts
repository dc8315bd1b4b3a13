// `spacedrive logs --flight`: the last seconds of a daemon, whether it runs or was killed.
import test from 'ava'
import { cli, eventually, parsed, type Loose } from '../harness/daemon.js'
import { play } from '../harness/scene.js'

test('it prints what a killed daemon left: samples in words, events as they were, nothing that moves the cursor', async (t) => {
  await play(async (scene) => {
    const flight = (...words: string[]) => cli(['logs', '--flight', '--data-dir', scene.dataDir, ...words])
    const none = flight()
    t.is(none.code, 1)
    t.regex(none.err, /^error FILE_NOT_FOUND: .*flight recorder/)

    const daemon = await scene.daemon({ limit: '200:200' })
    await eventually('two seconds are on record', 60_000, () => parsed(flight('--json').out)?.length > 2)
    await daemon.stop('SIGKILL')
    const entries: Loose[] = parsed(flight('--json').out)
    const lines = flight().out.trimEnd().split('\n')
    t.is(lines.length, 1 + entries.length)
    t.is(lines[0], `pid ${daemon.pid}`)
    t.regex(lines[1]!, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} {2}start/)
    t.regex(
      // A loaded machine may have given it something else to write down at the end.
      lines.findLast((line) => line.includes('  sample '))!,
      /sample {3}\d+ of 200 open, normal; budget \d+; \d+ in flight; loop \d+ % busy, .+ late; heap [\d.]+ MB$/,
    )
    t.is(flight('-n', '1').out.trimEnd().split('\n').length, 2)
    t.is(flight('-n', '0').out, '')
    t.deepEqual(parsed(flight('--json', '-n', '1').out), entries.slice(-1))
    t.is(flight('-f').code, 2)
  })
})
