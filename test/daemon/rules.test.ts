// Rules and what they leave out, in a real daemon: told when asked, changed while it runs, kept over a restart.
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { eventually, type Loose, type TestDaemon } from '../harness/daemon.js'
import { play } from '../harness/scene.js'

function grow(root: string): void {
  for (const path of ['src', 'dist/deep', '.git/info', 'node_modules/x'])
    mkdirSync(join(root, path), { recursive: true })
  for (const path of ['src/a.ts', 'dist/deep/b.js', 'c.log', 'd', '.hidden']) writeFileSync(join(root, path), 'x')
  writeFileSync(join(root, '.gitignore'), '# built\n*.log\ndist/\n')
}

async function namesIn(daemon: TestDaemon, library: string): Promise<string[]> {
  return [...(await daemon.entries(library)).keys()].map((path) => path.split('/').at(-1)!).sort()
}

test.serial('rules hold from the first scan on, are told, changed, and explained', async (t) => {
  await play(async (scene) => {
    const root = scene.path('tree')
    grow(root)
    const first = await scene.daemon()
    const { id: library } = await first.call('libraries.create', { name: 'ruled' })
    const rules = { gitignore: true, noGit: true, noHidden: true }
    const { location, job, leavesOut } = await first.call('locations.add', { library, path: root, rules })
    t.true(leavesOut.includes('what git ignores'))
    t.deepEqual((await first.jobDone(library, job)).leftOut, { gitignore: 2, git: 2, hidden: 1 })
    const inside = ['a.ts', 'd', 'node_modules', 'src', 'x']
    t.deepEqual(
      (await namesIn(first, library)).filter((name) => name !== 'tree'),
      inside,
    )
    const [item] = await first.call('locations.list', { library })
    t.deepEqual(item.rules, rules)
    t.deepEqual(item.leftOut, { gitignore: 2, git: 2, hidden: 1 })

    const why = (path: string, daemon = first) => daemon.call('files.explain', { library, path: join(root, path) })
    t.like(await why('src/a.ts'), { indexed: true, state: 'indexed', location })
    const ignored = await why('dist/deep/b.js')
    t.like(ignored, { indexed: false, state: 'leftOut', at: join(root, 'dist') })
    t.deepEqual(ignored.rule, { rule: 'gitignore', pattern: 'dist/', file: join(root, '.gitignore'), line: 3 })
    t.deepEqual((await why('.hidden')).rule, { rule: 'hidden' })
    t.like(await why('src/none'), { state: 'notOnDisk', indexed: false })
    t.like(await why('d/below'), { state: 'notInDirectory', at: join(root, 'd') })
    writeFileSync(join(root, 'src/new'), '')
    symlinkSync('src', join(root, 'link'))
    t.like(await why('src/new'), { state: 'notYet', indexed: false })
    t.like(await why('link/a.ts'), { state: 'behindLink', at: join(root, 'link') })
    rmSync(join(root, 'd'))
    t.like(await why('d'), { state: 'gone', indexed: true })
    t.like(await first.call('files.explain', { library, path: '/elsewhere' }), { state: 'noLocation' })

    const page = await first.call('files.leftOut', { library, path: root, limit: 2 })
    t.deepEqual(
      page.items.map(({ name }: Loose) => name),
      ['.git', '.gitignore'],
    )
    const rest = await first.call('files.leftOut', { library, path: root, limit: 5, cursor: page.cursor })
    t.deepEqual(
      rest.items.map(({ name, rule }: Loose) => [name, rule.rule]),
      [
        ['.hidden', 'hidden'],
        ['c.log', 'gitignore'],
        ['dist', 'gitignore'],
      ],
    )
    t.is(rest.cursor, undefined)
    t.is(await first.codeOf('files.leftOut', { library, path: join(root, 'dist') }), 'FILE_NOT_FOUND')
    const file = join(root, 'src/a.ts')
    const ofFile = await t.throwsAsync(first.call('files.leftOut', { library, path: file }))
    t.true(ofFile?.message.includes(`${file} is no directory`), ofFile?.message)
    t.is(await first.codeOf('locations.update', { library, location, rules: { accept: ['!a'] } }), '-32602')

    const changed = await first.call('locations.update', { library, location, rules: { noDevDirs: true } })
    await first.jobDone(library, changed.job)
    t.deepEqual(
      (await namesIn(first, library)).filter((name) => name !== 'tree'),
      ['.git', '.gitignore', '.hidden', 'a.ts', 'c.log', 'info', 'link', 'new', 'src'],
    )
    await first.stop()
    const second = await scene.daemon()
    t.deepEqual((await second.call('locations.list', { library }))[0].rules, { noDevDirs: true })
    t.deepEqual((await why('dist', second)).rule, { rule: 'dev' })
  })
})

test.serial('a watched location follows under other rules as soon as it has them', async (t) => {
  await play(async (scene) => {
    const root = scene.path('tree')
    grow(root)
    const daemon = await scene.daemon()
    const { id: library } = await daemon.call('libraries.create', { name: 'watched' })
    const { location, job } = await daemon.call('locations.add', { library, path: root, watch: true })
    await daemon.jobDone(library, job)
    // Not by a walk through listings: a directory may go between its name and its children.
    const has = async (name: string) => {
      const { items } = await daemon.call('search.files', { library, query: name })
      return items.some((item: { name: string }) => item.name === name)
    }
    await daemon.call('locations.update', { library, location, rules: { gitignore: true } })
    await eventually('what git ignores goes', 60_000, async () => !(await has('c.log')))
    writeFileSync(join(root, 'e.log'), '')
    writeFileSync(join(root, 'e.txt'), '')
    await eventually('what is new and not ignored comes', 60_000, () => has('e.txt'))
    t.false(await has('e.log'))
    writeFileSync(join(root, '.gitignore'), 'e.txt\n')
    await eventually('other lines hold', 60_000, async () => (await has('e.log')) && !(await has('e.txt')))
  })
})

test.serial(
  'a directory that the disk does not give is told, kept, and verified by the next scan that can read it',
  async (t) => {
    await play(async (scene) => {
      const root = scene.tree('tree', 40, 20)
      const shim = scene.shim()
      const daemon = await scene.daemon({ env: shim.env })
      const { library, location } = await daemon.index('failing', root)
      const rule = shim.fail({ calls: 'open', path: `${root}/d1`, errno: 'EIO' })
      const again = await daemon.call('locations.rescan', { library, location })
      t.is((await daemon.jobDone(library, again.job)).failureCount, 1)
      t.true(rule.failed > 0)
      t.is((await daemon.call('libraries.info', { library })).entries, 43)
      const [{ unverified }] = await daemon.call('locations.list', { library })
      t.is(unverified.count, 1)
      t.like(unverified.first[0], { path: join(root, 'd1'), code: 'EIO', tries: 1 })
      const why = await daemon.call('files.explain', { library, path: join(root, 'd1', 'file 20.txt') })
      t.like(why, { indexed: true, state: 'indexed' })
      t.like(why.unverified, { path: join(root, 'd1'), code: 'EIO' })
      rule.end()
      const last = await daemon.call('locations.rescan', { library, location })
      await daemon.jobDone(library, last.job)
      t.is((await daemon.call('locations.list', { library }))[0].unverified, undefined)
    })
  },
)
