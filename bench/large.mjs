// The large tree: a first index against `find -printf` and `updatedb`, an unchanged rescan, bytes an entry, memory meanwhile, and how
// all of it grows from ten thousand entries to a million. ENTRIES sets the largest tree, ROUNDS how often each is measured.
import { execFileSync, spawnSync } from 'node:child_process'
import { openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { index, jobDone, median, ratio, scratch, startDaemon, tell } from './harness.mjs'
import { tree } from './tree.mjs'

const ROUNDS = Number(process.env.ROUNDS ?? 3)
const MOST = Number(process.env.ENTRIES ?? 1_000_000)
const SIZES = [MOST / 100, MOST / 10, MOST]
const nowhere = openSync('/dev/null', 'w')
const hasUpdatedb = spawnSync('updatedb', ['--version']).error === undefined

function find(path) {
  execFileSync('find', [path, '-xdev', '-printf', '%i %s %T@ %p\n'], { stdio: ['ignore', nowhere, 'inherit'] })
}

function updatedb(path) {
  const args = [
    '-l',
    '0',
    '-o',
    join(scratch, 'plocate.db'),
    '-U',
    path,
    '--prunepaths',
    '',
    '--prune-bind-mounts',
    'no',
  ]
  execFileSync('updatedb', args, { stdio: ['ignore', nowhere, 'inherit'] })
}

async function timed(work) {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}

function residentBytes(pid) {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024
}

/** The most that the daemon has in memory meanwhile. */
async function peak(pid, work) {
  let most = 0
  const looking = setInterval(() => (most = Math.max(most, residentBytes(pid))), 20)
  await work()
  clearInterval(looking)
  return most
}

/** One daemon for each round, so that no round has the memory of the one before. */
async function measure(path) {
  const daemon = await startDaemon()
  const times = { find: await timed(() => find(path)) }
  let made
  const memory = await peak(daemon.pid, async () => {
    times.index = await timed(async () => (made = await index(daemon.call, path)))
  })
  if (hasUpdatedb) times.updatedb = await timed(() => updatedb(path))
  times.rescan = await timed(async () =>
    jobDone(daemon.call, made.library, (await daemon.call('locations.rescan', made)).job),
  )
  const { entries, databaseBytes } = await daemon.call('libraries.info', { library: made.library })
  await daemon.stop()
  return { ...times, memory, entries, bytes: databaseBytes / entries }
}

const measured = new Map()
for (const size of SIZES) {
  const path = tree(size)
  find(path)
  const rounds = []
  for (let round = 0; round < ROUNDS; round++) rounds.push(await measure(path))
  measured.set(size, rounds)
  const of = (key) => rounds.map((each) => Math.round(each[key])).join(' ')
  const memory = rounds.map((each) => Math.round(each.memory / 2 ** 20)).join(' ')
  console.log(
    `${rounds[0].entries} entries; ms: find ${of('find')}, index ${of('index')}, rescan ${of('rescan')}` +
      `${hasUpdatedb ? `, updatedb ${of('updatedb')}` : ''}; memory ${memory} MB`,
  )
}
const [small, middle, large] = SIZES.map((size) => measured.get(size))
const all = (rounds, key) => rounds.map((each) => each[key])
const each = (rounds) => rounds.map(({ index, entries }) => index / entries)
tell('first index, of the speed of find -printf', ratio(all(large, 'find'), all(large, 'index')), 0.6)
if (hasUpdatedb) tell('first index, of the speed of updatedb', ratio(all(large, 'updatedb'), all(large, 'index')), 0)
tell('unchanged rescan, of the speed of the first index', ratio(all(large, 'index'), all(large, 'rescan')), 2)
tell(
  'bytes an entry on disk, search and folder sizes included',
  ratio(
    all(large, 'bytes'),
    large.map(() => 1),
  ),
  110,
  'lower',
)
tell(
  'MB in memory at the most',
  ratio(
    all(large, 'memory'),
    large.map(() => 2 ** 20),
  ),
  200,
  'lower',
)
tell('memory, of that for a tenth of the entries', ratio(all(large, 'memory'), all(middle, 'memory')), 1.2, 'lower')
tell('time an entry, of that in a tree a hundredth as large', ratio(each(large), each(small)), 1.2, 'lower')
console.log(
  `time an entry: ${[small, middle, large].map((rounds) => `${(1000 * median(each(rounds))).toFixed(1)} µs`).join(', ')}`,
)
