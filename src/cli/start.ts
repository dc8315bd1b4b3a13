// `spacedrive start`: runs the daemon in the foreground, or detached; with --location it indexes as well.
import { statSync } from 'node:fs'
import type { Command } from 'commander'
import { fromSystem, SpacedriveError } from '../base/errors.js'
import { fromLoading } from '../base/shortage.js'
import { makeSocketDirectory, type Paths } from '../base/places.js'
import type { Config } from '../config.js'
import type { Daemon } from '../daemon.js'
import { strangerWarning } from '../directory.js'
import { collected } from './arguments.js'
import { absolute, type Asked } from './choice.js'
import type { Desk } from './desk.js'
import { startDetached, type Ready } from './detach.js'
import { EXIT, linesOf, UsageError } from './failure.js'
import { leave, leaveSoon } from './leave.js'
import { safe } from './text.js'
import { waitForTurn } from './turn.js'

interface StartOptions {
  readonly location: readonly string[]
  readonly http?: string
  readonly lineProtocol?: string
  readonly lineProtocolRemote?: boolean
  readonly maxConnections?: string
  readonly shards?: string
  readonly front?: string
  readonly fronts?: string
  readonly nofile?: string
  readonly allowHost: readonly string[]
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly logLevel?: string
  readonly traceLeases?: boolean
  readonly statisticsMs?: string
  readonly detach?: boolean
}

/** Options by the setting they set. */
const FLAGS = {
  http: '--http',
  lineProtocol: '--line-protocol',
  lineProtocolRemote: '--line-protocol-remote',
  connectionsMax: '--max-connections',
  shards: '--shards',
  front: '--front',
  fronts: '--fronts',
  nofile: '--nofile',
  hostsAllowed: '--allow-host',
  tlsCert: '--tls-cert',
  tlsKey: '--tls-key',
  logLevel: '--log-level',
  traceLeases: '--trace-leases',
  statisticsMs: '--statistics-ms',
} as const

export function addStart(program: Command, desk: Desk): void {
  program
    .command('start')
    .description('start the daemon in the foreground; Ctrl-C drains and stops it')
    .option('--location <PATH>', 'index this directory once it serves (may be repeated)', collected, [])
    .option(
      '--http <HOST:PORT>',
      'where to listen; port 0 picks one, off listens on the unix socket only (default: 127.0.0.1:8080)',
    )
    .option('--line-protocol <HOST:PORT>', "serve Spacedrive's own clients there; without a token (default: off)")
    .option('--line-protocol-remote', 'let that address be one that other machines reach')
    .option('--max-connections <N|auto>', 'most client connections at a time (default: auto)')
    .option('--shards <N|auto>', 'threads that serve libraries (default: auto)')
    .option('--front <uws|node|auto>', 'which server faces the clients (default: auto)')
    .option('--fronts <N>', 'threads that face the clients of that address; Linux only (default: 1, the main thread)')
    .option('--nofile <N>', 'cap on the descriptor limit it raises itself to')
    .option('--allow-host <HOST>', 'a Host header to accept beside its own address (may be repeated)', collected, [])
    .option('--tls-cert <FILE>', 'speak TLS by this certificate (PEM); read again when it changes')
    .option('--tls-key <FILE>', 'the key of that certificate')
    .option('--log-level <LEVEL>', 'trace, debug, info, warn, error, fatal or silent (default: info)')
    .option('--statistics-ms <MS>', 'log statistics once in this time (default: 60000)')
    .option('--trace-leases', 'remember where each lease of descriptors was taken; for finding leaks')
    .option('--detach', 'run in the background; returns once it serves')
    .action((options: StartOptions) => start(desk, options))
}

async function start(desk: Desk, options: StartOptions): Promise<void> {
  const roots = options.location.map(directory)
  const reread = await configOf(desk, options)
  const config = reread()
  const { paths } = desk
  if (makeSocketDirectory(paths))
    desk.note(`the data directory is too long a path for a socket, which is at ${paths.socket}`)
  if (!options.detach) return serve(desk, config, reread, roots)
  const argv = desk.argv.filter((each) => each !== '--detach' && each !== '--json')
  const ready = await startDetached(paths, argv)
  const stranger = strangerWarning(paths.dataDir)
  if (stranger !== null) desk.note(`warning: ${stranger}`)
  await desk.answer(ready, () => readyLines(ready, paths))
}

/** Looked at before anything starts: a mistyped path should cost nothing. */
function directory(path: string): string {
  const root = absolute(path)
  const found = statSync(root, { throwIfNoEntry: false })
  if (found?.isDirectory()) return root
  throw new SpacedriveError('PATH_REFUSED', `${root} ${found ? 'is not a directory' : 'does not exist'}`)
}

/** What it returns reads config.json, as often as it is called. */
async function configOf(desk: Desk, options: StartOptions): Promise<() => Config> {
  const { checkSettings, configure } = await import('../config.js').catch(rethrowLoading)
  const given = {
    http: options.http,
    lineProtocol: options.lineProtocol,
    lineProtocolRemote: options.lineProtocolRemote,
    connectionsMax: options.maxConnections,
    shards: options.shards,
    front: options.front,
    fronts: options.fronts,
    nofile: options.nofile,
    hostsAllowed: options.allowHost.length > 0 ? options.allowHost : undefined,
    tlsCert: options.tlsCert,
    tlsKey: options.tlsKey,
    logLevel: options.logLevel,
    traceLeases: options.traceLeases,
    statisticsMs: options.statisticsMs,
  }
  const { dataDir, instance } = desk.globals
  // Asked for first, so that a wrong --data-dir is a usage error here as everywhere.
  void desk.paths
  const flags = asUsage(() => checkSettings(given, (key) => FLAGS[key as keyof typeof FLAGS]))
  return () => configure({ dataDir, instance, env: desk.env, flags, flagNames: FLAGS })
}

