// What git ignores in each directory of a tree: the files of patterns that hold there, read once where they lie.
import { lstatSync, readSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { errnoOf, fromSystem } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { openGuarded } from './guard.js'
import { encodeName, printable, relativeTo } from './names.js'
import { lastMatch, parseLines, type Patterns } from './patterns.js'

/** One file of patterns, and where its patterns count from. */
export interface Source {
  readonly file: string
  readonly base: string
  readonly patterns: Patterns
  /** What the file was when it was read, '' where there was none. */
  readonly stamp: string
}

/** What holds in one directory. Directories without rules of their own share that of the one above. */
export interface Ground {
  /** The weakest first. */
  readonly sources: readonly Source[]
  readonly inRepository: boolean
  /** A directory on the way here matched what its location accepts. */
  readonly accepted: boolean
}

export interface Text {
  /** A character a byte. */
  readonly text: string
  readonly stamp: string
  /** More was there. */
  readonly isCut: boolean
}

/** Null where there is none: nothing, a link, or no file. @throws the system's error else, with `code` */
export type ReadText = (path: Buffer) => Text | null

/** Holds one descriptor, and none afterwards. */
export const readTextPlain: ReadText = (path) => {
  try {
    using file = openGuarded(path)
    const bytes = Buffer.allocUnsafe(Math.min(Number(file.stat.size), LIMITS.patternFileBytesMax))
    const length = readSync(file.fd, bytes, 0, bytes.length, 0)
    const isCut = Number(file.stat.size) > bytes.length
    const whole = bytes.toString('latin1', 0, length)
    return { text: isCut ? whole.slice(0, whole.lastIndexOf('\n') + 1) : whole, stamp: stampOf(file.stat), isCut }
  } catch (error) {
    const known = fromSystem(error)
    if (known.code === 'FILE_NOT_FOUND') return null
    const errno = errnoOf(known.cause) ?? errnoOf(error)
    // A link is not followed, as git does not; neither that nor a pipe holds rules.
    if (known.code === 'PATH_REFUSED' && errno !== 'EACCES' && errno !== 'EPERM') return null
    throw error
  }
}

/** A file of rules that is there and cannot be read says nothing about what it would leave out. */
export class RulesUnread extends Error {
  readonly code: string

  constructor(file: string, error: unknown) {
    const code = errnoOf((error as { cause?: unknown }).cause) ?? errnoOf(error) ?? 'EIO'
    super(`${code}: its rules cannot be read, ${printable(file)}`)
    this.code = code
  }
}

export class Grounds {
  readonly #root: string
  readonly #readText: ReadText

  constructor(root: string, readText: ReadText = readTextPlain) {
    this.#root = root
    this.#readText = readText
  }

  /** @param names of all that lies in `here` */
  enter(above: Ground | null, here: string, names: readonly string[]): Ground {
    const isTop = names.includes('.git') && isRepository(here)
    const ground = isTop ? this.#begin(here, above) : (above ?? this.#before())
    return ground.inRepository && names.includes('.gitignore') ? this.#with(ground, here) : ground
  }

  /** A repository knows nothing of one that it lies in. */
  #begin(here: string, above: Ground | null): Ground {
    const git = this.#gitOf(here)
    const file = join(git, 'info/exclude')
    const source = this.#source(file, here) ?? { file, base: here, patterns: parseLines(''), stamp: '' }
    return { sources: [source], inRepository: true, accepted: above?.accepted ?? false }
  }

  #with(ground: Ground, here: string): Ground {
    const source = this.#source(join(here, '.gitignore'), here)
    return source ? { ...ground, sources: [...ground.sources, source] } : ground
  }

  /** The repository that a location lies in, unless it leaves the location out itself. */
  #before(): Ground {
    const above: string[] = []
    for (let at = dirname(this.#root), last = this.#root; at !== last; last = at, at = dirname(at)) {
      above.push(at)
      if (isRepository(at)) return this.#downTo(above.reverse())
    }
    return NO_REPOSITORY
  }

  #downTo(above: readonly string[]): Ground {
    let ground = this.#begin(above[0]!, null)
    for (const [at, here] of above.entries()) {
      ground = this.#with(ground, here)
      if (isIgnored(ground, above[at + 1] ?? this.#root)) return NO_REPOSITORY
    }
    return ground
  }

  #source(file: string, base: string): Source | null {
    const read = this.#read(file)
    if (!read) return null
    const patterns = parseLines(read.text)
    const more = read.isCut ? 1 : 0
    return { file, base, patterns: { ...patterns, passedOver: patterns.passedOver + more }, stamp: read.stamp }
  }

  #read(file: string): Text | null {
    try {
      return this.#readText(encodeName(file))
    } catch (error) {
      if (fromSystem(error).code === 'BUDGET_EXHAUSTED') throw error
      throw new RulesUnread(file, error)
    }
  }

  /** Where a repository has what is its own: a work tree and a submodule only name the place. */
  #gitOf(here: string): string {
    const place = join(here, '.git')
    const named = this.#read(place)?.text
    if (named === undefined) return place
    const own = resolved(here, /^gitdir: (.*)/.exec(named)?.[1] ?? '')
    const common = this.#read(join(own, 'commondir'))?.text
    return common === undefined ? own : resolved(own, common)
  }
}

export const NO_REPOSITORY: Ground = { sources: [], inRepository: false, accepted: false }

function resolved(from: string, latin1: string): string {
  const path = Buffer.from(latin1.trimEnd(), 'latin1').toString()
  return path.startsWith('/') ? path : join(from, path)
}

function isIgnored({ sources }: Ground, path: string): boolean {
  const bytes = (text: string) => encodeName(text).toString('latin1')
  const name = bytes(path.slice(path.lastIndexOf('/') + 1))
  for (const { base, patterns } of [...sources].reverse()) {
    const match = lastMatch(patterns, name, () => bytes(relativeTo(base, path)), true)
    if (match) return !match.isNegated
  }
  return false
}

/** Also one that is just being made, and whose HEAD is still to come. */
function isRepository(here: string): boolean {
  const git = mustLook(join(here, '.git'))
  return git !== null && (git.isFile() || git.isDirectory())
}

/** Null only where there is nothing. */
export function statIfThere(path: string) {
  try {
    return lstatSync(encodeName(path), { bigint: true })
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return null
    throw error
  }
}

function mustLook(path: string) {
  try {
    return statIfThere(path)
  } catch (error) {
    throw new RulesUnread(path, error)
  }
}

/** The names that rules ask about, of those in a directory. */
export const RULE_FILES = ['.git', '.gitignore']

/** Those that are there, without reading it. */
export function ruleFilesIn(here: string): string[] {
  return RULE_FILES.filter((name) => mustLook(join(here, name)) !== null)
}

/** The first file of patterns that is not what it was. Opens nothing. */
export function staleIn({ sources }: Ground): Source | undefined {
  return sources.find(({ file, stamp }) => {
    const stat = look(file)
    return (stat?.isFile() ? stampOf(stat) : '') !== stamp
  })
}

function look(path: string) {
  try {
    return lstatSync(encodeName(path), { bigint: true })
  } catch {
    return null
  }
}

function stampOf({ ino, size, mtimeNs }: { ino: bigint; size: bigint; mtimeNs: bigint }): string {
  return `${ino} ${size} ${mtimeNs}`
}
