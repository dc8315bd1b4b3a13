// `spacedrive plan`: a sum for a deployment that does not exist yet, and a daemon that is given just that.
import { spawnSync } from 'node:child_process'
import http from 'node:http'
import test from 'ava'
import type { Answer } from '../../src/cli/plan.js'
import { cli, eventually, type Loose } from '../harness/daemon.js'
import { play } from '../harness/scene.js'

function asked(...args: string[]): Answer {
  const { code, out, err } = cli(['plan', '--json', ...args])
  if (code !== 0) throw new Error(err)
  return JSON.parse(out) as Answer
}

test('for people it is a table of 80 columns that ends with the command', (t) => {
  const { code, out } = cli(['plan', '--libraries', '100', '--clients', '1000', '--readers', '2'])
  t.is(code, 0)
  const lines = out.trimEnd().split('\n')
  for (const line of lines) t.true(line.length <= 80, line)
  t.regex(lines.at(-1)!, /^ {2}(ulimit -n|sudo \w+) /)
  const total = Number(/^total +([\d,]+)$/m.exec(out)![1]!.replaceAll(',', ''))
  t.true(lines.at(-1)!.includes(String(total)))
  const rows = [...out.matchAll(/ {2,}([\d,]+)$/gm)].map(([, count]) => Number(count!.replaceAll(',', '')))
  t.is(
    rows.slice(0, -1).reduce((sum, count) => sum + count, 0),
    total,
    'the lines add up to the last',
  )
})

test('for programs it is a number and its parts', (t) => {
  const { total, items, fits, limit } = asked('--libraries', '100', '--clients', '1000')
  t.true(total > 1_000)
  t.is(
    items.reduce((sum, { descriptors }) => sum + descriptors, 0),
    total,
  )
  t.is(fits, limit >= total)
})

test('asked whether a limit is enough, it says so by its exit code too', (t) => {
  const { total } = asked('--libraries', '5', '--clients', '5', '--shards', '1')
  const wanted = ['plan', '--libraries', '5', '--clients', '5', '--shards', '1', '--limit']
  t.is(cli([...wanted, String(total)]).code, 0)
  const less = cli([...wanted, String(total - 1)])
  t.is(less.code, 78)
  t.regex(less.out, /is not enough/)
})

test('what makes no sense is a usage error', (t) => {
  for (const args of [
    ['--libraries', '-1'],
    ['--shards', '0'],
    ['--readers', '9'],
    ['--clients', 'many'],
  ])
    t.is(cli(['plan', ...args]).code, 2, args.join(' '))
})

const inNamespace = spawnSync('unshare', ['-m', 'true']).status === 0 ? test.serial : test.serial.skip
inNamespace(
  'where the system tells less of memory, the base that was told is what a daemon has all the same',
  async (t) => {
    const hidden = 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"'
    const through = ['unshare', '-m', '--propagation', 'private', 'sh', '-c', hidden, 'sh']
    await play(async (scene) => {
      const args = ['plan', '--json', '--shards', '1']
      for (const each of [[], through]) {
        const { plan } = JSON.parse(cli(args, { through: each }).out) as Answer
        const daemon = await scene.daemon({ args: ['--shards', '1'], through: each })
        t.is((await daemon.status()).descriptors.base, plan.base)
        await daemon.stop()
      }
    })
  },
)

test.serial('a daemon with the limit that is named holds the deployment, at the base that was told', async (t) => {
  await play(async (scene) => {
    const { total, plan } = asked('--libraries', '8', '--clients', '24', '--jobs', '1', '--shards', '1')
    const daemon = await scene.daemon({ args: ['--nofile', String(total), '--shards', '1'] })
    const { descriptors } = await daemon.status()
    t.like(descriptors, { base: plan.base, reserve: plan.reserve, budget: plan.budget }, daemon.log)
    for (const [name, { floor, ceiling }] of Object.entries(plan.classes))
      t.like(descriptors.classes[name as 'clients'], { floor, ceiling }, name)

    const tree = scene.tree('tree', 3_000)
    const libraries: string[] = []
    for (let at = 0; at < 8; at++) libraries.push((await daemon.call('libraries.create', { name: `library ${at}` })).id)
    for (const library of libraries) await daemon.call('libraries.open', { library })
    const { job } = await daemon.call('locations.add', { library: libraries[0], path: tree })
    // Two of the 24 are the kept connection that asks, and the one that looks.
    const agents = Array.from({ length: 22 }, () => new http.Agent({ keepAlive: true }))
    await Promise.all(agents.map((agent) => daemon.call('core.ping', {}, { agent })))
    // A doctor that is run meanwhile asks every daemon of this machine: that is one more for a moment.
    const full: Loose = await eventually('those are in, and nobody else', 10_000, async () => {
      const status = await daemon.status()
      return status.connections.current === 24 && status
    })
    t.is(full.libraries.open, 8)
    t.is(full.connections.refused, 0)
    t.is(full.descriptors.level, 'normal')
    t.true(daemon.descriptorCount <= total)
    await daemon.jobDone(libraries[0]!, job)
    t.is((await daemon.status()).libraries.open, 8, 'nothing had to give way')
    for (const agent of agents) agent.destroy()
    await eventually('all have left', 30_000, async () => (await daemon.status()).connections.current <= 2)
    t.is((await daemon.stop()).code, 0)
  })
})
