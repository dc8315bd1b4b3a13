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
    seen.directory.hidden === true && hidden(seen),
    seen.directory.unusable !== undefined && unusable(seen.directory.path, seen.directory.unusable),
    seen.settings !== null && settings(seen.settings),
    ...(seen.directory.exists ? directoryFindings(seen) : []),
  ])
}

function leftover(code: string, path: string, what: string): Finding {
  const words = `a daemon that was killed left ${what}: the next start removes it by itself`
  return hint(code, words, { ...by(`rm ${quoted(path)}`), remove: path })
}

function directoryFindings(seen: Seen): (Finding | false | null)[] {
  const { directory } = seen
  const { writable, freeBytes, freeInodes } = directory
  const path = quoted(directory.path)
  const disk = 'the disk of the data directory has'
  return [
    access(seen),
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

function unusable(path: string, { why, target }: NonNullable<Seen['directory']['unusable']>): Finding {
  const mend = by(target === undefined ? `ls -ld ${quoted(path)}` : `mkdir -p ${quoted(target)}`)
  return problem('DIRECTORY_UNUSABLE', `the data directory ${why}`, mend)
}

function settings({ path, wrong }: NonNullable<Seen['settings']>): Finding {
  const mend = by(`# mend it, or start with the defaults:\nmv ${quoted(path)} ${quoted(`${path}.wrong`)}`)
  return problem('SETTINGS_WRONG', `no daemon starts with these settings: ${wrong}`, mend)
}

function hidden({ directory }: Seen): Finding {
  const words = 'the data directory lies where this user may not look: whether a daemon runs there is not known'
  return warning('DIRECTORY_OWNER', words, by(`sudo spacedrive doctor --data-dir ${quoted(directory.path)}`, true))
}

function access({ directory: { path, mode, uid }, machine: { person }, spacedrive }: Seen): Finding | null {
  if (uid !== person.uid) {
    const words = `the data directory belongs to another user (${uid})`
    // Whoever has a daemon that runs there would not start it again.
    if (spacedrive.some((each) => each.role === 'daemon' && each.uid === uid)) {
      const asThey = `sudo -u '#${uid}' spacedrive doctor --data-dir ${quoted(path)}`
      return warning('DIRECTORY_OWNER', `${words}, of whom a daemon runs`, by(asThey, true))
    }
    // What it is given root can use as it is; its user could not any more.
    if (person.uid === 0)
      return warning('DIRECTORY_OWNER', words, by(`sudo -u '#${uid}' spacedrive start --data-dir ${quoted(path)}`))
    return warning('DIRECTORY_OWNER', words, by(`sudo chown -R ${person.user} ${quoted(path)}`, true))
  }
  if ((mode & 0o077) === 0) return null
  const words = `others may enter the data directory (mode ${(mode & 0o777).toString(8)})`
  return warning('DIRECTORY_MODE', words, { ...by(`chmod 700 ${quoted(path)}`), secure: path })
}
