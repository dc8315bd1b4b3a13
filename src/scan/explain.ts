// Why a path is in an index or is not, as far as disk and rules say: every directory on the way is looked at as a walk would.
import { accessSync, constants } from 'node:fs'
import { errnoOf, fromSystem } from '../base/errors.js'
import { ruleFilesIn, statIfThere, type Ground } from './ground.js'
import { decodeNames, encodeName, joined } from './names.js'
import { KIND, KIND_MASK, kindOf, readBelow, type ReadDirectory } from './read.js'
import { Rules, type RulesSetup, type Verdict } from './rules.js'

/** What is true of a path, or of the first directory on the way to it of which more is to be said; `at` is below the root. */
export type Finding =
  | { readonly state: 'kept'; readonly kind: number }
  | { readonly state: 'leftOut'; readonly at: string; readonly verdict: Verdict }
  | { readonly state: 'missing' | 'link' | 'noDirectory' | 'otherFileSystem'; readonly at: string }
  | { readonly state: 'unread'; readonly at: string; readonly code: string; readonly message: string }

export interface LeftOutChild {
  readonly name: string
  readonly kind: number
  readonly verdict: Verdict
}

export interface Looked {
  readonly finding: Finding
  /** Of the directory itself, where it is kept and that was asked for: what of it is left out, by name. */
  readonly leftOut?: readonly LeftOutChild[]
  readonly more?: boolean
}

export interface LookSetup extends RulesSetup {
  /** Below the root, '' for itself. */
  readonly path: string
  readonly read: ReadDirectory
  /** Asks for the children that are left out, past this name, and so many of them. */
  readonly list?: { readonly after: string; readonly most: number } | undefined
}

/** @throws BUDGET_EXHAUSTED; nothing is concluded from that */
export function lookAtPath(setup: LookSetup): Looked {
  const rules = new Rules(setup)
  try {
    const { finding, ground } = descend(setup, rules)
    const isDirectory = finding.state === 'kept' && finding.kind === KIND.directory
    return isDirectory ? lookInside(setup, rules, finding, ground) : { finding }
  } catch (error) {
    if (!(error instanceof Unread)) throw error
    return { finding: error.finding }
  }
}

/** Ends a look: more cannot be known. */
class Unread extends Error {
  readonly finding: Finding

  constructor(at: string, error: unknown) {
    super((error as Error).message)
    this.finding = { state: 'unread', at, code: errnoOf(error) ?? 'EIO', message: this.message }
  }
}

function told<T>(at: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (fromSystem(error).code === 'BUDGET_EXHAUSTED') throw error
    throw new Unread(at, error)
  }
}

function descend({ root, path }: LookSetup, rules: Rules): { finding: Finding; ground: Ground | null } {
  const top = told('', () => statIfThere(root))
  if (!top) return { finding: { state: 'missing', at: '' }, ground: null }
  let ground: Ground | null = null
  let kind: number = KIND.directory
  let here = ''
  for (const name of path === '' ? [] : path.split('/')) {
    const above = here
    const below = above === '' ? name : `${above}/${name}`
    const names = told(above, () => ruleFilesIn(joined(root, above)))
    ground = told(above, () => rules.enter(ground, above, names))
    const stat = told(above, () => statIfThere(joined(root, below)))
    if (!stat) return { finding: { state: 'missing', at: below }, ground }
    kind = kindOf(stat)
    const verdict = rules.judge(ground, above)?.(name, kind === KIND.directory)
    if (verdict) return { finding: { state: 'leftOut', at: below, verdict }, ground }
    here = below
    if (below === path) break
    if (kind === KIND.symlink) return { finding: { state: 'link', at: below }, ground }
    if (kind !== KIND.directory) return { finding: { state: 'noDirectory', at: below }, ground }
    if (stat.dev !== top.dev) return { finding: { state: 'otherFileSystem', at: below }, ground }
  }
  return { finding: { state: 'kept', kind }, ground }
}

function lookInside(setup: LookSetup, rules: Rules, finding: Finding, above: Ground | null): Looked {
  const { root, path, list, read } = setup
  const here = joined(root, path)
  if (!list) {
    told(path, () => rules.enter(above, path, ruleFilesIn(here)))
    told(path, () => accessSync(encodeName(here), constants.R_OK | constants.X_OK))
    return { finding }
  }
  const listing = told(path, () => readBelow(encodeName(root), read)(encodeName(here)))
  const names = decodeNames(listing.names)
  const ground = told(path, () => rules.enter(above, path, names))
  const judge = rules.judge(ground, path)
  const found: LeftOutChild[] = []
  for (let at = 0; judge && at < names.length; at++) {
    const kind = listing.kinds[at]! & KIND_MASK
    const name = names[at]!
    const verdict = name > list.after ? judge(name, kind === KIND.directory) : null
    if (verdict) found.push({ name, kind, verdict })
  }
  found.sort((a, b) => (a.name < b.name ? -1 : 1))
  return { finding, leftOut: found.slice(0, list.most), more: found.length > list.most }
}
