// The wall clock of a daemon under test, which a test can set; compiled from clock.c and preloaded.
import assert from 'node:assert'
import { spawnSync } from 'node:child_process'
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './daemon.js'

export class WallClock {
  /** What a daemon is to be started with. */
  readonly env: Readonly<Record<string, string>>
  readonly #file: number

  /** @param directory of the test, gone after it */
  constructor(directory: string) {
    const [control, preloaded] = [join(directory, 'clock'), join(directory, 'clock.so')]
    const source = join(ROOT, 'test', 'harness', 'clock.c')
    const flags = ['-shared', '-fPIC', '-O1', '-Wall', '-Werror', '-U_FORTIFY_SOURCE']
    const { status, stderr } = spawnSync('cc', [...flags, '-o', preloaded, source, '-ldl'])
    assert.equal(status, 0, stderr?.toString() ?? 'no C compiler')
    this.#file = openSync(control, 'w+')
    this.set(0)
    this.env = { LD_PRELOAD: preloaded, SPACEDRIVE_CLOCK: control }
  }

  /** So many seconds ahead of the true time from now on; behind it if negative. */
  set(seconds: number): void {
    const bytes = Buffer.alloc(8)
    bytes.writeBigInt64LE(BigInt(seconds))
    writeSync(this.#file, bytes, 0, 8, 0)
  }

  close(): void {
    closeSync(this.#file)
  }
}
