// The whole drill, as a user runs it.
import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync } from 'node:fs'
import test from 'ava'
import { LAUNCHER, type Loose } from '../harness/daemon.js'
import { punctually } from '../harness/punctual.js'
import { play } from '../harness/scene.js'

// Its verdicts are about times too: what it finds of a machine that stood still says nothing of the daemon.
test.serial(
  'every promise holds on this machine, and nothing is left behind',
  punctually((t) =>
    play(async (scene) => {
      const temporary = scene.path('temporary')
      mkdirSync(temporary)
      const { code, out } = await run(['selftest', '--exhaust', '--json'], temporary)
      const said: Loose = JSON.parse(out)
      const failed = said.checks.filter(({ ok }: Loose) => ok === false)
      t.deepEqual(failed, [])
      t.is(said.failed, 0)
      t.is(said.passed + said.notTried, said.checks.length)
      t.is(new Set(said.checks.map(({ name }: Loose) => name)).size, 11)
      t.is(code, 0)
      t.deepEqual(readdirSync(temporary), [])
      t.log(`${said.ms} ms`)
    }),
  ),
)

function run(args: readonly string[], temporary: string): Promise<{ code: number | null; out: string }> {
  const child = spawn(LAUNCHER, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, TMPDIR: temporary },
  })
  let out = ''
  child.stdout.on('data', (bytes) => (out += bytes))
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out })))
}
