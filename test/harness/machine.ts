// A daemon that sees a machine as full as the test says: the kernel's file of it is covered by one that the test writes.
import { spawnSync } from 'node:child_process'
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs'
import type { Starting } from './daemon.js'

const COVERED = '/proc/sys/fs/file-nr'
const UNSHARE = ['unshare', '--user', '--map-root-user', '--mount', '--propagation', 'private']
const MOUNT = `mount --bind "$0" ${COVERED} && exec "$@"`

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
