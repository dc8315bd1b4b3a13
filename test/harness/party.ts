// Clients in a process of their own, which can be stopped while it holds its connections: what a test tells them and asks of them.
import assert from 'node:assert'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { ROOT, type TestDaemon } from './daemon.js'
import type { Fate, Group, Party } from './visitors.js'

export type { Fate, Group }

export interface Held {
  /** One for each group, in the order of the groups. */
  fates(): Promise<Fate[]>
  /** Stops them where they are: the kernel keeps their connections, and nobody reads or answers. */
  stop(): void
  goOn(): void
  /** Every connection of theirs is gone then. */
  leave(): Promise<void>
}

/** Each test of a file may have some at once: one listener ends all that are left. */
const all = new Set<ChildProcess>()
process.on('exit', () => all.forEach((child) => child.kill('SIGKILL')))

/** For a party whose sockets take next to nothing that is not read. @param folder for the library, of this test alone */
export function narrow(folder: string): NodeJS.ProcessEnv {
  const binary = join(folder, 'narrow.so')
  const source = join(ROOT, 'test', 'harness', 'narrow.c')
  const { status, stderr } = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', binary, source, '-ldl'], {
    encoding: 'utf8',
  })
  assert.equal(status, 0, stderr)
  return { LD_PRELOAD: binary }
}

export function party(
  { port, token }: TestDaemon,
  groups: readonly Group[],
  from = '127.0.0.1',
  env: NodeJS.ProcessEnv = {},
): Held {
  const script = join(import.meta.dirname, 'visitors.js')
  const asked: Party = { port, token, from, groups }
  const child = spawn(process.execPath, [script, JSON.stringify(asked)], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  })
  const exited = once(child, 'exit')
  all.add(child)
  // A test that failed does not wait for it.
  child.unref()
  for (const stream of [child.stdin, child.stdout] as unknown as Socket[]) stream.unref()
  const lines = createInterface({ input: child.stdout })
  return {
    async fates() {
      child.stdin.write('\n')
      const [line] = (await once(lines, 'line')) as [string]
      return JSON.parse(line) as Fate[]
    },
    stop: () => void child.kill('SIGSTOP'),
    goOn: () => void child.kill('SIGCONT'),
    async leave() {
      child.kill('SIGKILL')
      await exited
      all.delete(child)
    },
  }
}
