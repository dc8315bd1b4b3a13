// Does what a mend says, and takes it back. Writing twice is writing once; only what carries our signature is ever changed or deleted.
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { errnoOf } from '../base/errors.js'
import type { Paths } from '../base/places.js'
import { holdLock } from '../library/lock.js'
import { namesIn, textOf } from './files.js'
import type { Person } from './machine.js'
import { LAUNCHD_FILE } from './macos.js'
import { BLOCK_BEGIN, BLOCK_END, DROP_IN, LIMITS_D_FILE, SYSCTL_FILES, type Mend, type MendFile } from './mends.js'
import { PROFILES } from './origin.js'

/** `needs root`: not done. `in the way`: a file of that name is somebody else's, and was left alone. */
export type Outcome = 'done' | 'nothing to do' | 'needs root' | 'in the way' | 'not proven'

const SIGNATURE = /Written by `spacedrive doctor - ?-fix`/

/** Whether `--fix` can do it, or only a person. */
export function isDoable(mend: Mend): boolean {
  return Boolean(mend.file ?? mend.remove ?? mend.secure ?? mend.kill)
}

export function applyMend(mend: Mend, paths: Paths, root: string): Outcome {
  try {
    if (mend.file) return write(root, mend.file)
    if (mend.remove) return removeLeftover(mend.remove, paths)
    if (mend.secure) return secure(mend.secure)
    if (mend.kill) return signal(mend.kill)
    return 'nothing to do'
  } catch (error) {
    if (['EACCES', 'EPERM', 'EROFS'].includes(errnoOf(error) ?? '')) return 'needs root'
    throw error
  }
}

export function isWritten(root: string, file: MendFile): boolean {
  const text = textOf(root + file.path)
  if (text === null) return false
  return file.kind === 'whole' ? text === file.text : text.includes(blockOf(file.text))
}

function write(root: string, file: MendFile): Outcome {
  if (isWritten(root, file)) return 'nothing to do'
  const before = textOf(root + file.path)
  if (file.kind === 'whole') {
    if (before !== null && !SIGNATURE.test(before)) return 'in the way'
    writeWhole(root + file.path, file.text, 0o644)
  } else {
    const kept = withoutBlock(before ?? '')
    const joint = kept === '' || kept.endsWith('\n') ? '' : '\n'
    writeWhole(root + file.path, `${kept}${joint}${blockOf(file.text)}`, modeOf(root + file.path))
  }
  return 'done'
}

/** Whole or not at all: nobody's profile is left half written by a full disk. A link stays one. */
function writeWhole(given: string, text: string, mode: number): void {
  mkdirSync(dirname(given), { recursive: true })
  const path = statSync(given, { throwIfNoEntry: false }) ? realpathSync(given) : given
  const aside = `${path}.spacedrive-new`
  try {
    const file = openSync(aside, 'w', mode)
    try {
      writeSync(file, text)
    } finally {
      closeSync(file)
    }
    chmodSync(aside, mode)
    keepOwner(aside, path)
    renameSync(aside, path)
  } catch (error) {
    rmSync(aside, { force: true })
    throw error
  }
}

/** Written by root under sudo, a file in somebody's home is still theirs. */
function keepOwner(aside: string, path: string): void {
  if (process.getuid?.() !== 0) return
  const { uid, gid } = statSync(path, { throwIfNoEntry: false }) ?? statSync(dirname(path))
  chownSync(aside, uid, gid)
}

function modeOf(path: string): number {
  return (statSync(path, { throwIfNoEntry: false })?.mode ?? 0o644) & 0o7777
}

function blockOf(text: string): string {
  return `${BLOCK_BEGIN}\n${text}${BLOCK_END}\n`
}

function withoutBlock(text: string): string {
  const [begin, end] = [text.indexOf(`${BLOCK_BEGIN}\n`), text.indexOf(BLOCK_END)]
  if (begin < 0 || end < begin) return text
  return text.slice(0, begin) + text.slice(end + BLOCK_END.length).replace(/^\n/, '')
}

/** With the daemon's own lock in hand none runs, and none can start meanwhile. */
function removeLeftover(path: string, paths: Paths): Outcome {
  const lock = holdLock(paths.lock)
  if (!lock) return 'not proven'
  try {
    rmSync(path, { force: true })
    return 'done'
  } finally {
    lock.release()
  }
}

function secure(path: string): Outcome {
  chmodSync(path, 0o700)
  return 'done'
}

function signal({ pid, signal: name }: NonNullable<Mend['kill']>): Outcome {
  try {
    process.kill(pid, name)
    return 'done'
  } catch (error) {
    if (errnoOf(error) === 'ESRCH') return 'nothing to do'
    throw error
  }
}

export interface Undoable {
  readonly path: string
  readonly kind: MendFile['kind']
}

/** Everything that `--fix` ever wrote and that is still there. */
export function undoables(root: string, person: Person): Undoable[] {
  const units = ['/etc/systemd/system', join(person.home, '.config/systemd/user')]
  const dropIns = units.flatMap((base) =>
    namesIn(root + base)
      .filter((name) => name.endsWith('.service.d'))
      .map((name) => join(base, name, DROP_IN)),
  )
  const whole = [LIMITS_D_FILE, LAUNCHD_FILE, ...Object.values(SYSCTL_FILES), ...dropIns]
  const blocks = PROFILES.map((name) => join(person.home, name))
  return [
    ...whole
      .filter((path) => SIGNATURE.test(textOf(root + path) ?? ''))
      .map((path) => ({ path, kind: 'whole' as const })),
    ...blocks
      .filter((path) => textOf(root + path)?.includes(BLOCK_BEGIN))
      .map((path) => ({ path, kind: 'block' as const })),
  ]
}

export function undo(root: string, { path, kind }: Undoable): Outcome {
  const text = textOf(root + path)
  if (text === null) return 'nothing to do'
  try {
    if (kind === 'whole') {
      if (!SIGNATURE.test(text)) return 'in the way'
      unlinkSync(root + path)
      return 'done'
    }
    const kept = withoutBlock(text)
    // A profile that held nothing else was made by us.
    if (kept === '') unlinkSync(root + path)
    else writeWhole(root + path, kept, modeOf(root + path))
    return 'done'
  } catch (error) {
    if (['EACCES', 'EPERM', 'EROFS'].includes(errnoOf(error) ?? '')) return 'needs root'
    throw error
  }
}
