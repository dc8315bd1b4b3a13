// System calls of a running daemon that fail on request: the test's half of shim.c, which is compiled once a run and preloaded.
import assert from 'node:assert'
import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { ROOT } from './daemon.js'

/** In the order of `enum call` in shim.c. Each stands for its whole family: `open` for openat, opendir and fopen as well. */
export const CALLS = [
  'open',
  'accept',
  'socket',
  'pipe',
  'eventfd',
  'epoll',
  'inotify',
  'dup',
  'watch',
  'read',
  'write',
  'fsync',
  'truncate',
  'allocate',
  'lock',
  'thread',
  'limit',
] as const
export type Call = (typeof CALLS)[number]

/** The calls that take a descriptor. */
export const TAKING: readonly Call[] = ['open', 'accept', 'socket', 'pipe', 'eventfd', 'epoll', 'inotify', 'dup']

export type Errno = keyof typeof constants.errno

export interface Failing {
  readonly calls: Call | readonly Call[]
  /** A part of the path, as it was given to the call; for calls on a descriptor, of what that points to. Any if absent. */
  readonly path?: string
  /** `HANGS`: as where a file system does not answer. It goes on when the rule ends. */
  readonly errno: Errno | 'HANGS'
  /** So many matching calls pass before the first that fails. */
  readonly after?: number
  /** Only one fails. */
  readonly once?: boolean
  /** So many fail, the rest pass again. */
  readonly times?: number
  /** Of the calls that would fail, this share does, 0 to 1. */
  readonly probability?: number
  readonly seed?: number
  readonly thread?: 'main' | 'others'
}

export interface Rule {
  readonly matched: number
  readonly failed: number
  /** What the call that failed last was about. */
  readonly last: string
  /** Calls that match pass again; the counts stay. */
  end(): void
}

export type Counts = Record<Call, { readonly calls: number; readonly failed: number }>

// As in shim.c, which asserts the sums.
const COUNTS_AT = 64
const RULES_AT = COUNTS_AT + 60 * 16
const RULE_BYTES = 560
const RULES_MAX = 8
const TEXT_BYTES = 256

export class Shim {
  /** What a daemon is to be started with. It does not reach what the daemon starts. */
  readonly env: Readonly<Record<string, string>>
  readonly #file: number
  #rules = 0

  /** @param control a path for the file by which both sides talk; not on a file system that the daemon sees another of */
  constructor(control: string) {
    this.#file = openSync(control, 'w+')
    writeSync(this.#file, Buffer.alloc(RULES_AT + RULES_MAX * RULE_BYTES))
    this.env = { LD_PRELOAD: library(), SPACEDRIVE_SHIM: control }
  }

  /** From now on these calls fail. Rules add up, eight at a time; the first that matches decides. */
  fail(failing: Failing): Rule {
    assert(this.#rules < RULES_MAX, 'clear() makes room for more rules')
    const at = RULES_AT + this.#rules++ * RULE_BYTES
    const { path = '', after = 0, once = false, times = once ? 1 : 0, probability, seed = 1, thread } = failing
    assert(Buffer.byteLength(path) < TEXT_BYTES)
    const rule = Buffer.alloc(RULE_BYTES)
    rule.writeInt32LE(failing.errno === 'HANGS' ? -1 : constants.errno[failing.errno], 4)
    rule.writeUInt32LE(maskOf([failing.calls].flat()), 8)
    rule.writeUInt32LE(after, 12)
    rule.writeUInt32LE(times, 16)
    rule.writeUInt32LE(probability === undefined ? 0 : Math.max(1, Math.min(probability * 2 ** 32, 2 ** 32 - 1)), 20)
    rule.writeUInt32LE(thread === undefined ? 0 : thread === 'main' ? 1 : 2, 24)
    rule.writeUInt32LE(seed, 28)
    rule.write(path, 48)
    this.#write(at, rule)
    this.#setActive(at, true)
    return this.#ruleAt(at)
  }

  /** No call fails any more. */
  clear(): void {
    for (; this.#rules > 0; this.#rules--) this.#setActive(RULES_AT + (this.#rules - 1) * RULE_BYTES, false)
  }

  /** Of the daemon since its start; `failed` by our doing. */
  counts(): Counts {
    const bytes = this.#read(COUNTS_AT, CALLS.length * 16)
    const entries = CALLS.map((call, at) => [call, { calls: count(bytes, at * 16), failed: count(bytes, at * 16 + 8) }])
    return Object.fromEntries(entries) as Counts
  }

  /** What malloc keeps though nobody uses it goes back to the kernel, with the next call that this stands in for. */
  trim(): void {
    this.#write(4, Buffer.from([1, 0, 0, 0]))
  }

  /** Bytes that malloc had lent after it was trimmed last. */
  get malloced(): number {
    return count(this.#read(8, 8), 0)
  }

  /** The process that took this up; 0 before it started, or where preloading does not work. */
  get attached(): number {
    return this.#read(0, 4).readUInt32LE()
  }

  close(): void {
    closeSync(this.#file)
  }

  #ruleAt(at: number): Rule {
    const read = () => this.#read(at, RULE_BYTES)
    return {
      get matched() {
        return count(read(), 32)
      },
      get failed() {
        return count(read(), 40)
      },
      get last() {
        const text = read().subarray(48 + TEXT_BYTES)
        return text.subarray(0, text.indexOf(0)).toString()
      },
      end: () => this.#setActive(at, false),
    }
  }

  #setActive(at: number, active: boolean): void {
    this.#write(at, Buffer.from([active ? 1 : 0, 0, 0, 0]))
  }

  #write(at: number, bytes: Buffer): void {
    writeSync(this.#file, bytes, 0, bytes.length, at)
  }

  #read(at: number, length: number): Buffer {
    const bytes = Buffer.alloc(length)
    readSync(this.#file, bytes, 0, length, at)
    return bytes
  }
}

/** Why system calls cannot be made to fail here, or null. */
export function shimProblem(): string | null {
  if (process.platform !== 'linux') return `shim.c is written for Linux, this is ${process.platform}`
  return spawnSync('cc', ['--version']).status === 0 ? null : 'there is no C compiler `cc`'
}

let compiled: string | undefined

/** Compiled once by each process that asks, and gone with it. */
function library(): string {
  if (compiled !== undefined) return compiled
  const directory = mkdtempSync(join(tmpdir(), 'sd-shim-'))
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
  const source = join(ROOT, 'test', 'harness', 'shim.c')
  const output = join(directory, 'shim.so')
  // Checked builds would define some of these calls as macros.
  const flags = ['-shared', '-fPIC', '-O1', '-Wall', '-Werror', '-U_FORTIFY_SOURCE']
  const { status, stderr } = spawnSync('cc', [...flags, '-o', output, source, '-ldl', '-lpthread'])
  assert.equal(status, 0, stderr?.toString() ?? 'no C compiler')
  return (compiled = output)
}

function maskOf(calls: readonly Call[]): number {
  return calls.reduce((mask, call) => mask | (1 << CALLS.indexOf(call)), 0)
}

function count(bytes: Buffer, at: number): number {
  return Number(bytes.readBigUInt64LE(at))
}
