// What each kind of open costs, in descriptors. Measured: `bench/prices.mjs` prints them for this machine.

const nodeMajor = Number(process.versions.node.split('.')[0])

export const PRICES = {
  /** A worker thread's epoll, eventfds and pipe: 4 on Node 20, 5 since 22. */
  taskThread: nodeMajor >= 22 ? 5 : 4,
  /** An open library: database, -wal and -shm, which the first WAL connection brings, and the held lock file. */
  library: 4,
  /** A further connection to a library that is open: database and -wal; the -shm is shared. */
  connection: 2,
  /** A directory while it is read. */
  directory: 1,
} as const