function rethrowLoading(error: unknown): never {
  throw fromLoading(error)
}

function asUsage<Value>(check: () => Value): Value {
  try {
    return check()
  } catch (error) {
    if (error instanceof SpacedriveError)
      throw new UsageError(error.message, '`spacedrive start --help` explains the options.')
    throw error
  }
}

/** Node opens the files of a graph all at once, and of the daemon's there are many: some of them come before. */
async function loadServing() {
  await import('../shard/router.js')
  const { startDaemon } = await import('../daemon.js')
  const [{ addRoots }, { Guard }] = await Promise.all([import('./roots.js'), import('./guard.js')])
  return { startDaemon, addRoots, Guard }
}

async function serve(desk: Desk, config: Config, reread: () => Config, roots: readonly string[]): Promise<void> {
  // All that is needed later is loaded now: a load can fail once descriptors are short.
  const { startDaemon, addRoots, Guard } = await loadServing().catch(rethrowLoading)
  if (!waitForTurn()) return
  const stop = new Stop(desk)
  desk.terminal.outlivesReader = true
  try {
    const daemon = await startDaemon(config, { reread, unwanted: stop.asked })
    const guard = new Guard(daemon)
    daemon.faulted = (error) => guard.caught(error)
    for (const line of daemon.bootLines) desk.note(line)
    await desk.answer(daemon.ready, () => readyLines(daemon.ready, desk.paths))
    stop.arm(daemon)
    const indexed = addRoots(desk, askedOf(daemon), roots, stop.asked).then(
      () => roots.length > 0 && !stop.asked.aborted && desk.note(servingLine(daemon.ready)),
      (error: unknown) => stop.asked.aborted || desk.note(linesOf(error).join('\n')),
    )
    await daemon.stopped
    stop.disarm()
    leaveSoon(guard.faulted ? EXIT.failed : EXIT.done)
    await indexed
    guard.disarm()
    if (guard.faulted)
      throw new SpacedriveError('INTERNAL', `an error nobody caught ended it; ${desk.paths.logs} has it`)
  } catch (error) {
    // Told to stop before it served: it is down, as it was asked to be.
    if (!stop.asked.aborted || fromSystem(error).code !== 'CANCELLED') throw error
  } finally {
    stop.disarm()
  }
}

function askedOf(daemon: Daemon): Asked {
  return {
    call: <Result>(...[operation, params]: Parameters<Asked['call']>) =>
      daemon.call(operation, params ?? {}) as Promise<Result>,
  }
}

export function readyLines(ready: Ready, paths: Paths): string[] {
  return [
    `spacedrive is ready, pid ${ready.pid}`,
    `  address  ${ready.http ?? 'off'}`,
    `  socket   ${safe(ready.socket ?? 'off')}`,
    ...(ready.lineProtocol === null ? [] : [`  lines    ${safe(ready.lineProtocol)}`]),
    `  token    ${safe(paths.token)}`,
  ]
}

function servingLine({ http, socket }: Ready): string {
  return `serving at ${http ?? safe(socket ?? '')}; Ctrl-C stops`
}

/** Signals of a foreground daemon: the first drains, the second hurries, the third is final. Counts from before the boot on. */
class Stop {
  readonly #desk: Desk
  readonly #asking = new AbortController()
  readonly #onSignal = () => this.#signal()
  #count = 0
  #over = false
  #daemon: Daemon | undefined

  constructor(desk: Desk) {
    this.#desk = desk
    process.on('SIGINT', this.#onSignal)
    process.on('SIGTERM', this.#onSignal)
    // A terminal that was closed is no reason to lose what a drain saves.
    process.on('SIGHUP', this.#onSignal)
    // Node would take it for the wish to be debugged, by whoever on this machine connects to a port of its own.
    process.on('SIGUSR1', () => undefined)
  }

  /** Aborted once the daemon is to stop. */
  get asked(): AbortSignal {
    return this.#asking.signal
  }

  arm(daemon: Daemon): void {
    this.#daemon = daemon
    if (this.#count > 0) this.#close({})
  }

  /** The daemon is down. Its process ends in a moment by itself: a signal that comes now would only spoil its exit code. */
  disarm(): void {
    this.#asking.abort()
    this.#over = true
  }

  #signal(): void {
    if (this.#over) return
    this.#count += 1
    if (this.#count > 2) leave(1)
    this.#asking.abort()
    this.#desk.note(this.#count === 1 ? 'draining…' : 'hurrying…')
    this.#close(this.#count === 1 ? {} : { hurry: true })
  }

  #close(options: { hurry?: boolean }): void {
    // What goes wrong on the way down is the daemon's to log; `stopped` tells when it is over.
    this.#daemon?.close(options).catch((error: unknown) => this.#desk.note(linesOf(error).join('\n')))
  }
}
