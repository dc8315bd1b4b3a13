// Files at rest: as old as a file is that nobody writes any more, in a directory of their own.
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export class Ground implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'sd-files-'))

  file(name: string, bytes: string | Uint8Array): string {
    const path = join(this.path, name)
    writeFileSync(path, bytes)
    utimesSync(path, 1_000_000, 1_000_000)
    return path
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}
