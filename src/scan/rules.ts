// What an index leaves out, and why: the one answer for walk, watcher and whoever asks about a path.
//
// Rejected beats ignored, ignored beats accepted. What is left out takes everything below it along.
import { basename } from 'node:path'
import type { LocationRules } from '../protocol/operations.js'
import { guessType } from './content-type.js'
import { Grounds, NO_REPOSITORY, ruleFilesIn, type Ground, type ReadText, type Source } from './ground.js'
import { encodeName, joined, printable, relativeTo } from './names.js'
import { lastMatch, patternsOf, type Pattern, type Patterns } from './patterns.js'
import { KIND, KIND_MASK, type Listing } from './read.js'

export const RULES = [
  'own',
  'system',
  'hidden',
  'git',
  'dev',
  'reject',
  'ignore',
  'gitignore',
  'images',
  'accept',
] as const
export type RuleName = (typeof RULES)[number]

/** Why something is left out: the rule, and the line of it where it has lines. */
export interface Verdict {
  readonly rule: RuleName
  readonly pattern?: string
  /** Where the pattern stands, for a rule of git. */
  readonly file?: string
  readonly line?: number
}

/** What of one directory is left out. */
export interface LeftOut {
  readonly names: readonly string[]
  readonly counts: Partial<Record<RuleName, number>>
}

/** By place in the listing: 1 for what is kept. */
export interface Sifted {
  readonly kept: Uint8Array
  readonly leftOut: LeftOut
}

export interface RulesSetup {
  /** Absolute, as in scan/names. */
  readonly root: string
  /** Absolute paths of the daemon's own. */
  readonly leftOut: readonly string[]
  readonly rules?: LocationRules | null | undefined
  readonly readText?: ReadText | undefined
}

type Judge = (name: string, isDirectory: boolean) => Verdict | null

export class Rules {
  readonly #root: string
  readonly #own: readonly string[]
  readonly #rules: LocationRules | null
  readonly #reject: Patterns
  readonly #ignore: Patterns
  readonly #accept: Patterns
  readonly #picks: boolean
  readonly #grounds: Grounds | null

  constructor({ root, leftOut, rules, readText }: RulesSetup) {
    this.#root = root
    this.#own = leftOut
    this.#rules = rules && !isEmpty(rules) ? rules : null
    this.#reject = patternsOf(rules?.reject ?? [])
    this.#ignore = patternsOf(rules?.ignore ?? [])
    this.#accept = patternsOf(rules?.accept ?? [])
    this.#picks = rules?.onlyImages === true || this.#accept.list.length > 0
    this.#grounds = rules?.gitignore ? new Grounds(root, readText) : null
  }

