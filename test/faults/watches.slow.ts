// Nothing more can be watched, or the kernel forgot what happened: what is on disk is found all the same, and who asks is told how.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { coverageWords } from '../../src/cli/text.js'
import { loadNative } from '../../src/descriptors/native.js'
import { eventually, type Starting, type TestDaemon } from '../harness/daemon.js'
import { keepsPromise } from '../harness/promise.js'
import { play } from '../harness/scene.js'
import { isWatched, jobsOf, settled, watched, type WatchedLibrary } from '../harness/watched.js'

const mayUnshare = spawnSync('unshare', ['-U', '-r', 'test', '-w', '/proc/sys/user/max_inotify_watches']).status === 0
const mayWatch = process.platform === 'linux' && loadNative() !== null
if (!mayUnshare) console.log('not run: scenarios 26 and 27, because no user namespace can be made here')
if (!mayWatch) console.log('not run: scenarios 26 to 28, because there is no inotify or no native addon')
const limited = mayUnshare && mayWatch ? test.serial : test.serial.skip
const watching = mayWatch ? test.serial : test.serial.skip

/** In a user namespace, where the limits of inotify are its own. */
const OWN_USER_SPACE: Starting = { through: ['unshare', '-U', '-r'] }

limited('scenario 26: past the limit of watches directories are polled, and watched when it is raised', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon(OWN_USER_SPACE)
    const tree = await watched(daemon, scene.tree('tree', 60, 3))
    await keepsPromise(daemon, {
      libraries: [tree.library],
      begin: () => {
        allow(daemon, 'watches', 12)
        for (let at = 0; at < 5; at++) mkdirSync(join(tree.root, `d${at}`, 'new', 'newer'), { recursive: true })
      },
      during: async () => {
        await settled(daemon, tree)
        for (let at = 0; at < 5; at++) writeFileSync(join(tree.root, `d${at}`, 'new', 'newer', 'file'), 'text')
        rmSync(join(tree.root, 'd0', 'new', 'newer'), { recursive: true })
        await settled(daemon, tree)
        // What was watched before is watched.
        await toldAs(t, daemon, tree, [21, 9], /inotify watches .* max_user_watches/)
      },
      end: () => allow(daemon, 'watches', 100_000),
      recovered: async () => (await daemon.status()).watching.polled === 0,
      recoveryMs: 60_000,
    })
    writeFileSync(join(tree.root, 'd1', 'new', 'newer', 'late'), 'text')
    await settled(daemon, tree)
    await eventually('all are watched', 60_000, async () => (await daemon.status()).watching.live === 30)
  })
})

limited(
  'a limit of 500 watches for 543 directories: the index is as the disk, and how much is polled is told',
  async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon(OWN_USER_SPACE)
      allow(daemon, 'watches', 500)
      const tree = await watched(daemon, scene.tree('tree', 542, 1))
      const at = (directory: number, name: string) => join(tree.root, `d${directory}`, name)
      const scans = (await jobsOf(daemon, tree.library)).length
      for (let each = 0; each < 542; each++) writeFileSync(at(each, 'new'), `${each}`)
      for (let each = 0; each < 540; each += 2) renameSync(at(each, 'new'), at(539 - each, 'moved'))
      for (let each = 0; each < 542; each += 5) rmSync(at(each, `file ${each}.txt`))
      await settled(daemon, tree)
      await toldAs(t, daemon, tree, [500, 43], /inotify watches .* max_user_watches/)
      t.is(coverageWords((await daemon.status()).watching), '92 % live, 8 % polled')
      t.is((await jobsOf(daemon, tree.library)).length, scans, 'without a scan')
      t.is((await daemon.stop()).code, 0)
    })
  },
)

