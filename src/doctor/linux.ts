// Linux as the doctor sees it: /proc for what is, /etc and systemd's folders for why.
import { basename } from 'node:path'
import { LIMITS } from '../base/limits.js'
import type { Limit } from '../descriptors/rlimit.js'
import { namesIn, numberIn, statOf, targetOf, textOf } from './files.js'
import type { Machine, MachineLimits, Origin, Person, Process, Unit, WatchUse } from './machine.js'
import { ofLimitsFiles, ofProfiles, ofSystemdDefaults, ofUnit, type Half } from './origin.js'

/** USER_HZ, which /proc counts time in, on every platform that Node runs on. */
const TICKS_A_SECOND = 100
/** What the kernel gives its first process, and everybody after it if nobody changes it. */
const KERNEL_DEFAULT = { soft: 1_024, hard: 4_096 }
/** What systemd makes of it since version 240 where its configuration says nothing. */
const SYSTEMD_DEFAULT = { soft: 1_024, hard: 524_288 }
const ANCESTORS_MAX = 64

export interface LinuxPlaces {
  /** Before every path that is configuration; empty but in tests. */
  readonly root: string
  readonly proc: string
}

export class Linux implements Machine {
  readonly system = 'Linux'
  readonly person: Person
  readonly #root: string
  readonly #proc: string
  /** Kernels from 6.2 on say how many descriptors a process has as the size of its fd directory. */
  readonly #counted: boolean

  constructor(person: Person, { root, proc }: LinuxPlaces = { root: '', proc: '/proc' }) {
    this.person = person
    this.#root = root
    this.#proc = proc
    this.#counted = proc === '/proc' && (statOf('/proc/self/fd')?.size ?? 0) > 0
  }

  limits(): MachineLimits {
    const [open = ''] = textOf(`${this.#proc}/sys/fs/file-nr`)?.split(/\s/) ?? []
    return {
      files: numberIn(`${this.#proc}/sys/fs/file-max`),
      filesOpen: open === '' ? null : Number(open),
      perProcess: numberIn(`${this.#proc}/sys/fs/nr_open`),
    }
  }

