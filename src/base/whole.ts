// Small files that are there whole or not at all, also after a power cut.
import { closeSync, constants, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'

const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants

/**
 * Written aside, then renamed: a power cut leaves the old or the new. Needs one descriptor, and leaves nothing aside when it throws.
 *
 * @param lasts false where it is worth no wait for the disk: then a power cut may leave it empty
 */
export function writeWhole(path: string, text: string, lasts = true): void {
  const aside = `${path}.new`
  rmSync(aside, { force: true }) // of one that was killed at it
  try {
    writeNew(aside, Buffer.from(text), 0o600, lasts)
    renameSync(aside, path)
  } catch (error) {
    rmSync(aside, { force: true })
    throw error
  }
}

/** What was made, renamed or removed in it is so after a power cut as well. */
export function syncDirectory(path: string): void {
  const directory = openSync(path, constants.O_DIRECTORY)
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}

/** A new file. @throws EEXIST where there is something, a link that leads nowhere included */
export function writeSynced(path: string, bytes: Buffer, mode: number): void {
  writeNew(path, bytes, mode, true)
}

function writeNew(path: string, bytes: Buffer, mode: number, synced: boolean): void {
  const file = openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode)
  try {
    for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at)
    if (synced) fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
