// Who listens on a TCP port of this machine, for the person who cannot have it.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { runChild } from './child.js'

/** `node, pid 123`, or null where it cannot be told: another user's programs are not ours to look into. */
export function listenerOf(port: number): string | null {
  try {
    return process.platform === 'linux' ? ofProc(port) : ofLsof(port)
  } catch {
    // Nothing that could be done better for knowing why.
    return null
  }
}

const LISTEN = '0A'

function ofProc(port: number): string | null {
  const sockets = new Set([...listeningInodes('/proc/net/tcp', port), ...listeningInodes('/proc/net/tcp6', port)])
  if (sockets.size === 0) return null
  const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && holdsOne(name, sockets))
  return pid === undefined ? null : wordsOf(pid)
}

/** A row: number, local address, remote address, state, …, inode as the tenth word. */
function listeningInodes(path: string, port: number): string[] {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const rows = readFileSync(path, 'utf8').split('\n')
  return rows.flatMap((row) => {
    const words = row.trim().split(/\s+/)
    return words[3] === LISTEN && words[1]!.endsWith(local) ? [`socket:[${words[9]}]`] : []
  })
}

function holdsOne(pid: string, sockets: ReadonlySet<string>): boolean {
  try {
    const folder = `/proc/${pid}/fd`
    return readdirSync(folder).some((fd) => sockets.has(readlinkSync(`${folder}/${fd}`)))
  } catch {
    // Gone, or not ours.
    return false
  }
}

function wordsOf(pid: string): string {
  const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  const program = words.some((word) => word.endsWith('dist/src/cli/main.js'))
    ? `a spacedrive daemon${dataDirIn(words)}`
    : readFileSync(`/proc/${pid}/comm`, 'utf8').trim()
  return `${program}, pid ${pid},`
}

function dataDirIn(words: readonly string[]): string {
  const at = words.indexOf('--data-dir')
  return at < 0 ? '' : ` (--data-dir ${words[at + 1]})`
}

function ofLsof(port: number): string | null {
  const { stdout } = runChild('lsof', ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-F', 'pc'])
  const [, pid, name] = /^p(\d+)\nc(.*)$/m.exec(stdout ?? '') ?? []
  return pid === undefined ? null : `${name}, pid ${pid},`
}
