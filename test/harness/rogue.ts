// Native code in the daemon's process that takes descriptors behind its back: the test's half of rogue.c, which is preloaded.
import assert from 'node:assert'
import { spawnSync } from 'node:child_process'
import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './daemon.js'

export class Rogue {
  /** What a daemon is to be started with. It does not reach what the daemon starts. */
  readonly env: Readonly<Record<string, string>>
  readonly #wanted: string

  /**
   * @param folder for its files, of this test alone
   * @param opens the path it opens again and again; eventfds, which tell nobody anything, if absent
   */
  constructor(folder: string, opens?: string) {
    const binary = join(folder, 'rogue.so')
    this.#wanted = join(folder, 'rogue.wanted')
    const source = join(ROOT, 'test', 'harness', 'rogue.c')
    const { status, stderr } = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-pthread', '-o', binary, source], {
      encoding: 'utf8',
    })
    assert.equal(status, 0, stderr)
    writeFileSync(this.#wanted, '')
    const opening = opens === undefined ? {} : { SPACEDRIVE_ROGUE_OPENS: opens }
    this.env = { LD_PRELOAD: binary, SPACEDRIVE_ROGUE: this.#wanted, ...opening }
  }

  /** From now on it holds so many, or as many as it can get. */
  hold(count: number): void {
    truncateSync(this.#wanted, count)
  }
}