  /**
   * What holds in a directory below one where `above` holds; `names` are all that lie in it.
   *
   * @throws the system's error, naming the file, where rules are there and cannot be read
   */
  enter(above: Ground | null, path: string, names: readonly string[]): Ground | null {
    if (!this.#rules) return null
    const ground = this.#grounds?.enter(above, joined(this.#root, path), names) ?? above ?? NO_REPOSITORY
    if (ground.accepted || this.#accept.list.length === 0 || path === '') return ground
    const accepted = lastMatch(this.#accept, basename(path), () => path, true) !== undefined
    return accepted ? { ...ground, accepted } : ground
  }

  /** What holds above a directory, for a walk that begins there. @throws as `enter` does */
  above(path: string): Ground | null {
    if (!this.#rules || path === '') return null
    let ground: Ground | null = null
    const parts = path.split('/')
    for (let depth = 0; depth < parts.length; depth++) {
      const here = parts.slice(0, depth).join('/')
      ground = this.enter(ground, here, this.#grounds ? ruleFilesIn(joined(this.#root, here)) : [])
    }
    return ground
  }

  /** Null where all is kept, the usual case. */
  sift(
    ground: Ground | null,
    path: string,
    { kinds }: Pick<Listing, 'kinds'>,
    names: readonly string[],
  ): Sifted | null {
    const judge = this.judge(ground, path)
    if (!judge) return null
    let kept: Uint8Array | null = null
    const left: string[] = []
    const counts: Partial<Record<RuleName, number>> = {}
    for (let at = 0; at < names.length; at++) {
      const verdict = judge(names[at]!, (kinds[at]! & KIND_MASK) === KIND.directory)
      if (!verdict) continue
      kept ??= new Uint8Array(names.length).fill(1)
      kept[at] = 0
      left.push(names[at]!)
      counts[verdict.rule] = (counts[verdict.rule] ?? 0) + 1
    }
    return kept && { kept, leftOut: { names: left, counts } }
  }

  /** Whether nothing that lies below a directory could be left out, and nothing there says so either. */
  keepsAll(above: Ground | null, path: string): boolean {
    if (above || this.#rules) return false
    if (this.#own.length === 0) return true
    const base = baseOf(joined(this.#root, path))
    return !this.#own.some((each) => each.startsWith(base))
  }

  /** Of what lies in one directory; null where nothing could be left out. */
  judge(ground: Ground | null, path: string): Judge | null {
    const here = joined(this.#root, path)
    const own = this.#ownIn(here)
    if (!ground || !this.#rules) return own && ((name) => (own.has(name) ? { rule: 'own' } : null))
    const rules = this.#rules
    const below = (name: string) => (path === '' ? name : `${path}/${name}`)
    const bases = ground.sources.map((source) => prefixOf(source.base, here))
    return (name, isDirectory) => {
      if (own?.has(name)) return { rule: 'own' }
      const toggled = byToggle(rules, here, name, isDirectory)
      if (toggled) return { rule: toggled }
      const rejected = lastMatch(this.#reject, name, () => below(name), isDirectory)
      if (rejected) return { rule: 'reject', pattern: rejected.text }
      return (
        this.#ignored(ground.sources, bases, name, below, isDirectory) ??
        (this.#picks && !isDirectory && !ground.accepted ? this.#notPicked(name, below) : null)
      )
    }
  }

  /** Own lines come first, then those of git, the deepest first; the first list that knows the name decides. */
  #ignored(
    sources: readonly Source[],
    bases: readonly string[],
    name: string,
    below: (name: string) => string,
    isDirectory: boolean,
  ): Verdict | null {
    const own = lastMatch(this.#ignore, name, () => below(name), isDirectory)
    if (own) return own.isNegated ? null : { rule: 'ignore', pattern: own.text }
    if (sources.length === 0 || name === '.git') return null
    const bytes = bytesOf(name)
    for (let at = sources.length - 1; at >= 0; at--) {
      const match = lastMatch(sources[at]!.patterns, bytes, () => bytesOf(bases[at]! + name), isDirectory)
      if (match) return match.isNegated ? null : ofGit(match, sources[at]!)
    }
    return null
  }

  #notPicked(name: string, below: (name: string) => string): Verdict | null {
    if (this.#rules!.onlyImages && isImage(name)) return null
    if (this.#accept.list.length === 0) return { rule: 'images' }
    return lastMatch(this.#accept, name, () => below(name), false) ? null : { rule: 'accept' }
  }

  #ownIn(here: string): ReadonlySet<string> | null {
    if (this.#own.length === 0) return null
    const base = baseOf(here)
    const names = this.#own.filter((each) => each.startsWith(base)).map((each) => each.slice(base.length))
    const direct = names.filter((each) => !each.includes('/'))
    return direct.length > 0 ? new Set(direct) : null
  }
}

/** What every path below it begins with. */
function baseOf(directory: string): string {
  return directory === '/' ? '/' : `${directory}/`
}

export function isEmpty({ accept, ignore, reject, ...toggles }: LocationRules): boolean {
  return ![accept, ignore, reject].some((globs) => globs && globs.length > 0) && !Object.values(toggles).includes(true)
}

function ofGit({ text, line }: Pattern, { file }: Source): Verdict {
  return { rule: 'gitignore', pattern: Buffer.from(text, 'latin1').toString(), file: printable(file), line }
}

/** What comes before a name in `here` on the way from `base`. */
function prefixOf(base: string, here: string): string {
  if (here === base) return ''
  return `${relativeTo(base, here)}/`
}

const PLAIN = /^[\0-\x7f]*$/

/** git compares bytes. */
function bytesOf(text: string): string {
  return PLAIN.test(text) ? text : encodeName(text).toString('latin1')
}

function byToggle(rules: LocationRules, here: string, name: string, isDirectory: boolean): RuleName | null {
  if (rules.noSystemFiles && isOfSystem(here, name)) return 'system'
  if (rules.noGit && OF_GIT.has(name)) return 'git'
  if (rules.noDevDirs && isDirectory && DEV_DIRECTORIES.has(name)) return 'dev'
  return rules.noHidden && name.startsWith('.') ? 'hidden' : null
}

const OF_GIT = new Set(['.git', '.gitignore', '.gitattributes', '.gitmodules', '.gitkeep', '.gitconfig'])

const DEV_DIRECTORIES = new Set(
  `node_modules bower_components .npm .yarn .pnpm-store .next .nuxt .svelte-kit .turbo .parcel-cache
   target dist build .gradle .idea .vscode .vs __pycache__ .venv venv .tox .nox .mypy_cache .pytest_cache .ruff_cache
   .cache Cache Caches tmp temp .terraform Pods DerivedData .bundle .ccls-cache`.split(/\s+/),
)

const SYSTEM_NAMES = new Set(
  `.DS_Store .Spotlight-V100 .Trashes .fseventsd .TemporaryItems .DocumentRevisions-V100 .directory lost+found
   Thumbs.db desktop.ini $RECYCLE.BIN`
    .split(/\s+/)
    .concat('System Volume Information'),
)
const SYSTEM_STARTS = ['.fuse_hidden', '.Trash-', '.nfs', '._']
/** At the top of a machine. */
const SYSTEM_DIRECTORIES = new Set(['dev', 'sys', 'proc', 'run', 'var', 'boot'])

function isOfSystem(here: string, name: string): boolean {
  if (here === '/' && SYSTEM_DIRECTORIES.has(name)) return true
  return name.endsWith('~') || SYSTEM_NAMES.has(name) || SYSTEM_STARTS.some((start) => name.startsWith(start))
}

function isImage(name: string): boolean {
  return guessType(name)?.kind === 'image'
}

/** In the words in which a rule is told to people. */
export const RULE_WORDS: Readonly<Record<RuleName, string>> = {
  own: "spacedrive's own directories",
  system: 'files of the system, backup copies',
  hidden: 'hidden files',
  git: "git's own files",
  dev: 'directories that tools make (node_modules, target, …)',
  reject: 'what it rejects',
  ignore: 'what it ignores',
  gitignore: 'what git ignores',
  images: 'all but images',
  accept: 'what it does not accept',
}

/** One line a rule. `own` are directories of the daemon's; only those below the root are worth a line. */
export function describeRules(root: string, own: readonly string[], rules?: LocationRules | null): string[] {
  const below = own.filter((path) => path.startsWith(root === '/' ? '/' : `${root}/`))
  return [
    'other file systems mounted below it (mount points are kept)',
    ...below.map((path) => `${printable(path)}, which is spacedrive's own`),
    ...(rules ? describeOwn(rules) : []),
  ]
}

function describeOwn(rules: LocationRules): string[] {
  const toggles: [boolean | undefined, RuleName][] = [
    [rules.noSystemFiles, 'system'],
    [rules.noHidden, 'hidden'],
    [rules.noGit, 'git'],
    [rules.noDevDirs, 'dev'],
    [rules.gitignore, 'gitignore'],
  ]
  const picks = [...(rules.onlyImages ? ['images'] : []), ...(rules.accept ?? [])]
  return [
    ...toggles.flatMap(([on, rule]) => (on ? [RULE_WORDS[rule]] : [])),
    ...listed(rules.reject),
    ...listed(rules.ignore?.filter((glob) => !glob.startsWith('!'))),
    ...(picks.length > 0 ? [`files that are not ${some(picks)}`] : []),
  ]
}

function listed(globs: readonly string[] | undefined): string[] {
  return globs && globs.length > 0 ? [some(globs)] : []
}

const TOLD_MAX = 5

function some(words: readonly string[]): string {
  const more = words.length - TOLD_MAX
  return words.slice(0, TOLD_MAX).join(', ') + (more > 0 ? ` and ${more} more` : '')
}
