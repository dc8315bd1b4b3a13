// Answers why a path is in an index or is not: what the index has of it, beside what a look at the disk finds.
import { SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { normalize } from '../base/places.js'
import { markOf, readPlace, writePlace } from '../library/cursors.js'
import type { Library } from '../library/library.js'
import type { Location } from '../library/locations.js'
import type { Explanation, FileItem, LeftOutItem, RuleOf, UnverifiedDirectory } from '../protocol/messages.js'
import type { ParamsOf } from '../protocol/operations.js'
import { ENTRY_KINDS } from '../protocol/words.js'
import type { Finding, LeftOutChild, Looked, LookSetup } from '../scan/explain.js'
import { encodeName, isPrintable, joined, printable, relativeTo } from '../scan/names.js'
import { RULE_WORDS, type Verdict } from '../scan/rules.js'
import type { Looker } from './walker.js'

export class Explainer {
  readonly #look: Looker
  readonly #leftOut: readonly string[]

  constructor(look: Looker, leftOut: readonly string[]) {
    this.#look = look
    this.#leftOut = leftOut
  }

  async explain(library: Library, { path: given }: ParamsOf<'files.explain'>): Promise<Explanation> {
    const path = normalize(given)
    const location = library.locations.covering(path)
    if (!location)
      return { path, indexed: false, state: 'noLocation', reason: 'it lies in no location of this library' }
    const { finding } = await this.#lookAt(location, path)
    const entry = entryAt(library, path)
    const unverified = unverifiedAbove(library, location, relativeTo(location.path, path))
    return {
      path,
      indexed: entry !== undefined,
      ...(entry ? { entry } : {}),
      location: location.uid,
      ...said(finding, entry, location, path),
      ...(unverified ? { unverified } : {}),
    }
  }

  async leftOut(
    library: Library,
    params: ParamsOf<'files.leftOut'>,
  ): Promise<{ items: LeftOutItem[]; cursor?: string }> {
    const path = normalize(params.path)
    const location = library.locations.covering(path)
    if (!location) throw new SpacedriveError('FILE_NOT_FOUND', `${printable(path)} lies in no location of this library`)
    const most = params.limit ?? LIMITS.pageDefault
    const mark = markOf(library.id, path)
    const list = { after: params.cursor === undefined ? '' : readPlace(params.cursor, isName, mark), most }
    const { finding, leftOut, more } = await this.#lookAt(location, path, list)
    if (!leftOut && finding.state === 'kept')
      throw new SpacedriveError('FILE_NOT_FOUND', `${printable(path)} is no directory`, { hint: 'Name a directory.' })
    if (!leftOut) throw new SpacedriveError('FILE_NOT_FOUND', said(finding, undefined, location, path).reason)
    const items = leftOut.map((child) => itemOf(child, path))
    return more ? { items, cursor: writePlace(leftOut.at(-1)!.name, mark) } : { items }
  }

  #lookAt(location: Location, path: string, list?: LookSetup['list']): Promise<Looked> {
    const { rules } = location
    const look = { path: relativeTo(location.path, path), list }
    return this.#look({ root: encodeName(location.path), leftOut: this.#leftOut, rules, look })
  }
}

function entryAt(library: Library, path: string): FileItem | undefined {
  try {
    return library.entries.getByPath(path)
  } catch (error) {
    if (error instanceof SpacedriveError && error.code === 'FILE_NOT_FOUND') return undefined
    throw error
  }
}

type Said = Pick<Explanation, 'state' | 'reason' | 'at' | 'rule' | 'error'>

function said(finding: Finding, entry: FileItem | undefined, location: Location, path: string): Said {
  if (finding.state === 'kept') return entry ? INDEXED : notYet(location)
  const place = joined(location.path, finding.at)
  const at = place === path ? {} : { at: printable(place) }
  const what = place === path ? 'it' : printable(place)
  if (finding.state === 'leftOut') {
    const { verdict } = finding
    return { state: 'leftOut', ...at, rule: verdict, reason: `${what} is left out: ${wordsOf(verdict)}` }
  }
  if (finding.state === 'unread') {
    const { code, message } = finding
    return { state: 'unread', ...at, error: { code, message }, reason: `${what} cannot be read: ${message}` }
  }
  if (finding.state === 'missing')
    return entry
      ? { state: 'gone', ...at, reason: `${what} is not on disk any more; the next scan takes it out` }
      : { state: 'notOnDisk', ...at, reason: `${what} is not on disk` }
  return { ...NOT_BELOW[finding.state], ...at, reason: `${what} ${NOT_BELOW[finding.state].reason}` }
}

const INDEXED: Said = { state: 'indexed', reason: 'it is in the index' }

const NOT_BELOW = {
  link: { state: 'behindLink', reason: 'is a symbolic link, and links are not followed' },
  noDirectory: { state: 'notInDirectory', reason: 'is no directory' },
  otherFileSystem: { state: 'otherFileSystem', reason: 'is another file system, which a location does not cross into' },
} as const satisfies Record<string, Said>

function notYet({ scannedAt, watch }: Location): Said {
  const since = scannedAt === null ? 'its location was not scanned to the end yet' : 'it came after the last scan'
  const when = watch ? 'it will be in the index soon' : '`spacedrive location rescan` takes it in'
  return { state: 'notYet', reason: `it is on disk and nothing leaves it out; ${since}: ${when}` }
}

function wordsOf({ rule, pattern, file, line }: Verdict): string {
  if (rule === 'gitignore') return `git ignores it by "${pattern}", line ${line} of ${file}`
  const by = pattern === undefined ? '' : ` ("${pattern}")`
  return `${RULE_WORDS[rule]}${by}`
}

/** The nearest, itself or above. */
function unverifiedAbove(library: Library, location: Location, relative: string): UnverifiedDirectory | undefined {
  for (let path = relative; ; path = path.slice(0, Math.max(0, path.lastIndexOf('/')))) {
    const id = library.entries.idAt(location, path)
    const row = id === undefined ? undefined : library.unverified.of(id)
    if (row) return library.unverifiedItem(row)
    if (path === '') return undefined
  }
}

function itemOf({ name, kind, verdict }: LeftOutChild, directory: string): LeftOutItem {
  return {
    name: printable(name),
    ...(isPrintable(name) ? {} : { nameBytes: encodeName(name).toString('base64') }),
    path: printable(joined(directory, name)),
    kind: ENTRY_KINDS[kind]!,
    rule: verdict satisfies RuleOf,
  }
}

function isName(value: unknown): value is string {
  return typeof value === 'string'
}
