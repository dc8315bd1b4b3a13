// The daemon's settings: defaults < config.json < environment < flags. Each source is checked once, the result frozen.
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { z } from './base/zod.js'
import { errnoOf, fromSystem, SpacedriveError } from './base/errors.js'
import { LIMITS } from './base/limits.js'
import { dataDirOf, instanceOf, paths, type Environment, type Place } from './base/places.js'

export { makeSocketDirectory, paths, type Paths } from './base/places.js'

export interface Address {
  readonly host: string
  readonly port: number
}

export interface Config {
  /** Absolute; the instance's own directory where one is named. */
  readonly dataDir: string
  readonly instance: string | null
  readonly http: Address | null
  /** Where Spacedrive's own clients are served; there is no token. */
  readonly lineProtocol: Address | null
  /** Whether others than this machine may reach it. */
  readonly lineProtocolRemote: boolean
  readonly connectionsMax: number | 'auto'
  readonly shards: number | 'auto'
  readonly front: 'auto' | 'uws' | 'node'
  /** Threads that face the clients; with one it is the main thread. */
  readonly fronts: number
  /** Cap on the soft limit the daemon raises itself to; null leaves it to the hard limit. */
  readonly nofile: number | null
  readonly hostsAllowed: readonly string[]
  /** Files in PEM by which TLS is spoken over TCP: both or neither. Absolute. */
  readonly tlsCert: string | null
  readonly tlsKey: string | null
  readonly logLevel: (typeof LOG_LEVELS)[number]
  /** Each lease of descriptors remembers the stack that took it. */
  readonly traceLeases: boolean
  /** Statistics are logged once in this time. */
  readonly statisticsMs: number
  /** How whoever gave a setting calls it, for messages. */
  readonly names: Readonly<Record<Setting, string>>
}

type Setting = keyof Omit<Config, 'dataDir' | 'instance' | 'names'>
/** What one source says; a key it does not mention is absent. */
export type Settings = { [Key in Setting]?: Config[Key] | undefined }

interface Given extends Place {
  readonly flags?: Settings
  /** What those are called; by their keys unless told otherwise. */
  readonly flagNames?: Readonly<Record<string, string>>
  readonly env?: Environment
}

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

/** The longest a timer of Node waits. */
const TIMER_MS_MAX = 2 ** 31 - 1

const DEFAULTS = {
  http: { host: '127.0.0.1', port: 8080 },
  lineProtocol: null,
  lineProtocolRemote: false,
  connectionsMax: 'auto',
  shards: 'auto',
  front: 'auto',
  fronts: 1,
  nofile: null,
  hostsAllowed: [],
  tlsCert: null,
  tlsKey: null,
  logLevel: 'info',
  traceLeases: false,
  statisticsMs: LIMITS.statisticsMs,
} as const satisfies Settings

const ENVIRONMENT = {
  http: 'SPACEDRIVE_HTTP',
  lineProtocol: 'SPACEDRIVE_LINE_PROTOCOL',
  lineProtocolRemote: 'SPACEDRIVE_LINE_PROTOCOL_REMOTE',
  connectionsMax: 'SPACEDRIVE_MAX_CONNECTIONS',
  shards: 'SPACEDRIVE_SHARDS',
  front: 'SPACEDRIVE_FRONT',
  fronts: 'SPACEDRIVE_FRONTS',
  nofile: 'SPACEDRIVE_NOFILE',
  hostsAllowed: 'SPACEDRIVE_ALLOW_HOSTS',
  tlsCert: 'SPACEDRIVE_TLS_CERT',
  tlsKey: 'SPACEDRIVE_TLS_KEY',
  logLevel: 'SPACEDRIVE_LOG_LEVEL',
  traceLeases: 'SPACEDRIVE_TRACE_LEASES',
  statisticsMs: 'SPACEDRIVE_STATISTICS_MS',
} as const satisfies Record<keyof Settings, string>

const ADDRESS_WORDS = 'expected HOST:PORT, [IPV6]:PORT or off'
const address = z.strictObject({
  host: z.string().min(1),
  port: z.int(ADDRESS_WORDS).min(0, ADDRESS_WORDS).max(65_535, ADDRESS_WORDS),
})
const http = z.union(
  [z.literal(['off', false, null]).transform(() => null), z.string().transform(parseAddress).pipe(address), address],
  ADDRESS_WORDS,
)

