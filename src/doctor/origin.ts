// Where a limit on descriptors is written down: limits.conf, units of systemd, profiles of shells. Reads their texts and judges nothing.
// Files are looked for below `root`, which is empty but in tests, and are named without it.
import { join } from 'node:path'
import { namesIn, textOf } from './files.js'
import type { Origin, Person, Unit } from './machine.js'

export type Half = 'soft' | 'hard'

interface Written extends Origin {
  readonly value: number
}

const UNLIMITED = Number.MAX_SAFE_INTEGER
const LIMITS_FILE = '/etc/security/limits.conf'
const LIMITS_FOLDER = '/etc/security/limits.d'
const UNIT_FOLDERS = ['/etc/systemd', '/run/systemd', '/usr/local/lib/systemd', '/usr/lib/systemd', '/lib/systemd']
const DEFAULTS_FILES = ['/etc/systemd/system.conf', '/run/systemd/system.conf', '/usr/lib/systemd/system.conf']
export const PROFILES_OF_ALL = ['/etc/profile', '/etc/bash.bashrc', '/etc/zshrc', '/etc/zshenv', '/etc/zprofile']
export const PROFILES = ['.bashrc', '.bash_profile', '.bash_login', '.profile', '.zshrc', '.zshenv', '.zprofile']

/** The line of limits.conf or limits.d that decides for a person, as pam_limits reads them: user before group before everybody. */
export function ofLimitsFiles(root: string, person: Person, half: Half): Written | null {
  const files = [
    LIMITS_FILE,
    ...namesIn(root + LIMITS_FOLDER)
      .filter((name) => name.endsWith('.conf'))
      .sort()
      .map((name) => join(LIMITS_FOLDER, name)),
  ]
  let found: (Written & { rank: number }) | null = null
  for (const file of files) {
    lines(root, file).forEach((text, index) => {
      const [domain = '', type = '', item = '', value = ''] = text.replace(/#.*/, '').trim().split(/\s+/)
      const rank = rankOf(domain, person)
      if (item !== 'nofile' || rank === 0 || (type !== '-' && type !== half)) return
      // The last of the same rank holds.
      if (rank >= (found?.rank ?? 0)) found = { ...at(file, index), value: numberOf(value), rank }
    })
  }
  return found
}

/** 0 where an entry is not about this person. Groups and `*` are not applied to root, who must be named. */
function rankOf(domain: string, { uid, user, groups }: Person): number {
  if (domain === user || inRange(domain, uid)) return 3
  if (uid === 0) return 0
  if (domain.startsWith('@') && groups.includes(domain.slice(1))) return 2
  return domain === '*' ? 1 : 0
}

function inRange(domain: string, uid: number): boolean {
  const [, low, high] = /^(\d*):(\d*)$/.exec(domain) ?? []
  if (low === undefined || high === undefined || (low === '' && high === '')) return false
  if (low === '') return uid === Number(high)
  return uid >= Number(low) && uid <= (high === '' ? UNLIMITED : Number(high))
}

/** LimitNOFILE of a unit, its drop-ins last, in the order in which systemd reads them. */
export function ofUnit(root: string, unit: Unit, person: Person, half: Half): Written | null {
  const bases = unit.ofUser
    ? [join(person.home, '.config/systemd/user'), ...UNIT_FOLDERS.map((folder) => join(folder, 'user'))]
    : UNIT_FOLDERS.map((folder) => join(folder, 'system'))
  const main = bases.map((base) => join(base, unit.name)).find((path) => textOf(root + path) !== null)
  const own = main === undefined ? null : lastSetting(root, [main], 'LimitNOFILE', half)
  return lastSetting(root, dropIns(root, bases, `${unit.name}.d`), 'LimitNOFILE', half) ?? own
}

/** What systemd gives to units, and through them to logins, where nothing else is said. */
export function ofSystemdDefaults(root: string, half: Half): Written | null {
  const main = DEFAULTS_FILES.find((path) => textOf(root + path) !== null)
  const bases = UNIT_FOLDERS
  const files = [...(main === undefined ? [] : [main]), ...dropIns(root, bases, 'system.conf.d')]
  return lastSetting(root, files, 'DefaultLimitNOFILE', half)
}

/** By name, whichever folder they lie in; of two of the same name the one in the first folder counts. */
function dropIns(root: string, bases: readonly string[], folder: string): string[] {
  const found = new Map<string, string>()
  for (const base of bases.toReversed()) {
    for (const name of namesIn(root + join(base, folder))) {
      if (name.endsWith('.conf')) found.set(name, join(base, folder, name))
    }
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, path]) => path)
}

function lastSetting(root: string, files: readonly string[], key: string, half: Half): Written | null {
  let found: Written | null = null
  for (const file of files) {
    lines(root, file).forEach((text, index) => {
      const [, name, value = ''] = /^\s*(\w+)\s*=\s*(\S*)/.exec(text) ?? []
      if (name !== key) return
      const [soft = '', hard = soft] = value.split(':')
      found = value === '' ? null : { ...at(file, index), value: numberOf(half === 'soft' ? soft : hard) }
    })
  }
  return found
}

/** The last `ulimit -n` in a profile of this person or of everybody that sets this half. */
export function ofProfiles(root: string, { home }: Person, half: Half): Written | null {
  const everybody = namesIn(`${root}/etc/profile.d`).map((name) => join('/etc/profile.d', name))
  const files = [...PROFILES_OF_ALL, ...everybody, ...PROFILES.map((name) => join(home, name))]
  let found: Written | null = null
  for (const file of files) {
    lines(root, file).forEach((text, index) => {
      const set = ulimitIn(text)
      if (set?.halves.includes(half)) found = { ...at(file, index), value: set.value }
    })
  }
  return found
}

/** Without -S and -H a shell sets both halves. */
export function ulimitIn(line: string): { halves: Half[]; value: number } | null {
  const [, flags = '', value = ''] = /^[^#]*?\bulimit\s+((?:-[SHn]+\s+)*)(\d+|unlimited|hard)\b/.exec(line) ?? []
  if (!flags.includes('n') || value === 'hard') return null
  const halves: Half[] = []
  if (flags.includes('S') || !flags.includes('H')) halves.push('soft')
  if (flags.includes('H') || !flags.includes('S')) halves.push('hard')
  return { halves, value: numberOf(value) }
}

function numberOf(text: string): number {
  return /^\d+$/.test(text) ? Number(text) : UNLIMITED
}

function at(file: string, index: number): { words: string; file: string; line: number } {
  return { words: `${file}, line ${index + 1}`, file, line: index + 1 }
}

function lines(root: string, file: string): string[] {
  return textOf(root + file)?.split('\n') ?? []
}