limited(
  'scenario 27: without an inotify instance all of it is polled, and that is no want of descriptors',
  async (t) => {
    await play(async (scene) => {
      const daemon = await scene.daemon(OWN_USER_SPACE)
      const root = scene.tree('tree', 60, 20)
      const { library, location } = await daemon.index('library', root)
      const tree = { library, location, root }
      await keepsPromise(daemon, {
        libraries: [library],
        begin: async () => {
          allow(daemon, 'instances', 0)
          await daemon.call('locations.update', { library, location, watch: true })
        },
        during: async () => {
          await isWatched(daemon, tree)
          mkdirSync(join(root, 'd0', 'new', 'newer'), { recursive: true })
          writeFileSync(join(root, 'd0', 'new', 'newer', 'file'), 'text')
          await settled(daemon, tree)
          await toldAs(t, daemon, tree, [0, 6], /inotify instances .* max_user_instances/)
        },
        end: () => allow(daemon, 'instances', 100),
        recovered: async () => {
          if ((await daemon.status()).watching.live < 6) return false
          await daemon.call('locations.update', { library, location, watch: false })
          return true
        },
        recoveryMs: 60_000,
      })
    })
  },
)

watching('scenario 28: what the kernel forgot, because too much happened, is found by a scan', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    const tree = await watched(daemon, scene.tree('tree', 60, 3))
    const scans = (await jobsOf(daemon, tree.library)).length
    await keepsPromise(daemon, {
      libraries: [tree.library],
      begin: () => {
        daemon.kill('SIGSTOP')
        storm(tree.root)
        daemon.kill('SIGCONT')
      },
      during: async () => {
        await eventually('it is scanned', 60_000, async () => (await jobsOf(daemon, tree.library)).length > scans)
        await settled(daemon, tree)
      },
      end: () => {},
    })
    // Made while nothing was heard, and watched now.
    writeFileSync(join(tree.root, 'd7', 'made meanwhile', 'late'), 'text')
    await settled(daemon, tree)
    await eventually('all are watched', 60_000, async () => {
      const { live, polled } = (await daemon.status()).watching
      return live === 41 && polled === 0
    })
    t.is((await daemon.stop()).code, 0)
  })
})

/** More events than the kernel keeps for one instance, and directories that come and go among them. */
function storm(root: string): void {
  const files = Math.ceil((300 * kept()) / 16_384)
  for (let at = 0; at < 20; at++) {
    for (let file = 0; file < files; file++) writeFileSync(join(root, `d${at}`, `storm ${file}`), 'text')
    for (let file = 0; file < files; file += 2) rmSync(join(root, `d${at}`, `storm ${file}`))
    mkdirSync(join(root, `d${at}`, 'made meanwhile'))
  }
}

/** 16,384, unless somebody changed it. */
function kept(): number {
  return Number(readFileSync('/proc/sys/fs/inotify/max_queued_events', 'utf8'))
}

/** In every place where a person or a program looks; nowhere is it called a full disk, or a want of descriptors. */
async function toldAs(
  t: ExecutionContext,
  daemon: TestDaemon,
  tree: WatchedLibrary,
  covered: [live: number, polled: number],
  words: RegExp,
): Promise<void> {
  await eventually(`${covered[0]} are live, ${covered[1]} polled`, 60_000, async () => {
    const { live, polled } = (await daemon.status()).watching
    return `${live} ${polled}` === covered.join(' ')
  })
  const { watching: sum, descriptors } = await daemon.status()
  const [{ watched: how }] = await daemon.call('locations.list', { library: tree.library })
  t.regex(sum.reasons.join(), words)
  t.regex(how.reason, words)
  t.deepEqual([how.live, how.polled], covered)
  t.is(descriptors.level, 'normal')
  t.is(descriptors.classes.watches.refused, 0)
  t.notRegex(`${daemon.log} ${JSON.stringify(how)}`, /disk|space left|DISK_FULL|BUDGET_EXHAUSTED/)
}

function allow(daemon: TestDaemon, what: 'watches' | 'instances', count: number): void {
  const script = `echo ${count} >/proc/sys/user/max_inotify_${what}`
  const { status, stderr } = spawnSync('nsenter', [
    '-U',
    '--preserve-credentials',
    '-t',
    `${daemon.pid}`,
    'sh',
    '-c',
    script,
  ])
  if (status !== 0) throw new Error(stderr.toString())
}
