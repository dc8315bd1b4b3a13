// A daemon that sees a machine as full as the test says: the kernel's files of it are covered by those that the test writes.
import { spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Starting } from './daemon.js'

const COVERED = '/proc/sys/fs/file-nr'
const UNSHARE = ['unshare', '--user', '--map-root-user', '--mount', '--propagation', 'private']
const MOUNT = `mount --bind "$0" ${COVERED} && exec "$@"`
const GROUPS = '/sys/fs/cgroup'
const MOUNT_GROUPS = `mount --bind "$0" ${GROUPS} && exec "$@"`

export class FakeMachine {
  /** How a daemon is started inside it. */
  readonly starting: Starting
  readonly #path: string

  /** @param path where the covering file is to lie */
  constructor(path: string) {
    this.#path = path
    writeFileSync(path, '')
    this.open(10)
    this.starting = { through: [...UNSHARE, 'sh', '-c', MOUNT, path] }
  }

  /** Of the 1,000 files that all processes of this machine may open, so many are. */
  open(count: number): void {
    // In place: it is this file that is mounted, not its name; and in one write of one length, for it may be read at any moment.
    const file = openSync(this.#path, 'r+')
    writeSync(file, `${String(count).padEnd(8)}\t0\t1000\n`, 0)
    closeSync(file)
  }

  /** Why there can be none here, or null. */
  static problem(path: string): string | null {
    writeFileSync(path, '1\t0\t1000\n')
    const args = [...UNSHARE.slice(1), 'sh', '-c', MOUNT, path, 'cat', COVERED]
    const { stdout, stderr, error } = spawnSync('unshare', args, { encoding: 'utf8' })
    if (stdout?.startsWith('1\t0')) return null
    return `the machine cannot be faked: ${error?.message ?? stderr.trim()}`
  }
}

/** The same of the memory of its control group. */
export class FakeMemory {
  static readonly megabytesMost = 1_000
  readonly starting: Starting
  readonly #stat: string

  /** @param path where the covering folder is to lie */
  constructor(path: string) {
    mkdirSync(path)
    writeFileSync(join(path, 'memory.max'), `${FakeMemory.megabytesMost << 20}\n`)
    this.#stat = join(path, 'memory.stat')
    writeFileSync(this.#stat, '')
    this.use(100)
    this.starting = { through: [...UNSHARE, 'sh', '-c', MOUNT_GROUPS, path] }
  }

  /** So much of it is in use, and cannot be taken back. */
  use(megabytes: number): void {
    const file = openSync(this.#stat, 'r+')
    writeSync(file, `anon ${String(megabytes << 20).padEnd(12)}\nfile ${900 << 20}\n`, 0)
    closeSync(file)
  }

  static problem(path: string): string | null {
    mkdirSync(path)
    writeFileSync(join(path, 'memory.max'), 'of a test\n')
    const args = [...UNSHARE.slice(1), 'sh', '-c', MOUNT_GROUPS, path, 'cat', join(GROUPS, 'memory.max')]
    const { stdout, stderr, error } = spawnSync('unshare', args, { encoding: 'utf8' })
    return stdout?.startsWith('of a test') ? null : `memory cannot be faked: ${error?.message ?? stderr.trim()}`
  }
}
