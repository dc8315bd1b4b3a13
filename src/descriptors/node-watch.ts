// What Node's own fs.watch tells of directories, put as inotify has it: for Linux without the addon. One descriptor, which belongs to
// the loop of the thread, and whose lease is the caller's.
//
// fs.watch says that something is another one by name, not what became of it: that is looked at. It hides which half of a move
// belongs to which, so that a directory that was moved is read anew, and it hides that the queue of the kernel ran over: from
// very many events at once, and now and then in any case, it is concluded that some may be missing.
// oxlint-disable-next-line no-restricted-imports -- whoever calls it expects it to throw
import { lstatSync, watch, type BigIntStats, type FSWatcher } from 'node:fs'
import { LIMITS } from '../base/limits.js'
import { decodeName } from '../scan/names.js'
import { IN, type Events, type Kernel } from '../scan/watch.js'

interface Watched {
  readonly number: number
  readonly key: string
  readonly watcher: FSWatcher
  /** Where it was asked for last. */
  path: Buffer
}

interface Happened {
  readonly number: number
  readonly mask: number
  readonly name: string
}

/** Reads that what happened waits for the rest of it. */
const HELD_MAX = 3

/** @throws EMFILE where this user has too many instances, or this process too many descriptors; ENOSYS but on Linux */
export function openNodeWatch(): NodeWatch {
  if (process.platform !== 'linux')
    throw Object.assign(new Error('ENOSYS: there is no addon, inotify_init1'), { code: 'ENOSYS' })
  return new NodeWatch()
}

export class NodeWatch implements Kernel {
  /** It is the loop's: closed with the thread. */
  readonly fd = -1
  readonly #byKey = new Map<string, Watched>()
  readonly #byNumber = new Map<number, Watched>()
  /** No more than `watchEventsMax`. */
  #happened: { readonly of: Watched; readonly isRename: boolean; readonly name: Buffer | null }[] = []
  #isOver = false
  /** Since it was read last. */
  #isFresh = false
  #held = 0
  #next = 0
  #reconcileAt = performance.now() + LIMITS.watchReconcileMs

  constructor() {
    // The first one opens the instance, or throws.
    watch('/', { persistent: false }).close()
  }

  add(path: Buffer): number {
    const before = keyOf(path)
    const known = this.#byKey.get(before)
    if (known) {
      known.path = path
      return known.number
    }
    const watcher = watch(path, { persistent: false, encoding: 'buffer' })
    // What ends it is told by an event as well.
    watcher.on('error', () => {})
    const watched: Watched = { number: this.#next++, key: before, watcher, path }
    try {
      if (keyOf(path) !== before) throw Object.assign(new Error('ENOENT: it was replaced, watch'), { code: 'ENOENT' })
    } catch (error) {
      watcher.close()
      throw error
    }
    watcher.on('change', (type: string, name: Buffer | null) => this.#note(watched, type === 'rename', name))
    this.#byKey.set(before, watched)
    this.#byNumber.set(watched.number, watched)
    return watched.number
  }

  remove(number: number): void {
    const watched = this.#byNumber.get(number)
    if (!watched) return
    this.#byNumber.delete(number)
    this.#byKey.delete(watched.key)
    watched.watcher.close()
  }

  read(): Events | null {
    if (this.#isOver || performance.now() >= this.#reconcileAt) return this.#overflow()
    // The other half of a move may not have been heard of.
    if (this.#isFresh && this.#held < HELD_MAX) {
      this.#isFresh = false
      this.#held += 1
      return null
    }
    if (this.#happened.length === 0) return null
    const told = this.#told()
    this.#forget()
    return eventsOf(told)
  }

  close(): void {
    for (const number of [...this.#byNumber.keys()]) this.remove(number)
  }

  #overflow(): Events {
    this.#isOver = false
    this.#reconcileAt = performance.now() + LIMITS.watchReconcileMs
    this.#forget()
    return eventsOf([{ number: -1, mask: IN.overflow, name: '' }])
  }

  #forget(): void {
    this.#happened = []
    this.#isFresh = false
    this.#held = 0
  }

  #note(of: Watched, isRename: boolean, name: Buffer | null): void {
    this.#isFresh = true
    if (name === null || this.#happened.length >= LIMITS.watchEventsMax) this.#isOver = true
    else this.#happened.push({ of, isRename, name })
  }

  /** Each name of each directory is looked at once, however much happened to it. */
  #told(): Happened[] {
    const told: Happened[] = []
    const seen = new Set<string>()
    for (const { of, isRename, name: bytes } of this.#happened) {
      const name = decodeName(bytes!)
      const once = `${of.number} ${isRename} ${name}`
      if (seen.has(once) || this.#byNumber.get(of.number) !== of) continue
      seen.add(once)
      told.push({ number: of.number, mask: isRename ? becameOf(of, bytes!) : IN.modify, name })
      // Of itself fs.watch says its own name, as of a child of that name: it may be watched no more.
      if (!isRename || !bytes!.equals(lastOf(of.path))) continue
      this.remove(of.number)
      told.push({ number: of.number, mask: IN.ignored, name: '' })
    }
    return told
  }
}

function eventsOf(happened: readonly Happened[]): Events {
  return {
    watches: Int32Array.from(happened, ({ number }) => number),
    masks: Uint32Array.from(happened, ({ mask }) => mask),
    cookies: new Uint32Array(happened.length),
    names: happened.map(({ name }) => name),
  }
}

/** What there is now. A directory that was there before is then another one, or its contents are to be read again. */
function becameOf({ path }: Watched, name: Buffer): number {
  const stat = statOf(Buffer.concat([path, Buffer.from('/'), name]))
  return (stat?.isDirectory() ? IN.create : IN.delete) | IN.directory
}

function lastOf(path: Buffer): Buffer {
  return path.subarray(path.lastIndexOf(0x2f) + 1)
}

function keyOf(path: Buffer): string {
  const stat = lstatSync(path, { bigint: true })
  if (!stat.isDirectory()) throw Object.assign(new Error('ENOTDIR: no directory, watch'), { code: 'ENOTDIR' })
  return `${stat.dev} ${stat.ino}`
}

function statOf(path: Buffer): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true })
  } catch {
    return undefined
  }
}
