// What each kind of open costs, in descriptors, as expected. Those that vary are measured at every boot, see `Prices`; for all
// of them `bench/prices.mjs` prints what they are on this machine.

const nodeMajor = Number(process.versions.node.split('.')[0])

export const PRICES = {
  /** A worker thread's epoll, eventfds and pipe: 4 on Node 20, 5 since 22. */
  taskThread: nodeMajor >= 22 ? 5 : 4,
  /** What a thread takes beside that for a moment while it starts: one was seen, one is for other versions. */
  threadStart: 2,
  /** An open library: database, -wal and -shm, which the first WAL connection brings, and the held lock file. No more while it opens. */
  library: 4,
  /** A further connection to a library that is open: database and -wal; the -shm is shared. */
  connection: 2,
  /** A directory while it is read. */
  directory: 1,
  /** An inotify instance, however many watches it has. */
  watcher: 1,
  /** A port or a unix socket that is listened on. */
  listener: 1,
} as const

export type PriceName = keyof typeof PRICES
export type Prices = Readonly<Record<PriceName, number>>

/** Those that differ between versions of Node, SQLite and file systems. */
export const MEASURED = ['taskThread', 'library', 'connection'] as const satisfies readonly PriceName[]

/** A count that somebody else's opens fell into says nothing. */
const SURPRISE_MAX = 3

/** What was counted, or where it cannot be true, what is expected. Of fewer somebody else closed one, and too much would be lent. */
export function plausible(name: PriceName, counted: number): number {
  const more = counted - PRICES[name]
  return more >= 0 && more <= SURPRISE_MAX ? counted : PRICES[name]
}

/** What differs from the expected, in words. */
export function surprises(prices: Prices): string[] {
  return MEASURED.filter((name) => prices[name] !== PRICES[name]).map(
    (name) => `${NAMES[name]} costs ${prices[name]} descriptors here, ${PRICES[name]} were expected`,
  )
}

const NAMES = {
  taskThread: 'a thread',
  library: 'an open library',
  connection: 'a further connection to a library',
} as const
