// The flight recorder: a ring of fixed-size records in a file that is opened and allocated at boot, so that the last minutes
// before trouble can be read afterwards, even when nothing could be opened, the disk was full, or the process was killed.
//
//   file:    header (512) │ record (512) │ record │ …            record n of all time lies in slot n mod RECORDS
//   record:  checksum │ kind, level, bytes of text │ 36 numbers │ text
//
// A record is one sector: after a kill it is there whole, after a power cut as far as the kernel had written it. The checksum
// tells a torn one.
import assert from 'node:assert'
import { closeSync, constants, fstatSync, ftruncateSync, openSync, readFileSync, readSync, writeSync } from 'node:fs'
import { fromSystem, SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { CLASSES, type DescriptorClass, type Level } from '../protocol/messages.js'
import { LEVELS } from './ledger.js'

const MAGIC = 'spacedrive flight 1\n'
const RECORD_BYTES = 512
const RECORDS = LIMITS.flightRecords
const FILE_BYTES = (RECORDS + 1) * RECORD_BYTES

const KIND_AT = 4
const LEVEL_AT = 5
const TEXT_BYTES_AT = 6
const NUMBERS_AT = 8
const NUMBERS_MAX = 36
const TEXT_AT = NUMBERS_AT + NUMBERS_MAX * 8
const TEXT_BYTES_MAX = RECORD_BYTES - TEXT_AT

const FLIGHT_KINDS = ['sample', 'start', 'stop', 'level', 'refusal', 'warning', 'error', 'fault'] as const
export type FlightKind = (typeof FLIGHT_KINDS)[number]

const GAUGES = [
  'open',
  'soft',
  'budget',
  'reserve',
  'unaccounted',
  'clients',
  'clientsRefused',
  'libraries',
  'connections',
  'inFlight',
  'waiting',
  'jobsRunning',
  'jobsQueued',
  'loopUtilization',
  'loopDelayMs',
  'heapBytes',
] as const

const [SEQUENCE, TIME, PID, LOST, EXHAUSTION] = [0, 1, 2, 3, 4]
const GAUGES_FROM = 5
/** Slots for classes: one more than there are, so that one can be added without another format. */
const CLASS_SLOTS = 6
const USED_FROM = NUMBERS_MAX - 2 * CLASS_SLOTS
const REFUSED_FROM = NUMBERS_MAX - CLASS_SLOTS
assert(GAUGES_FROM + GAUGES.length <= USED_FROM && CLASSES.length <= CLASS_SLOTS)

/** How the daemon is at one moment. */
export interface Flight extends Readonly<Record<(typeof GAUGES)[number], number>> {
  readonly level: Level
  /** Seconds until the budget is full, or null. */
  readonly exhaustionSeconds: number | null
  readonly classes: Readonly<Record<DescriptorClass, { readonly used: number; readonly refused: number }>>
}

export interface FlightEntry extends Flight {
  /** Counts on over restarts. */
  readonly sequence: number
  /** ISO 8601. */
  readonly at: string
  readonly pid: number
  readonly kind: FlightKind
  /** Events before this one that were too many to be written down. */
  readonly lost: number
  readonly text: string
}

const NOTHING_YET: Flight = {
  ...(Object.fromEntries(GAUGES.map((name) => [name, 0])) as Record<(typeof GAUGES)[number], number>),
  level: 'normal',
  exhaustionSeconds: null,
  classes: Object.fromEntries(CLASSES.map((name) => [name, { used: 0, refused: 0 }])) as unknown as Flight['classes'],
}

export class Recorder {
  readonly #fd: number
  readonly #record = Buffer.alloc(RECORD_BYTES)
  #sequence: number
  #last = NOTHING_YET
  #eventsLeft: number = LIMITS.flightEventsPerSecond
  #lost = 0
  #closed = false

  /**
   * Goes on in the file of an earlier run, and makes it where there is none.
   *
   * @throws DISK_FULL, READ_ONLY and whatever else stands in the way; nothing stays open then
   */
  static open(path: string): Recorder {
    const fd = openRing(path)
    try {
      return new Recorder(fd, prepare(fd) + 1)
    } catch (error) {
      closeSync(fd)
      throw fromSystem(error)
    }
  }

  constructor(fd: number, sequence: number) {
    this.#fd = fd
    this.#sequence = sequence
  }

  /** Once a second: how the daemon is now. */
  sample(flight: Flight): void {
    this.#last = flight
    this.#eventsLeft = LIMITS.flightEventsPerSecond
    this.#write('sample', '')
  }

  /** Something that happened, with the numbers of the last sample. Too many in one second are counted only. */
  note(kind: FlightKind, text: string): void {
    if (this.#eventsLeft === 0) this.#lost += 1
    else {
      this.#eventsLeft -= 1
      this.#write(kind, text)
    }
  }

  /** The same, however many there were: for what may be the last thing that is ever written. */
  mustNote(kind: FlightKind, text: string): void {
    this.#write(kind, text)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    closeSync(this.#fd)
  }

  #write(kind: FlightKind, text: string): void {
    if (this.#closed) return
    encode(this.#record, kind, text, this.#last, [this.#sequence, Date.now(), process.pid, this.#lost])
    const slot = this.#sequence % RECORDS
    this.#sequence += 1
    try {
      writeSync(this.#fd, this.#record, 0, RECORD_BYTES, (slot + 1) * RECORD_BYTES)
      this.#lost = 0
    } catch {
      // The space is allocated; what fails all the same (a disk that is gone) must not take the daemon along.
    }
  }
}

/**
 * What a flight recorder holds, oldest first; torn records are left out. Also of a daemon that runs, or was killed.
 *
 * @throws FILE_NOT_FOUND where there is none
 */
export function readFlight(path: string): FlightEntry[] {
  let file: Buffer
  try {
    file = readFileSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fromSystem(error)
    throw new SpacedriveError('FILE_NOT_FOUND', `there is no flight recorder at ${path}`, {
      cause: error,
      hint: 'It begins when the daemon first starts; --data-dir names another data directory.',
    })
  }
  if (!hasHeader(file)) return []
  return slots(file)
    .filter(whole)
    .map(decode)
    .sort((one, other) => one.sequence - other.sequence)
}

function openRing(path: string): number {
  try {
    // Not through a link, and never waiting, whatever lies there.
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0o600)
    if (fstatSync(fd).isFile()) return fd
    closeSync(fd)
  } catch (error) {
    throw fromSystem(error)
  }
  throw new SpacedriveError('BAD_CONFIG', `${path} is not a regular file`, { hint: 'Remove it and start again.' })
}

/** Writes out every byte of a new file, so that no later write needs space. Returns the last sequence number. */
function prepare(fd: number): number {
  const file = Buffer.alloc(FILE_BYTES)
  const bytes = readSync(fd, file, 0, FILE_BYTES, 0)
  if (bytes === FILE_BYTES && fstatSync(fd).size === FILE_BYTES && hasHeader(file)) return lastSequence(file)
  file.fill(0)
  file.write(MAGIC)
  ftruncateSync(fd, 0)
  let written = 0
  try {
    while (written < FILE_BYTES) written += writeSync(fd, file, written, FILE_BYTES - written, written)
  } catch (error) {
    ftruncateSync(fd, 0)
    throw error
  }
  return -1
}

function lastSequence(file: Buffer): number {
  const latestFirst = slots(file).sort((one, other) => numberAt(other, SEQUENCE) - numberAt(one, SEQUENCE))
  const latest = latestFirst.find(whole)
  return latest ? numberAt(latest, SEQUENCE) : -1
}

function hasHeader(file: Buffer): boolean {
  return file.length >= RECORD_BYTES && file.toString('latin1', 0, MAGIC.length) === MAGIC
}

function slots(file: Buffer): Buffer[] {
  const count = Math.floor(file.length / RECORD_BYTES) - 1
  return Array.from({ length: count }, (_, slot) => file.subarray((slot + 1) * RECORD_BYTES, (slot + 2) * RECORD_BYTES))
}

/** Whole, and of a kind this version knows. */
function whole(record: Buffer): boolean {
  return record[KIND_AT]! < FLIGHT_KINDS.length && numberAt(record, TIME) > 0 && record.readUInt32LE(0) === crc(record)
}

function encode(record: Buffer, kind: FlightKind, text: string, flight: Flight, numbers: readonly number[]): void {
  record.fill(0)
  record[KIND_AT] = FLIGHT_KINDS.indexOf(kind)
  record[LEVEL_AT] = LEVELS.indexOf(flight.level)
  // Cut between characters.
  record.writeUInt16LE(record.write(text, TEXT_AT, TEXT_BYTES_MAX, 'utf8'), TEXT_BYTES_AT)
  const put = (index: number, value: number) => record.writeDoubleLE(value, NUMBERS_AT + index * 8)
  numbers.forEach((value, index) => put(index, value))
  put(EXHAUSTION, flight.exhaustionSeconds ?? Number.NaN)
  GAUGES.forEach((name, index) => put(GAUGES_FROM + index, flight[name]))
  CLASSES.forEach((name, index) => {
    put(USED_FROM + index, flight.classes[name].used)
    put(REFUSED_FROM + index, flight.classes[name].refused)
  })
  record.writeUInt32LE(crc(record), 0)
}

function decode(record: Buffer): FlightEntry {
  const exhaustion = numberAt(record, EXHAUSTION)
  const gauges = GAUGES.map((name, index) => [name, numberAt(record, GAUGES_FROM + index)])
  const classes = CLASSES.map((name, index) => [
    name,
    { used: numberAt(record, USED_FROM + index), refused: numberAt(record, REFUSED_FROM + index) },
  ])
  return {
    sequence: numberAt(record, SEQUENCE),
    at: new Date(numberAt(record, TIME)).toISOString(),
    pid: numberAt(record, PID),
    kind: FLIGHT_KINDS[record[KIND_AT]!]!,
    level: LEVELS[record[LEVEL_AT]!] ?? 'critical',
    lost: numberAt(record, LOST),
    text: record.toString('utf8', TEXT_AT, TEXT_AT + record.readUInt16LE(TEXT_BYTES_AT)),
    exhaustionSeconds: Number.isNaN(exhaustion) ? null : exhaustion,
    classes: Object.fromEntries(classes) as Flight['classes'],
    ...(Object.fromEntries(gauges) as Record<(typeof GAUGES)[number], number>),
  }
}

function numberAt(record: Buffer, index: number): number {
  return record.readDoubleLE(NUMBERS_AT + index * 8)
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1
  return value
})

/** CRC-32 of all but the checksum itself; zlib has it, but not in every Node 20. */
function crc(record: Buffer): number {
  let value = 0xffffffff
  for (let at = KIND_AT; at < RECORD_BYTES; at += 1) value = CRC_TABLE[(value ^ record[at]!) & 0xff]! ^ (value >>> 8)
  return (value ^ 0xffffffff) >>> 0
}
