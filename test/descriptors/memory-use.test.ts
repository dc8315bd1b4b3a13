// How much memory is used and how much there may be: of both versions of control groups, and of a machine without any.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { totalmem, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test from 'ava'
import { MemoryFiles } from '../../src/descriptors/memory-use.js'
import { countOpen } from '../../src/descriptors/rlimit.js'

const MB = 1 << 20

/** Files as the kernel shows them. */
function system(files: Readonly<Record<string, string>>) {
  const root = mkdtempSync(join(tmpdir(), 'sd-memory-'))
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  for (const [path, text] of Object.entries(files)) write(path, text)
  const memory = new MemoryFiles({ proc: join(root, 'proc'), cgroups: join(root, 'groups'), lookMs: 0 })
  const end = () => {
    memory.close()
    rmSync(root, { recursive: true })
  }
  return { memory, write, [Symbol.dispose]: end }
}

const STATUS = 'Name:\tnode\nVmRSS:\t  300000 kB\nRssAnon:\t  102400 kB\nRssFile:\t  90000 kB\nRssShmem:\t    1024 kB\n'

if (process.platform === 'linux') {
  test('a group of the second version has what cannot be taken back of its memory, and its bound, also after either has changed', (t) => {
    const stat = (anon: number) =>
      `anon ${anon * MB}\nfile ${900 * MB}\nshmem ${MB}\nsock ${2 * MB}\nslab_reclaimable ${MB}\n`
    using yard = system({
      'proc/self/status': STATUS,
      'proc/self/cgroup': '0::/system.slice/spacedrive.service\n',
      'groups/system.slice/spacedrive.service/memory.max': `${1_000 * MB}\n`,
      'groups/system.slice/spacedrive.service/memory.stat': stat(100),
    })
    t.deepEqual(yard.memory.read(), { used: 103 * MB, most: 1_000 * MB, of: 'control group' })
    yard.write('groups/system.slice/spacedrive.service/memory.stat', stat(950))
    t.is(yard.memory.read()!.used, 953 * MB)
    yard.write('groups/system.slice/spacedrive.service/memory.max', `${2_000 * MB}\n`)
    t.is(yard.memory.read()!.most, 2_000 * MB)
  })

  test('a group without a bound is not asked: what this process holds counts, of what the machine has or a bound that came later', (t) => {
    const path = 'groups/app.slice/memory.max'
    using yard = system({
      'proc/self/status': STATUS,
      'proc/self/cgroup': '0::/app.slice\n',
      [path]: 'max\n',
      'groups/app.slice/memory.stat': `anon ${900 * MB}\n`,
    })
    t.deepEqual(yard.memory.read(), { used: 101 * MB, most: totalmem(), of: 'machine' })
    yard.write(path, `${200 * MB}\n`)
    t.deepEqual(yard.memory.read(), { used: 101 * MB, most: 200 * MB, of: 'control group' })
  })

  test('the group that has the lowest bound counts, with what is in it', (t) => {
    using yard = system({
      'proc/self/cgroup': '0::/outer/inner\n',
      'groups/outer/memory.max': `${500 * MB}\n`,
      'groups/outer/memory.stat': `anon ${400 * MB}\n`,
      'groups/outer/inner/memory.max': 'max\n',
      'groups/outer/inner/memory.stat': `anon ${10 * MB}\n`,
    })
    t.deepEqual(yard.memory.read(), { used: 400 * MB, most: 500 * MB, of: 'control group' })
  })

  test('in a container, where the path is that of the host, the group is what is mounted', (t) => {
    using second = system({
      'proc/self/cgroup': '0::/docker/0123\n',
      'groups/memory.max': `${100 * MB}\n`,
      'groups/memory.stat': `anon ${70 * MB}\n`,
    })
    t.deepEqual(second.memory.read(), { used: 70 * MB, most: 100 * MB, of: 'control group' })
    using first = system({
      'proc/self/cgroup': '4:cpu,memory:/docker/0123\n0::/\n',
      'groups/memory/memory.stat': `rss ${MB}\nhierarchical_memory_limit ${100 * MB}\ntotal_rss ${60 * MB}\ntotal_shmem ${MB}\n`,
    })
    t.deepEqual(first.memory.read(), { used: 61 * MB, most: 100 * MB, of: 'control group' })
  })

  test('a group of the first version without a bound, and none at all: what this process holds, of what the machine has', (t) => {
    using unbounded = system({
      'proc/self/status': STATUS,
      'proc/self/cgroup': '4:memory:/some\n',
      'groups/memory/some/memory.stat': `hierarchical_memory_limit 9223372036854771712\ntotal_rss ${MB}\n`,
    })
    t.deepEqual(unbounded.memory.read(), { used: 101 * MB, most: totalmem(), of: 'machine' })
    using none = system({ 'proc/self/status': STATUS })
    t.deepEqual(none.memory.read(), { used: 101 * MB, most: totalmem(), of: 'machine' })
    using nothing = system({})
    t.is(nothing.memory.read(), null)
  })

  test('what a process says of its memory is found behind the very many groups that it is in', (t) => {
    const groups = Array.from({ length: 65_536 }, (_, at) => 4_000_000_000 + at).join(' ')
    using yard = system({ 'proc/self/status': STATUS.replace('VmRSS', `Groups:\t${groups} \nVmRSS`) })
    t.deepEqual(yard.memory.read(), { used: 101 * MB, most: totalmem(), of: 'machine' })
    yard.write('proc/self/status', STATUS)
    t.is(yard.memory.read()!.used, 101 * MB)
  })

  test('where it cannot be read which group this one is in, that of all is no guess', (t) => {
    using yard = system({
      'proc/self/status': STATUS,
      'groups/memory/memory.stat': `hierarchical_memory_limit ${1_000 * MB}\ntotal_rss ${900 * MB}\n`,
    })
    t.deepEqual(yard.memory.read(), { used: 101 * MB, most: totalmem(), of: 'machine' })
  })

  test.serial('this system says it, by descriptors that are held and come back', (t) => {
    const before = countOpen()
    const memory = new MemoryFiles()
    const held = countOpen()
    const { used, most } = memory.read()!
    t.true(used > 0 && used < most)
    t.is(countOpen(), held)
    memory.close()
    t.is(countOpen(), before)
  })
}
