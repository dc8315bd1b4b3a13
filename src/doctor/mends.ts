// The exact mend of each finding: what to type, and for those that `--fix` can do, what would be written where.
import { join } from 'node:path'
import { LIMITS } from '../base/limits.js'
import type { Machine, Person, Unit } from './machine.js'
import { LAUNCHD_FILE } from './macos.js'

export interface MendFile {
  readonly path: string
  /** `whole` is a file of our own, `block` some lines between markers in somebody's file. */
  readonly kind: 'whole' | 'block'
  readonly text: string
}

export interface Mend {
  /** What to type for the same by hand; several lines are one after the other. */
  readonly command?: string
  readonly file?: MendFile
  /** A leftover to delete, once more proven to be one. */
  readonly remove?: string
  /** A path to make private. */
  readonly secure?: string
  readonly kill?: { readonly pid: number; readonly signal: 'SIGTERM' | 'SIGCONT' | 'SIGKILL' }
  /** Only root may do it. */
  readonly root: boolean
  /** What has to follow before it holds. */
  readonly after?: string
}

/** Known by this line, a file is ours to rewrite and to take away again. */
export const SIGNED = 'Written by `spacedrive doctor --fix`; `--fix --undo` takes it away.'
export const BLOCK_BEGIN = '# >>> spacedrive doctor >>>'
export const BLOCK_END = '# <<< spacedrive doctor <<<'
export const LIMITS_D_FILE = '/etc/security/limits.d/spacedrive.conf'
export const SYSCTL_FILES = {
  watches: '/etc/sysctl.d/90-spacedrive-inotify.conf',
  machine: '/etc/sysctl.d/90-spacedrive-files.conf',
  process: '/etc/sysctl.d/90-spacedrive-nr-open.conf',
} as const
export const DROP_IN = 'limit.conf'

const WANTED = LIMITS.softRecommended

/** Raises the hard limit for whatever starts spacedrive: its unit, the container, or the person's login. */
export function raiseHard(machine: Machine, unit: Unit | null): Mend {
  if (machine.system === 'macOS') return launchd()
  if (unit) return dropIn(unit, machine.person)
  if (machine.container() !== null)
    return {
      command: `docker run --ulimit nofile=${WANTED}:${WANTED} …`,
      root: false,
      after: 'Start the container anew with it.',
    }
  return loginLimit(machine.person, machine.loginLimits() !== false)
}

export function dropIn(unit: Unit, { home }: Person): Mend {
  const base = unit.ofUser ? join(home, '.config/systemd/user') : '/etc/systemd/system'
  const path = join(base, `${unit.name}.d`, DROP_IN)
  const systemctl = unit.ofUser ? 'systemctl --user' : 'sudo systemctl'
  return byFile(
    { path, kind: 'whole', text: signed('#', `[Service]\nLimitNOFILE=${WANTED}\n`) },
    !unit.ofUser,
    `${systemctl} daemon-reload\n${systemctl} restart ${unit.name}`,
  )
}

/**
 * By name: what is said of a group or of everybody does not hold for root.
 *
 * @param read whether a login reads such files at all
 */
export function loginLimit({ user }: Person, read = true): Mend {
  const text = signed('#', `${user} soft nofile ${WANTED}\n${user} hard nofile ${WANTED}\n`)
  const pam = read ? '' : 'Have it read: `session required pam_limits.so` in a file of /etc/pam.d, as sshd.\n'
  return byFile(
    { path: LIMITS_D_FILE, kind: 'whole', text },
    true,
    `${pam}Log in anew and start again; or, for this shell only:\nsudo prlimit --pid $$ --nofile=${WANTED}:${WANTED}`,
  )
}

export function launchd(): Mend {
  return byFile(
    { path: LAUNCHD_FILE, kind: 'whole', text: LAUNCHD_TEXT },
    true,
    `sudo launchctl limit maxfiles ${WANTED} ${LIMITS.hardOfMac}\nThen open a new terminal.`,
  )
}

export function profileLine(person: Person): Mend {
  return byFile(
    { path: profileOf(person), kind: 'block', text: `ulimit -n ${WANTED}\n` },
    false,
    'Open a new terminal.',
  )
}

export function sysctl(which: keyof typeof SYSCTL_FILES, settings: Readonly<Record<string, number>>): Mend {
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`)
  return byFile(
    { path: SYSCTL_FILES[which], kind: 'whole', text: signed('#', lines.join('')) },
    true,
    'sudo sysctl --system',
  )
}

function byFile(file: MendFile, root: boolean, after: string): Mend {
  return { command: writingCommand(file, root), file, root, after }
}

/** The same by hand, in any shell. */
function writingCommand({ path, kind, text }: MendFile, root: boolean): string {
  const sudo = root ? 'sudo ' : ''
  const folder = path.slice(0, path.lastIndexOf('/'))
  if (kind === 'block') return `cat >> ${quoted(path)} <<'END'\n${text}END`
  return `${sudo}mkdir -p ${quoted(folder)}\n${sudo}tee ${quoted(path)} <<'END'\n${text}END`
}

export function profileOf({ shell, home }: Person): string {
  if (shell.endsWith('zsh')) return join(home, '.zshrc')
  return join(home, shell.endsWith('bash') ? '.bashrc' : '.profile')
}

export function quoted(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`
}

function signed(comment: string, text: string): string {
  return `${comment} ${SIGNED}\n${text}`
}

const LAUNCHD_TEXT = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- ${SIGNED.replaceAll('--', '- -')} -->
<plist version="1.0">
  <dict>
    <key>Label</key>
    <string>limit.maxfiles</string>
    <key>ProgramArguments</key>
    <array>
      <string>launchctl</string>
      <string>limit</string>
      <string>maxfiles</string>
      <string>${WANTED}</string>
      <string>${LIMITS.hardOfMac}</string>
    </array>
    <key>RunAtLoad</key>
    <true/>
  </dict>
</plist>
`
