// Small files that are there whole or not at all, also after a power cut.
import { closeSync, constants, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'

const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants

/** Written aside, then renamed: a power cut leaves the old or the new. Needs one descriptor, and leaves nothing aside when it throws. */
export function writeWhole(path: string, text: string): void {
  const aside = `${path}.new`
  rmSync(aside, { force: true }) // of one that was killed at it
  try {
    writeSynced(aside, Buffer.from(text), 0o600)
    renameSync(aside, path)
  } catch (error) {
    rmSync(aside, { force: true })
    throw error
  }
}

/** A new file. @throws EEXIST where there is something, a link that leads nowhere included */
export function writeSynced(path: string, bytes: Buffer, mode: number): void {
  const file = openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode)
  try {
    for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
