// A scene: a directory that is gone after the test, the daemons that run in it, and what none of them may have said or left behind.
import assert from 'node:assert'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startDaemon, type Starting, type TestDaemon } from './daemon.js'
import { Shim } from './shim.js'

export class Scene {
  readonly directory = mkdtempSync(join(tmpdir(), 'sd-'))
  readonly dataDir = join(this.directory, 'data')
  readonly #daemons: TestDaemon[] = []
  readonly #shims: Shim[] = []
  readonly #closed: (() => unknown)[] = []

  path(...names: string[]): string {
    return join(this.directory, ...names)
  }

  async daemon(starting: Starting = {}, dataDir = this.dataDir): Promise<TestDaemon> {
    const daemon = await startDaemon(dataDir, starting)
    this.#daemons.push(daemon)
    return daemon
  }

  /** For a daemon whose system calls are to fail: `scene.daemon({ env: shim.env })`. One for each daemon. */
  shim(): Shim {
    const shim = new Shim(this.path(`shim ${this.#shims.length}`))
    this.#shims.push(shim)
    return shim
  }

  /** For what would keep this process alive after a test that failed half-way: called when the daemons are gone. */
  atEnd(close: () => unknown): void {
    this.#closed.push(close)
  }

  /** One that was started in another way; it ends with the scene too. */
  adopt(daemon: TestDaemon): TestDaemon {
    this.#daemons.push(daemon)
    return daemon
  }

  /** A tree of empty files, `perDirectory` in each directory. Returns its root. */
  tree(name: string, files: number, perDirectory = 100): string {
    const root = this.path(name)
    mkdirSync(root)
    for (let at = 0; at < files; at++) {
      const directory = join(root, `d${Math.floor(at / perDirectory)}`)
      if (at % perDirectory === 0) mkdirSync(directory)
      writeFileSync(join(directory, `file ${at}.txt`), '')
    }
    return root
  }

  async end(): Promise<void> {
    for (const daemon of this.#daemons) {
      daemon.hangUp()
      if (alive(daemon.pid)) await daemon.stop('SIGKILL')
    }
    for (const shim of this.#shims) shim.close()
    for (const close of this.#closed) await close()
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** Plays a scene; whatever happens, its daemons and its directory are gone afterwards. */
export async function play(act: (scene: Scene) => Promise<void>): Promise<void> {
  const scene = new Scene()
  try {
    chmodSync(scene.directory, 0o755)
    await act(scene)
  } finally {
    await scene.end()
  }
}

/** Every path below a directory, itself left out, with what `files.list` says of it. */
export function disk(root: string): Map<string, { kind: string; size: number }> {
  const found = new Map<string, { kind: string; size: number }>()
  for (const name of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
    const path = join(root, name)
    const seen = lstatSync(path)
    const kind = seen.isDirectory() ? 'directory' : seen.isFile() ? 'file' : seen.isSymbolicLink() ? 'symlink' : 'other'
    found.set(path, { kind, size: seen.size })
  }
  return found
}

/** The index of a library holds what is on disk: no more, no less, nothing twice. */
export async function sameAsDisk(daemon: TestDaemon, library: string, ...roots: string[]): Promise<void> {
  const indexed = await daemon.entries(library)
  const expected = new Map(roots.flatMap((root) => [...disk(root)]))
  const amiss = {
    missing: [...expected.keys()].filter((path) => !indexed.has(path)),
    left: [...indexed.keys()].filter((path) => !expected.has(path)),
  }
  assert.deepEqual(amiss, { missing: [], left: [] })
  for (const [path, { kind, size }] of expected) {
    const item = indexed.get(path)
    assert.equal(item.kind, kind, path)
    if (kind === 'file') assert.equal(item.size, size, path)
  }
}

export function alive(pid: number): boolean {
  return existsSync(`/proc/${pid}`) && stateOf({ pid }) !== 'Z'
}

/** As the kernel has it: R, S, T, Z and the like. */
export function stateOf({ pid }: { pid: number }): string {
  return /^State:\s+(\w)/m.exec(statusOf(pid))?.[1] ?? 'Z'
}

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8')
  } catch {
    return 'State: Z'
  }
}
