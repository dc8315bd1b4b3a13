// Preloaded into a daemon: on SIGUSR2 its threads of one kind die in one way, as $DRILL (a file) says: `shard throw`, `task exit`, …
const { readFileSync } = require('node:fs')
const { BroadcastChannel, isMainThread, workerData } = require('node:worker_threads')

if (process.env.DRILL) {
  const channel = new BroadcastChannel('drill')
  if (isMainThread) process.on('SIGUSR2', () => channel.postMessage(readFileSync(process.env.DRILL, 'utf8').trim()))
  else {
    const kind = workerData?.ledger ? 'shard' : 'task'
    channel.onmessage = ({ data }) => {
      const [which, how] = data.split(' ')
      if (which === kind) DEATHS[how]()
    }
  }
  channel.unref()
}

const DEATHS = {
  throw: () =>
    setImmediate(() => {
      throw new Error('a drill')
    }),
  exit: () => process.exit(7),
  memory: () => {
    const held = []
    for (;;) held.push(new Array(100_000).fill({}))
  },
}
