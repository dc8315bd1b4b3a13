// Findings about the data directory: what a killed daemon left there, who may enter, and whether there is room.
import { LIMITS } from '../base/limits.js'
import { bytes, plural } from '../base/text.js'
import { by, found, hint, problem, warning, type Finding } from './findings.js'
import { quoted } from './mends.js'
import type { Seen } from './seen.js'

export function placeFindings(seen: Seen): Finding[] {
  const { socket, state } = seen.leftovers
  return found([
    socket !== null && leftover('STALE_SOCKET', socket, 'its socket, and nobody listens there'),
    state !== null && leftover('STALE_STATE', state, 'its state file, and its lock is free'),
    ...(seen.directory.exists ? directoryFindings(seen) : []),
  ])
}

function leftover(code: string, path: string, what: string): Finding {
  const words = `a daemon that was killed left ${what}: the next start removes it by itself`
  return hint(code, words, { ...by(`rm ${quoted(path)}`), remove: path })
}

function directoryFindings({ directory, machine }: Seen): (Finding | false | null)[] {
  const { writable, freeBytes, freeInodes } = directory
  const path = quoted(directory.path)
  const disk = 'the disk of the data directory has'
  return [
    access(directory, machine.person),
    !writable &&
      problem(
        'DIRECTORY_READ_ONLY',
        'the data directory cannot be written',
        by(`ls -ld ${path}\nfindmnt --target ${path}`),
      ),
    freeBytes !== null &&
      freeBytes < LIMITS.doctorFreeBytesMin &&
      warning('DISK_SPACE', `${disk} ${bytes(freeBytes)} left`, by(`df -h ${path}`)),
    freeInodes !== null &&
      freeInodes < LIMITS.doctorFreeInodesMin &&
      warning('DISK_INODES', `${disk} room for ${plural(freeInodes, 'more file')}`, by(`df -i ${path}`)),
  ]
}

function access({ path, mode, uid }: Seen['directory'], person: Seen['machine']['person']): Finding | null {
  if (uid !== person.uid) {
    const words = `the data directory belongs to another user (${uid})`
    return warning('DIRECTORY_OWNER', words, by(`sudo chown -R ${person.user} ${quoted(path)}`, true))
  }
  if ((mode & 0o077) === 0) return null
  const words = `others may enter the data directory (mode ${(mode & 0o777).toString(8)})`
  return warning('DIRECTORY_MODE', words, { ...by(`chmod 700 ${quoted(path)}`), secure: path })
}
