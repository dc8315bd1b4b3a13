// An inotify instance: one descriptor, whose lease is the caller's.
import { decodeNames } from '../scan/names.js'
import { WATCHED_FOR, type Kernel } from '../scan/watch.js'
import type { Native } from './native.js'

export interface Inotify extends Kernel {
  readonly fd: number
  close(): void
}

/** @throws EMFILE where this user has too many instances, or this process too many descriptors; ENOSYS where there is none */
export function openInotify(addon: Native): Inotify {
  const fd = addon.watchOpen()
  return {
    fd,
    add: (path) => addon.watchAdd(fd, path, WATCHED_FOR),
    remove: (watch) => addon.watchRemove(fd, watch),
    read: () => {
      const events = addon.watchRead(fd)
      return events && { ...events, names: decodeNames(events.names) }
    },
    close: () => addon.watchClose(fd),
  }
}
