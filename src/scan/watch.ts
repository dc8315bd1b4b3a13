// Watches trees of directories through one inotify instance: which watch is of which directory, and whom an event concerns.
// What is not watched, because the kernel allows no more, is polled. Reads the disk, writes nothing.
import { errnoOf } from '../base/errors.js'
import type { Directory, WatchedTree } from './watched-tree.js'

/** One inotify instance, or what stands for it. */
export interface Kernel {
  /** The number of the watch: the same for the same directory. @throws the system's error, with `code` */
  add(path: Buffer): number
  remove(watch: number): void
  /** What happened since, as far as it goes in one piece; null where nothing did. */
  read(): Events | null
}

export interface Events {
  readonly watches: Int32Array
  readonly masks: Uint32Array
  readonly cookies: Uint32Array
  /** Each event's name; '' where it is about the directory itself. */
  readonly names: readonly string[]
}

/** As in linux/inotify.h. */
export const IN = {
  modify: 0x2,
  attrib: 0x4,
  closeWrite: 0x8,
  movedFrom: 0x40,
  movedTo: 0x80,
  create: 0x100,
  delete: 0x200,
  deleteSelf: 0x400,
  moveSelf: 0x800,
  unmount: 0x2000,
  overflow: 0x4000,
  ignored: 0x8000,
  onlyDirectories: 0x0100_0000,
  noLinks: 0x0200_0000,
  exceptUnlinked: 0x0400_0000,
  directory: 0x4000_0000,
} as const

export const WATCHED_FOR =
  IN.modify |
  IN.attrib |
  IN.closeWrite |
  IN.movedFrom |
  IN.movedTo |
  IN.create |
  IN.delete |
  IN.deleteSelf |
  IN.moveSelf |
  IN.onlyDirectories |
  IN.noLinks |
  IN.exceptUnlinked

/** What came of it: the same watch as before, another one, none because there may be no more, none for another reason, or it is gone. */
export type Bound = 'same' | 'new' | 'full' | 'refused' | 'gone'

/** Of the kernel's queue, 64 KiB each, until other work is done: more than eight times what it holds. */
const READS_MAX = 64

export class Watch {
  /** The errno with which watches are refused because there are too many, until one can be had again. */
  full: string | null = null
  readonly #trees = new Set<WatchedTree>()
  /** Directories of different trees may be the same one. */
  readonly #byNumber = new Map<number, Directory[]>()
  #kernel: Kernel | null

  /** @param kernel null where there is none: everything is polled */
  constructor(kernel: Kernel | null) {
    this.#kernel = kernel
  }

  get isLive(): boolean {
    return this.#kernel !== null
  }

  /** An instance could be had after all; what is polled is watched from the next poll on. */
  goLive(kernel: Kernel): void {
    this.#kernel = kernel
  }

  add(tree: WatchedTree): void {
    this.#trees.add(tree)
  }

  remove(tree: WatchedTree): void {
    this.#trees.delete(tree)
    tree.end()
  }

  /** Takes in all that has happened so far. */
  listen(): void {
    for (let reads = 0; reads < READS_MAX; reads++) {
      const events = this.#kernel?.read()
      if (!events) return this.#settle()
      const { watches, masks, cookies, names } = events
      for (let at = 0; at < watches.length; at++) this.#happened(watches[at]!, masks[at]!, cookies[at]!, names[at]!)
    }
  }

  /** Watches what lies at a path now. */
  bind(directory: Directory, path: Buffer): Bound {
    if (!this.#kernel) return 'refused'
    const number = this.#ask(path)
    if (number === directory.watch) return 'same'
    if (number === 'gone') return 'gone'
    this.unbind(directory)
    if (typeof number === 'string') return number
    const others = this.#byNumber.get(number)
    if (!others) this.full = null
    this.#share(number, directory, others ?? [])
    return 'new'
  }

  #share(number: number, directory: Directory, others: readonly Directory[]): void {
    // No directory is twice in one tree: the other place is one that it was moved from, or to, since.
    for (const other of others.filter(({ tree }) => tree === directory.tree)) {
      point(other, POLLED)
      other.tree.suspect(other)
    }
    this.#byNumber.set(number, [...others.filter(({ tree }) => tree !== directory.tree), directory])
    point(directory, number)
  }

  unbind(directory: Directory): void {
    const number = directory.watch
    const others = this.#byNumber.get(number)
    point(directory, POLLED)
    if (!others) return
    const left = others.filter((each) => each !== directory)
    if (left.length > 0) return void this.#byNumber.set(number, left)
    this.#byNumber.delete(number)
    this.#kernel?.remove(number)
  }

  #ask(path: Buffer): number | 'gone' | 'full' | 'refused' {
    try {
      return this.#kernel!.add(path)
    } catch (error) {
      const errno = errnoOf(error) ?? 'EIO'
      if (errno === 'ENOENT' || errno === 'ENOTDIR' || errno === 'ELOOP') return 'gone'
      if (errno !== 'ENOSPC' && errno !== 'ENOMEM') return 'refused'
      this.full = errno
      return 'full'
    }
  }

  #settle(): void {
    for (const tree of this.#trees) tree.settle()
  }

  #happened(number: number, mask: number, cookie: number, name: string): void {
    if (mask & IN.overflow) {
      for (const tree of this.#trees) tree.doubt()
      return
    }
    const directories = this.#byNumber.get(number) ?? []
    if (mask & IN.ignored) {
      this.#byNumber.delete(number)
      for (const directory of directories) {
        point(directory, POLLED)
        directory.tree.suspect(directory)
      }
    } else for (const directory of directories) directory.tree.happened(directory, mask, cookie, name)
  }
}

export const POLLED = -1

function point(directory: Directory, watch: number): void {
  directory.tree.live += Number(watch !== POLLED) - Number(directory.watch !== POLLED)
  directory.watch = watch
}
