// The options by which a location is told what to leave out, and how that is shown again.
import type { Command } from 'commander'
import type { LocationItem } from '../protocol/messages.js'
import type { LocationRules } from '../protocol/operations.js'
import { grouped } from './text.js'

/** Commander's reading of them: what begins with `--no-` is true unless it is given. */
export interface RuleOptions {
  readonly usual?: boolean
  readonly system?: boolean
  readonly hidden?: boolean
  readonly git?: boolean
  readonly dev?: boolean
  readonly gitignore?: boolean
  readonly onlyImages?: boolean
  readonly reject?: readonly string[]
  readonly ignore?: readonly string[]
  readonly accept?: readonly string[]
}

export function withRules(command: Command): Command {
  return command
    .option('--usual', 'as Spacedrive does: --no-system --no-git --no-dev --gitignore')
    .option('--no-system', 'leave out what systems and editors put everywhere (.DS_Store, lost+found, *~, …)')
    .option('--no-hidden', 'leave out what begins with a dot')
    .option('--no-git', "leave out .git and git's own files")
    .option('--no-dev', 'leave out what tools make (node_modules, target, dist, .venv, …)')
    .option('--gitignore', 'leave out what git ignores')
    .option('--only-images', 'of files only images')
    .option('--reject <GLOB>', 'never in the index; may be repeated', gather)
    .option('--ignore <GLOB>', 'like a line of a .gitignore, also with !; may be repeated', gather)
    .option('--accept <GLOB>', 'of files only such; may be repeated', gather)
}

function gather(glob: string, before: readonly string[] = []): readonly string[] {
  return [...before, glob]
}

/** Undefined where no such option was given. */
export function rulesFrom(options: RuleOptions): LocationRules | undefined {
  const { usual = false, system, hidden, git, dev, gitignore, onlyImages, reject, ignore, accept } = options
  const rules: LocationRules = {
    ...(usual || system === false ? { noSystemFiles: true } : {}),
    ...(hidden === false ? { noHidden: true } : {}),
    ...(usual || git === false ? { noGit: true } : {}),
    ...(usual || dev === false ? { noDevDirs: true } : {}),
    ...(usual || gitignore ? { gitignore: true } : {}),
    ...(onlyImages ? { onlyImages } : {}),
    ...(reject ? { reject: [...reject] } : {}),
    ...(ignore ? { ignore: [...ignore] } : {}),
    ...(accept ? { accept: [...accept] } : {}),
  }
  return Object.keys(rules).length > 0 ? rules : undefined
}

/** As the options that would say it. */
export function rulesWords(rules: LocationRules | undefined): string {
  if (!rules) return 'nothing'
  const toggles: [boolean | undefined, string][] = [
    [rules.noSystemFiles, 'system'],
    [rules.noHidden, 'hidden'],
    [rules.noGit, 'git'],
    [rules.noDevDirs, 'dev'],
    [rules.gitignore, 'gitignore'],
    [rules.onlyImages, 'all but images'],
  ]
  const globs: [readonly string[] | undefined, string][] = [
    [rules.reject, 'reject'],
    [rules.ignore, 'ignore'],
    [rules.accept, 'all but'],
  ]
  return [
    ...toggles.flatMap(([on, word]) => (on ? [word] : [])),
    ...globs.flatMap(([list, word]) => (list && list.length > 0 ? [`${word} ${list.join(' ')}`] : [])),
  ].join(', ')
}

/** What the last scan left out, the most first. */
export function leftOutWords({ leftOut = {} }: Pick<LocationItem, 'leftOut'>): string {
  const found = Object.entries(leftOut).sort(([, a], [, b]) => b - a)
  return found.length === 0 ? 'nothing so far' : found.map(([rule, times]) => `${grouped(times)} ${rule}`).join(', ')
}
