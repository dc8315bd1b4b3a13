// What may not begin while something other than descriptors is short. Files are not sent while it is critical, nor those of a
// shard that refuses others or is late, nor any while readers are refused, but a few small ones; long answers not while memory is
// short, nor while the main loop is late; jobs wait. Short reads, writes and subscriptions go on whatever presses, and control is
// never asked. One in a second is let through all the same: where nothing that is refused was the cause, as on a machine whose
// cores are others', nobody is refused for ever.
import { SpacedriveError, toWire, type WireError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { isAtLeast, type Ledger } from '../descriptors/ledger.js'
import { CAUSE_WORDS } from '../descriptors/pressure.js'
import { CAUSES, STREAM, type Cause, type Level, type Request } from '../protocol/messages.js'
import { comeAgainMs, type WhyFilesWait } from './asker.js'

type Kind = 'stream' | 'long'

/** From which level of which cause a kind of work is refused, the worst cause first. */
const REFUSED_FROM: Readonly<Record<Kind, Readonly<Partial<Record<Cause, Level>>>>> = {
  stream: { memory: 'critical', loop: 'critical' },
  long: { memory: 'high', loop: 'critical' },
}

const WHAT: Readonly<Record<Kind, string>> = {
  stream: 'no file is sent until that is over',
  long: `no more than ${LIMITS.pageDefault} rows are answered at a time until that is over`,
}

/** Made once: an error that is thrown costs more than all else of a refusal. */
const REFUSALS = Object.fromEntries(
  (Object.keys(REFUSED_FROM) as Kind[]).map((kind) => [
    kind,
    Object.fromEntries(CAUSES.map((cause) => [cause, refusal(cause, kind)])),
  ]),
) as Readonly<Record<Kind, Readonly<Record<Cause, WireError>>>>

/** Why files of the library wait for what is asked of the shards. @param isOld the queue of some shard is, for a second by now */
export type FilesWait = (library: string, isOld: boolean) => WhyFilesWait | null

export class Pressed {
  readonly #ledger: Ledger
  readonly #filesWait: FilesWait
  readonly #bytesRead: () => number
  #letThroughAt = -Infinity
  /** Apart from the others: what comes each few milliseconds would be the one of every second. */
  #crowdFileAt = -Infinity
  #readBefore = 0

  /** @param bytesRead so many so far, of all files that were sent by this thread */
  constructor(ledger: Ledger, filesWait: FilesWait, bytesRead: () => number) {
    this.#ledger = ledger
    this.#filesWait = filesWait
    this.#bytesRead = bytesRead
  }

  /** Why this may not begin now, or null. @param caller `STREAM` where it is for bytes to be sent */
  refuses(request: Request, caller?: object): WireError | null {
    const isStream = caller === STREAM
    const waits = isStream ? this.#whyItWaits(request) : null
    if (!waits && !this.#ledger.isPressed) return null
    const kind = isStream ? 'stream' : isLong(request) ? 'long' : null
    const pressing = kind && this.#cause(kind)
    const cause = pressing ?? (waits ? 'queue' : null)
    if (!kind || !cause) return null
    if (waits === 'crowd' && !pressing ? this.#letsCrowdFile() : this.#letsOne()) return null
    this.#ledger.refusedFor(cause)
    return { ...REFUSALS[kind][cause], retryAfterMs: comeAgainMs() }
  }

  #letsOne(): boolean {
    const now = performance.now()
    if (now - this.#letThroughAt < LIMITS.pressedLetThroughMs) return false
    this.#letThroughAt = now
    return true
  }

  #letsCrowdFile(): boolean {
    const now = performance.now()
    const eachMs = this.#crowdFileMs
    // One more than is due, for a loop that is late has those of its whole turn before it at once.
    const dueAt = Math.max(this.#crowdFileAt, now - 2 * eachMs) + eachMs
    if (dueAt > now) return false
    this.#crowdFileAt = dueAt
    this.#readBefore = this.#bytesRead()
    return true
  }

  /** A small one costs less than to answer what is refused for it would; long ones, whoever began them, leave no time for others. */
  get #crowdFileMs(): number {
    const read = this.#bytesRead() - this.#readBefore
    return Math.min(LIMITS.pressedLetThroughMs, LIMITS.crowdFileMs + read / LIMITS.crowdFileBytesInMs)
  }

  #whyItWaits({ params }: Request): WhyFilesWait | null {
    const { library } = params as { readonly library: string }
    return this.#filesWait(library, isAtLeast(this.#ledger.causes.queue, 'critical'))
  }

  #cause(kind: Kind): Cause | null {
    const { causes } = this.#ledger
    const from = Object.entries(REFUSED_FROM[kind]) as [Cause, Level][]
    return from.find(([cause, level]) => isAtLeast(causes[cause], level))?.[0] ?? null
  }
}

function isLong({ params }: Request): boolean {
  const { limit } = params as { readonly limit?: number }
  return limit !== undefined && limit > LIMITS.pageDefault
}

function refusal(cause: Cause, kind: Kind): WireError {
  const less =
    kind === 'long' ? { hint: `Ask for at most ${LIMITS.pageDefault} rows, or again after \`retryAfterMs\`.` } : {}
  return toWire(new SpacedriveError('OVERLOADED', `${CAUSE_WORDS[cause]}: ${WHAT[kind]}`, less))
}
