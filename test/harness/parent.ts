// A daemon that starts helper programs, to be run as a process of its own: DATA_DIR. Its first line on stdout is the ready line; each
// line on stdin is a program to start, answered by its pid; an empty one ends the last of them.
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { configure } from '../../src/config.js'
import { startDaemon } from '../../src/daemon.js'
import { startChild } from '../../src/descriptors/child.js'

const daemon = await startDaemon(
  configure({ dataDir: process.argv[2]!, flags: { http: { host: '127.0.0.1', port: 0 } } }),
)
process.on('SIGTERM', () => void daemon.close())
console.log(JSON.stringify(daemon.ready))

const children: ChildProcess[] = []
const lines = createInterface({ input: process.stdin })
lines.on('line', (line) => void obey(line))
await daemon.stopped
lines.close()

async function obey(line: string): Promise<void> {
  if (line === '') return await endLast()
  const [command = '', ...args] = line.split(' ')
  const child = startChild(command, args, { stdio: 'ignore' })
  children.push(child)
  console.log(child.pid)
}

async function endLast(): Promise<void> {
  const child = children.pop()!
  child.kill('SIGKILL')
  await once(child, 'exit')
  console.log('ended')
}