/** `HOST:PORT`, `[::1]:PORT`, or a bare port on the loopback. What is none of these comes back as undefined. */
function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]:|([^\s:/[\]]+):)?(\d{1,5})$/.exec(text)
  return match ? { host: match[1] ?? match[2] ?? DEFAULTS.http.host, port: Number(match[3]) } : undefined
}

function whole(max: number, words: string, min = 1) {
  const digits = z.string().regex(/^\d+$/).transform(Number)
  return z.union([z.number(), digits], words).pipe(z.int(words).min(min, words).max(max, words))
}

function wholeOrAuto(max: number) {
  const words = `expected a whole number from 1 to ${max}, or auto`
  return z.union([z.literal('auto'), whole(max, words)], words)
}

const SWITCH_WORDS = 'expected on or off'
const onOrOff = z.union(
  [
    z.boolean(),
    z.literal(['on', 'true', '1']).transform(() => true),
    z.literal(['off', 'false', '0']).transform(() => false),
  ],
  SWITCH_WORDS,
)

const HOST_WORDS = 'expected a host, or host:port, as it stands in the Host header'
const host = z.string(HOST_WORDS).regex(/^[A-Za-z0-9.\-_[\]:]+$/, HOST_WORDS)

const path = z
  .string('expected the path of a file')
  .min(1, 'expected the path of a file')
  .transform((given) => resolve(given))

const STATISTICS_WORDS = `expected milliseconds, from ${LIMITS.statisticsMsMin} to ${TIMER_MS_MAX}`

const settings = z
  .strictObject({
    http,
    lineProtocol: http,
    lineProtocolRemote: onOrOff,
    connectionsMax: wholeOrAuto(LIMITS.softMax),
    shards: wholeOrAuto(LIMITS.shardsMax),
    front: z.enum(['auto', 'uws', 'node'], 'expected auto, uws or node'),
    fronts: whole(LIMITS.frontsMax, `expected a whole number from 1 to ${LIMITS.frontsMax}`),
    nofile: whole(LIMITS.softMax, `expected a whole number from 1 to ${LIMITS.softMax}`).nullable(),
    hostsAllowed: z.array(host),
    tlsCert: path.nullable(),
    tlsKey: path.nullable(),
    logLevel: z.enum(LOG_LEVELS, `expected one of ${LOG_LEVELS.join(', ')}`),
    traceLeases: onOrOff,
    statisticsMs: whole(TIMER_MS_MAX, STATISTICS_WORDS, LIMITS.statisticsMsMin),
  })
  .partial()

/** @throws BAD_CONFIG when a setting is wrong, whichever source it came from */
export function configure(given: Given = {}): Config {
  const { flags = {}, flagNames = {}, env = process.env } = given
  const dataDir = dataDirOf(given, env)
  const path = paths(dataDir, env).config
  const inFile = defined(readConfigFile(path))
  const inEnvironment = defined(fromEnvironment(env))
  const names = {
    ...(namesOf(DEFAULTS, (key) => key) as Record<Setting, string>),
    ...namesOf(inFile, (key) => `${path}: ${key}`),
    ...namesOf(inEnvironment, (key) => `$${ENVIRONMENT[key]}`),
    ...namesOf(defined(flags), (key) => flagNames[key] ?? key),
  }
  const merged = Object.assign({ names }, DEFAULTS, inFile, inEnvironment, defined(flags))
  checkLines(merged)
  checkTls(merged)
  checkFronts(merged)
  return Object.freeze({
    dataDir,
    instance: instanceOf(given, env),
    ...merged,
    names: Object.freeze(names),
    http: merged.http && Object.freeze({ ...merged.http }),
    lineProtocol: merged.lineProtocol && Object.freeze({ ...merged.lineProtocol }),
    hostsAllowed: Object.freeze([...merged.hostsAllowed]),
  })
}

/**
 * What the file and the environment say, each by itself: flags may still add to it.
 *
 * @throws BAD_CONFIG
 */
export function checkSources(file: string, env: Environment): void {
  readConfigFile(file)
  fromEnvironment(env)
}

function namesOf(given: Settings, nameOf: (key: Setting) => string): Record<string, string> {
  return Object.fromEntries(Object.keys(given).map((key) => [key, nameOf(key as Setting)]))
}

type Some<Key extends Setting> = Pick<Config, Key | 'names'>

