// How much memory is used, and how much there may be before the system ends somebody for it: of the control group where that has a
// bound, as in a container, else of the machine. Read through descriptors that are held from the boot on: at exhaustion none could
// be opened, and Node's own functions would throw.
import { existsSync, readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { LIMITS } from '../base/limits.js'
import { again } from '../base/shortage.js'
import { HeldFile, type Words } from './held-file.js'

export interface MemoryUse {
  /** Bytes that the system cannot take back by itself: what it keeps of files is not among them. */
  readonly used: number
  readonly most: number
  /** Whose bound it is. */
  readonly of: 'control group' | 'machine'
}

export interface MemoryPlaces {
  readonly proc?: string
  readonly cgroups?: string
  /** Between two looks that are really made: some kernels sum up for each of them. */
  readonly lookMs?: number
}

/** Of these a system has two. */
interface Sources {
  /** The bound of the group, where that is a file of its own. */
  readonly bound?: HeldFile | null
  readonly group?: HeldFile | null
  /** What this process holds, for where the group has no bound. */
  readonly own?: HeldFile | null
}

/** What a control group of the second version has that no writing to disk would free. */
const UNTAKEABLE = ['anon', 'shmem', 'kernel_stack', 'pagetables', 'sock', 'slab_unreclaimable']
/** The same of the first version, with the groups below it. */
const UNTAKEABLE_FIRST = ['total_rss', 'total_shmem']
/** And of a process, in KiB. */
const UNTAKEABLE_OWN = ['RssAnon:', 'RssShmem:']

export class MemoryFiles {
  readonly #sources: Sources
  readonly #total = totalmem()
  readonly #lookMs: number
  #lookedAt = -Infinity
  #seen: MemoryUse | null = null

  constructor({ proc = '/proc', cgroups = '/sys/fs/cgroup', lookMs = LIMITS.memoryLookMs }: MemoryPlaces = {}) {
    this.#sources = process.platform === 'linux' ? openSources(proc, cgroups) : {}
    this.#lookMs = lookMs
  }

  /** Null where the system does not say. */
  read(): MemoryUse | null {
    const now = performance.now()
    if (now - this.#lookedAt < this.#lookMs) return this.#seen
    this.#lookedAt = now
    return (this.#seen = this.#read())
  }

  close(): void {
    for (const file of Object.values(this.#sources) as (HeldFile | null)[]) file?.close()
  }

  #read(): MemoryUse | null {
    const { bound, group, own } = this.#sources
    const words = group?.words()
    const most = bound ? boundOf(bound.text()) : (words?.get('hierarchical_memory_limit') ?? Infinity)
    const isBounded = most < this.#total
    const used = words && (isBounded || !own) ? usedOfGroup(words) : 1_024 * sumOf(own?.words(), UNTAKEABLE_OWN)
    if (used === 0) return null
    return isBounded ? { used, most, of: 'control group' } : { used, most: this.#total, of: 'machine' }
  }
}

function openSources(proc: string, cgroups: string): Sources {
  const own = join(proc, 'self/status')
  const paths = pathsOfGroups(join(proc, 'self/cgroup'))
  // It could not be read: what is mounted may be the group of all, and is no guess at this one's.
  if (paths.size === 0) return { own: HeldFile.open(own) }
  return openFirst(join(cgroups, 'memory'), own, paths.get('memory')) ?? openSecond(cgroups, own, paths.get(''))
}

/** Of the first version, whose one file says the bound as well, by whomever it was set. */
function openFirst(mount: string, own: string, path = '/'): Sources | null {
  // In a container the path may be that of the host, and what is mounted the group itself.
  const folder = [join(mount, path), mount].find((each) => existsSync(join(each, 'memory.stat')))
  if (folder === undefined) return null
  return { group: HeldFile.open(join(folder, 'memory.stat')), own: HeldFile.open(own) }
}

/** Of the second version: of this group and those above it the one that has the lowest bound when it is opened. */
function openSecond(mount: string, own: string, path = '/'): Sources {
  const groups = [...upwards(join(mount, path), mount)].flatMap((folder) => {
    const text = textOf(join(folder, 'memory.max'))
    return text === null ? [] : [{ folder, most: boundOf(text) }]
  })
  if (groups.length === 0) return { own: HeldFile.open(own) }
  const { folder, most } = groups.reduce((best, each) => (each.most < best.most ? each : best))
  const bound = HeldFile.open(join(folder, 'memory.max'))
  return most < Infinity
    ? { bound, group: HeldFile.open(join(folder, 'memory.stat')) }
    : { bound, own: HeldFile.open(own) }
}

function boundOf(text: string | null): number {
  return text === null || text.startsWith('max') ? Infinity : Number(text)
}

function usedOfGroup(words: Words): number {
  return sumOf(words, words.has('total_rss') ? UNTAKEABLE_FIRST : UNTAKEABLE)
}

function sumOf(words: Words | null | undefined, names: readonly string[]): number {
  return names.reduce((sum, name) => sum + (words?.get(name) ?? 0), 0)
}

function* upwards(folder: string, last: string): Generator<string> {
  for (let each = folder; ; each = dirname(each)) {
    yield each
    if (each === last || each === dirname(each)) return
  }
}

/** By controller; the one group of the second version has none. */
function pathsOfGroups(path: string): Map<string, string> {
  const lines = (textOf(path) ?? '').split('\n').map((line) => /^\d+:([^:]*):(.*)$/.exec(line))
  return new Map(
    lines.flatMap((found) => (found ? found[1]!.split(',').map((name) => [name, found[2]!] as const) : [])),
  )
}

function textOf(path: string): string | null {
  try {
    return again(() => readFileSync(path, 'utf8'))
  } catch {
    return null // a system that has none of it says nothing
  }
}