  processes(): Process[] {
    const uptimeMs = Number(textOf(`${this.#proc}/uptime`)?.split(' ')[0]) * 1_000
    return namesIn(this.#proc)
      .filter((name) => /^\d+$/.test(name))
      .flatMap((name) => this.#process(Number(name), uptimeMs) ?? [])
  }

  #process(pid: number, uptimeMs: number): Process | null {
    const stat = this.#stat(pid)
    const uid = statOf(`${this.#proc}/${pid}`)?.uid
    // Ended while the list was read.
    if (!stat || uid === undefined) return null
    const argv = textOf(`${this.#proc}/${pid}/cmdline`)?.split('\0').slice(0, -1) ?? []
    const { name, state, parent, startedMs } = stat
    return { pid, parent, uid, name, argv, open: this.#open(pid), state, ageMs: Math.max(0, uptimeMs - startedMs) }
  }

  #stat(pid: number): (Pick<Process, 'name' | 'state' | 'parent'> & { startedMs: number }) | null {
    const text = textOf(`${this.#proc}/${pid}/stat`)
    if (text === null) return null
    // The name stands in parentheses and may contain some.
    const end = text.lastIndexOf(')')
    const words = text.slice(end + 2).split(' ')
    const state = /^[ZXx]/.test(words[0]!) ? 'dead' : /^[Tt]/.test(words[0]!) ? 'stopped' : 'running'
    const startedMs = (Number(words[19]) / TICKS_A_SECOND) * 1_000
    return { name: text.slice(text.indexOf('(') + 1, end), state, parent: Number(words[1]), startedMs }
  }

  #open(pid: number): number | null {
    const folder = `${this.#proc}/${pid}/fd`
    if (this.#counted) return statOf(folder)?.size ?? null
    const names = namesIn(folder)
    return names.length > 0 ? names.length : null
  }

  limitOf(pid: number): Limit | null {
    const text = textOf(`${this.#proc}/${pid}/limits`) ?? ''
    const [, soft, hard] = /^Max open files\s+(\d+|unlimited)\s+(\d+|unlimited)/m.exec(text) ?? []
    if (soft === undefined || hard === undefined) return null
    return { soft: limitNumber(soft), hard: limitNumber(hard) }
  }

  originOf(pid: number, limit: Limit, half: Half): Origin | null {
    const value = limit[half]
    const unit = this.unitOf(pid)
    const places = [
      unit && ofUnit(this.#root, unit, this.person, half),
      ofProfiles(this.#root, this.person, half),
      this.loginLimits() ? ofLimitsFiles(this.#root, this.person, half) : null,
      ofSystemdDefaults(this.#root, half),
    ]
    const written = places.find((place) => place?.value === value)
    if (written) return { words: written.words, ...(written.file ? { file: written.file, line: written.line! } : {}) }
    return this.#unwritten(pid, limit, half)
  }

  /** Where no file says this number: the default that it is, or the process from which on it holds. */
  #unwritten(pid: number, limit: Limit, half: Half): Origin {
    const systemd = this.#stat(1)?.name === 'systemd'
    if (systemd && limit.soft === SYSTEMD_DEFAULT.soft && limit.hard === SYSTEMD_DEFAULT.hard) {
      return { words: "systemd's default" }
    }
    const first = this.#firstWith(pid, limit[half], half)
    if (first === null) return { words: 'set for this command alone (ulimit, prlimit)' }
    if (first.pid === 1) return { words: this.#ofFirstProcess(limit[half], half, first.name) }
    if (first.pid === pid) return { words: 'set where it was started (ulimit, prlimit)' }
    return { words: `inherited from ${first.name}, pid ${first.pid}` }
  }

  #ofFirstProcess(value: number, half: Half, name: string): string {
    const container = this.container()
    if (container !== null) return `the container (${container}) was started with it`
    return value === KERNEL_DEFAULT[half] ? "the kernel's default" : `inherited from ${name}, pid 1`
  }

  /** The oldest ancestor in an unbroken line that has this limit too: it, or what started it, set it. */
  #firstWith(pid: number, value: number, half: Half): { pid: number; name: string } | null {
    let first: { pid: number; name: string } | null = null
    let next = pid
    for (let step = 0; step < ANCESTORS_MAX && next > 0; step++) {
      const stat = this.#stat(next)
      if (!stat || this.limitOf(next)?.[half] !== value) break
      first = { pid: next, name: stat.name }
      next = stat.parent
    }
    return first
  }

  environmentOf(pid: number): Record<string, string> | null {
    const text = textOf(`${this.#proc}/${pid}/environ`)
    if (text === null) return null
    return Object.fromEntries(text.split('\0').flatMap((each) => (each.includes('=') ? [split(each)] : [])))
  }

  directoryOf(pid: number): string | null {
    return targetOf(`${this.#proc}/${pid}/cwd`)
  }

  kindsOf(pid: number): ReadonlyMap<string, number> | null {
    const folder = `${this.#proc}/${pid}/fd`
    const names = namesIn(folder)
    if (names.length === 0) return null
    const kinds = new Map<string, number>()
    for (const name of names.slice(0, LIMITS.doctorLinksMax)) {
      const kind = kindOf(targetOf(`${folder}/${name}`) ?? '')
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
    }
    return kinds
  }

  lockHolder(path: string): number | null {
    const inode = statOf(path)?.ino
    if (inode === undefined) return null
    for (const line of textOf(`${this.#proc}/locks`)?.split('\n') ?? []) {
      const [, pid, held] = /\b(?:POSIX|FLOCK|OFDLCK)\s+\S+\s+WRITE\s+(-?\d+)\s+\w+:\w+:(\d+)/.exec(line) ?? []
      if (held === String(inode)) return Number(pid)
    }
    return null
  }

  unitOf(pid: number): Unit | null {
    for (const line of textOf(`${this.#proc}/${pid}/cgroup`)?.split('\n') ?? []) {
      const path = /^(?:0::|\d+:name=systemd:)(.*)/.exec(line)?.[1]
      const name = path === undefined ? '' : basename(path)
      if (name.endsWith('.service') && !/^user@\d+\.service$/.test(name)) {
        return { name, ofUser: /\/user@\d+\.service\//.test(path!) }
      }
    }
    return null
  }

  container(): string | null {
    if (statOf(`${this.#root}/.dockerenv`)) return 'Docker'
    if (statOf(`${this.#root}/run/.containerenv`)) return 'Podman'
    const cgroup = textOf(`${this.#proc}/1/cgroup`) ?? ''
    return /\b(docker|kubepods|containerd|lxc|libpod)\b/.exec(cgroup)?.[1] ?? null
  }

  watches(): WatchUse | null {
    const max = (name: string) => {
      const [ofUser, ofSpace] = [`fs/inotify/max_user_${name}`, `user/max_inotify_${name}`].map((path) =>
        numberIn(`${this.#proc}/sys/${path}`),
      )
      return Math.min(ofUser ?? Number.POSITIVE_INFINITY, ofSpace ?? Number.POSITIVE_INFINITY)
    }
    const [instancesMax, watchesMax] = [max('instances'), max('watches')]
    if (!Number.isFinite(instancesMax) || !Number.isFinite(watchesMax)) return null
    return { ...this.#watchesUsed(), instancesMax, watchesMax }
  }

  #watchesUsed(): Pick<WatchUse, 'instances' | 'watches' | 'whole'> {
    const used = { instances: 0, watches: 0, whole: true }
    let links = 0
    for (const pid of namesIn(this.#proc).filter((name) => /^\d+$/.test(name))) {
      if (statOf(`${this.#proc}/${pid}`)?.uid !== this.person.uid) continue
      for (const fd of namesIn(`${this.#proc}/${pid}/fd`)) {
        links += 1
        if (links > LIMITS.doctorLinksMax) return { ...used, whole: false }
        if (targetOf(`${this.#proc}/${pid}/fd/${fd}`) !== 'anon_inode:inotify') continue
        used.instances += 1
        used.watches += textOf(`${this.#proc}/${pid}/fdinfo/${fd}`)?.match(/^inotify /gm)?.length ?? 0
      }
    }
    return used
  }

  loginLimits(): boolean | null {
    const folder = `${this.#root}/etc/pam.d`
    const names = namesIn(folder)
    if (names.length === 0) return null
    return names.some((name) => /^\s*session\b.*\bpam_limits\.so\b/m.test(textOf(`${folder}/${name}`) ?? ''))
  }
}

function split(pair: string): [string, string] {
  const at = pair.indexOf('=')
  return [pair.slice(0, at), pair.slice(at + 1)]
}

function limitNumber(text: string): number {
  return text === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(text)
}

function kindOf(target: string): string {
  if (/\/library\.db(-wal|-shm)?$/.test(target)) return 'files of libraries'
  if (target.startsWith('socket:')) return 'sockets'
  if (target.startsWith('pipe:')) return 'pipes'
  if (target.startsWith('anon_inode:')) return 'kernel objects (epoll, eventfd, inotify)'
  return target === '/dev/null' ? '/dev/null' : 'other files'
}