function checkTls({ tlsCert, tlsKey, front, names }: Some<'tlsCert' | 'tlsKey' | 'front'>): void {
  if (tlsCert === null && tlsKey === null) return
  if (tlsCert === null || tlsKey === null) {
    const [given, missing] =
      tlsCert === null ? [names.tlsKey, '--tls-cert FILE, or tlsCert'] : [names.tlsCert, '--tls-key FILE, or tlsKey']
    throw new SpacedriveError('BAD_CONFIG', `${given}: a certificate and its key go together`, {
      hint: `Name the other file as well, with ${missing} in config.json.`,
    })
  }
  if (front === 'uws') {
    const hint = 'Give auto or node, or put a proxy that speaks TLS in front.'
    throw new SpacedriveError('BAD_CONFIG', `${names.front}: TLS is spoken by node:http only`, { hint })
  }
}

function checkFronts({ fronts, http, names }: Some<'fronts' | 'http'>): void {
  if (fronts === 1 || http !== null) return
  const hint = 'Give 1, or an address.'
  throw new SpacedriveError('BAD_CONFIG', `${names.fronts}: there is no address to listen at`, { hint })
}

/** Who reaches that port may do everything. */
function checkLines({ lineProtocol, lineProtocolRemote, names }: Some<'lineProtocol' | 'lineProtocolRemote'>): void {
  if (!lineProtocol || lineProtocolRemote || LOOPBACK.test(lineProtocol.host)) return
  const message = `${names.lineProtocol}: ${lineProtocol.host} can be reached from other machines`
  throw new SpacedriveError('BAD_CONFIG', message, {
    hint: 'The line protocol has no token. Use 127.0.0.1, or allow it with --line-protocol-remote behind a firewall.',
  })
}

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[?::1\]?)$/i

/**
 * Checks what one source says.
 *
 * @param nameOf how that source calls a setting, for the message
 * @throws BAD_CONFIG naming the first setting that is wrong
 */
export function checkSettings(raw: unknown, nameOf: (key: string) => string, hint?: string): Settings {
  const checked = settings.safeParse(raw)
  if (checked.success) return checked.data
  const [issue] = checked.error.issues
  const key = issue?.code === 'unrecognized_keys' ? issue.keys[0] : issue?.path[0]
  const words = issue?.code === 'unrecognized_keys' ? 'no such setting' : (issue?.message ?? 'wrong')
  throw new SpacedriveError(
    'BAD_CONFIG',
    key === undefined ? `${nameOf('')}${words}` : `${nameOf(String(key))}: ${words}`,
    hint === undefined ? {} : { hint },
  )
}

function readConfigFile(path: string): Settings {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return {}
    if (fromSystem(error).code === 'BUDGET_EXHAUSTED') throw fromSystem(error)
    if (errnoOf(error) === 'ENOTDIR' || errnoOf(error) === 'ELOOP') {
      const hint = 'Name a directory of your own with --data-dir.'
      const words = `the data directory ${dirname(path)} is none: ${(error as Error).message}`
      throw new SpacedriveError('BAD_CONFIG', words, { cause: error, hint })
    }
    if (errnoOf(error) === 'EACCES') {
      const hint = 'Name a directory of your own with --data-dir, or mend the permissions of this one.'
      throw new SpacedriveError('BAD_CONFIG', `the data directory may not be read by this user: ${path}`, {
        cause: error,
        hint,
      })
    }
    throw new SpacedriveError('BAD_CONFIG', `${path} cannot be read: ${(error as Error).message}`, { cause: error })
  }
  return checkSettings(parseConfigFile(path, text), (key) => `${path}: ${key}`, FILE_HINT)
}

const FILE_HINT = `Mend it, or move it away to use the defaults. Settings of this version: ${Object.keys(DEFAULTS).join(', ')}.`

function parseConfigFile(path: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new SpacedriveError('BAD_CONFIG', `${path} is not JSON: ${(error as Error).message}`, {
      cause: error,
      hint: FILE_HINT,
    })
  }
}

function fromEnvironment(env: Environment): Settings {
  const raw: Record<string, unknown> = {}
  for (const [key, name] of Object.entries(ENVIRONMENT)) {
    const value = env[name]
    if (value === undefined || value === '') continue
    raw[key] = key === 'hostsAllowed' ? value.split(',').map((each) => each.trim()) : value
  }
  return checkSettings(raw, (key) => `$${ENVIRONMENT[key as keyof Settings]}`)
}

function defined(given: Settings): Settings {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
}
