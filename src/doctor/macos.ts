// macOS as the doctor sees it: there is no /proc, so the system's own commands are asked. Only what belongs to this user can be counted.
import { runChild } from '../descriptors/child.js'
import type { Limit } from '../descriptors/rlimit.js'
import { statOf } from './files.js'
import type { Machine, MachineLimits, Origin, Person, Process, Unit, WatchUse } from './machine.js'
import { ofProfiles, type Half } from './origin.js'

/** What launchd gives to everybody unless it is told otherwise. */
const LAUNCHD_DEFAULT = 256
export const LAUNCHD_FILE = '/Library/LaunchDaemons/limit.maxfiles.plist'

/** Answers what a command printed, or null where it failed or is not there. */
export type Run = (command: string, args: readonly string[]) => string | null

export class MacOS implements Machine {
  readonly system = 'macOS'
  readonly person: Person
  readonly #root: string
  readonly #run: Run
  #open: ReadonlyMap<number, ReadonlyMap<string, number>> | undefined

  constructor(person: Person, root = '', run: Run = runCommand) {
    this.person = person
    this.#root = root
    this.#run = run
  }

  limits(): MachineLimits {
    const text = this.#run('sysctl', ['kern.maxfiles', 'kern.maxfilesperproc', 'kern.num_files']) ?? ''
    const value = (name: string) => {
      const found = new RegExp(`^kern\\.${name}: (\\d+)`, 'm').exec(text)?.[1]
      return found === undefined ? null : Number(found)
    }
    return { files: value('maxfiles'), filesOpen: value('num_files'), perProcess: value('maxfilesperproc') }
  }

  processes(): Process[] {
    const rows = this.#run('ps', ['-axww', '-o', 'pid=,ppid=,uid=,stat=,etime=,command=']) ?? ''
    return rows.split('\n').flatMap((row) => {
      const words = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(\S+)\s+(.*)$/.exec(row)
      if (!words) return []
      const [, pid = '', parent = '', uid = '', state = '', age = '', command = ''] = words
      // Words are not told apart where they hold blanks; the names that matter here hold none.
      const argv = command.split(' ')
      const name = argv[0]!.slice(argv[0]!.lastIndexOf('/') + 1)
      return {
        pid: Number(pid),
        parent: Number(parent),
        uid: Number(uid),
        name,
        argv,
        open: this.#count(Number(pid)),
        state: stateOf(state),
        ageMs: msOf(age),
      }
    })
  }

  /** One process's limit is nobody else's to read here. */
  limitOf(): Limit | null {
    return null
  }

  originOf(_pid: number, limit: Limit, half: Half): Origin | null {
    const profile = ofProfiles(this.#root, this.person, half)
    if (profile?.value === limit[half]) return { words: profile.words, file: profile.file!, line: profile.line! }
    const launchd = this.#launchdLimit()
    if (launchd?.[half] !== limit[half]) {
      const { perProcess } = this.limits()
      return half === 'hard' && perProcess === limit.hard ? { words: 'sysctl kern.maxfilesperproc' } : null
    }
    if (statOf(this.#root + LAUNCHD_FILE)) return { words: LAUNCHD_FILE, file: LAUNCHD_FILE }
    return { words: launchd.soft === LAUNCHD_DEFAULT ? "launchd's default" : 'launchctl limit maxfiles' }
  }

  #launchdLimit(): Limit | null {
    const text = this.#run('launchctl', ['limit', 'maxfiles']) ?? ''
    const [, soft, hard] = /maxfiles\s+(\d+|unlimited)\s+(\d+|unlimited)/.exec(text) ?? []
    if (soft === undefined || hard === undefined) return null
    return { soft: numberOf(soft), hard: numberOf(hard) }
  }

  environmentOf(): null {
    return null
  }

  directoryOf(pid: number): string | null {
    const text = this.#run('lsof', ['-a', '-p', String(pid), '-d', 'cwd', '-F', 'n']) ?? ''
    return /^n(.*)$/m.exec(text)?.[1] ?? null
  }

  kindsOf(pid: number): ReadonlyMap<string, number> | null {
    return this.#descriptors().get(pid) ?? null
  }

  #count(pid: number): number | null {
    const kinds = this.#descriptors().get(pid)
    return kinds ? [...kinds.values()].reduce((sum, count) => sum + count, 0) : null
  }

  /** One call for all processes: each takes about as long as all of them. */
  #descriptors(): ReadonlyMap<number, ReadonlyMap<string, number>> {
    return (this.#open ??= countsOf(this.#run('lsof', ['-nPw', '-F', 'pft']) ?? ''))
  }

  lockHolder(path: string): number | null {
    if (!statOf(path)) return null
    const pid = this.#run('lsof', ['-t', '--', path])?.trim().split('\n')[0] ?? ''
    return /^\d+$/.test(pid) ? Number(pid) : null
  }

  unitOf(): Unit | null {
    return null
  }

  container(): string | null {
    return null
  }

  /** FSEvents needs no watches, kqueue takes ordinary descriptors. */
  watches(): WatchUse | null {
    return null
  }

  loginLimits(): boolean | null {
    return null
  }
}

/** `p` begins a process, `f` one of its descriptors, of which only the numbers count (not cwd or txt), `t` tells its type. */
function countsOf(text: string): Map<number, Map<string, number>> {
  const found = new Map<number, Map<string, number>>()
  let kinds = new Map<string, number>()
  let numbered = false
  for (const line of text.split('\n')) {
    if (line.startsWith('p')) found.set(Number(line.slice(1)), (kinds = new Map()))
    else if (line.startsWith('f')) numbered = /^f\d/.test(line)
    else if (line.startsWith('t') && numbered)
      kinds.set(kindOf(line.slice(1)), (kinds.get(kindOf(line.slice(1))) ?? 0) + 1)
  }
  return found
}

function kindOf(type: string): string {
  if (/^(IPv[46]|sock|unix|systm)$/i.test(type)) return 'sockets'
  if (/^(PIPE|FIFO)$/i.test(type)) return 'pipes'
  if (/^(KQUEUE|NEXUS|CHANNEL)$/i.test(type)) return 'kernel objects'
  return 'files'
}

function stateOf(state: string): Process['state'] {
  return state.startsWith('Z') ? 'dead' : state.startsWith('T') ? 'stopped' : 'running'
}

/** [[days-]hours:]minutes:seconds */
function msOf(elapsed: string): number | null {
  const [, days = '0', hours = '0', minutes, seconds] = /^(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)$/.exec(elapsed) ?? []
  if (minutes === undefined) return null
  return (((Number(days) * 24 + Number(hours)) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1_000
}

function numberOf(text: string): number {
  return text === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(text)
}

/** lsof exits with 1 when there is something it may not see, and has still told the rest. */
function runCommand(command: string, args: readonly string[]): string | null {
  const { stdout } = runChild(command, args)
  return stdout ? stdout : null
}
