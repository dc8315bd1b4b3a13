// Where one thread that asks has a library read: by its own shard, or by any that reads it as well. What is shared with which, and until
// when, sharing.ts in the main thread decides and tells all that ask.
//
// A read goes to whichever has the fewest of this thread's requests in flight, but to the library's own shard while a change is asked for
// here: so that who asks for a change and then reads finds it, also when he does not wait for the first answer. Who was answered finds
// it wherever he asks next, be it by another thread: reads are of snapshots that begin after they were asked for. Nobody has to know
// when a shard ceases to read a library: what reaches it later it gives back, and it is asked of the library's own.
import type { GiveUp, Reply, Request } from '../protocol/messages.js'
import type { OperationName } from '../protocol/operations.js'
import { WORK } from '../protocol/work.js'
import { GIVEN_UP, loadOf, type Asker, type Line } from './asker.js'
import { attempt } from './kept.js'
import type { SharedRead } from './lines.js'

type Answer = (reply: Reply) => void

/** How often a library was to be read since that was asked last. */
export type Reads = readonly [library: string, count: number]

const READS: ReadonlySet<OperationName> = new Set(['files.get', 'files.list', 'search.files'])

export class Spread {
  readonly #asker: Asker
  readonly #diskFailed: (library: string) => void
  readonly #elsewhere = new Map<string, readonly number[]>()
  /** Reads since they were taken last, by shard and library. */
  #reads: Map<string, number>[]

  /** @param diskFailed told where a change of a library that is read elsewhere fails with it */
  constructor(asker: Asker, diskFailed: (library: string) => void) {
    this.#asker = asker
    this.#diskFailed = diskFailed
    this.#reads = asker.lines.map(() => new Map())
  }

  /** @param shards beside its own; none: it is read by its own alone */
  tell(library: string, shards: readonly number[]): void {
    if (shards.length > 0) this.#elsewhere.set(library, shards)
    else this.#elsewhere.delete(library)
  }

  /** Of each shard the library that was read most, and how often. */
  takeHottest(): Reads[] {
    const reads = this.#reads
    this.#reads = reads.map((each) => (each.size > 0 ? new Map() : each))
    return reads.flatMap((each) => hottest(each) ?? [])
  }

  /** Anything of a library. @throws SHARD_LOST, SHARD_BUSY */
  ask(owner: Line, request: Request, answer: Answer, caller: object | undefined): GiveUp {
    const { operation, params } = request
    const library = params['library'] as string
    if (READS.has(operation)) {
      const line = this.#lineFor(library, owner)
      if (line !== owner) return this.#readElsewhere(line, owner, request, answer, caller)
    } else if (this.#elsewhere.has(library) && WORK[operation] === 'mutation') {
      return this.#asker.enqueue(owner, operation, params, this.#watched(library, answer), caller)
    }
    return this.#asker.enqueue(owner, operation, params, answer, caller)
  }

  #lineFor(library: string, owner: Line): Line {
    const { lines } = this.#asker
    if (lines.length === 1) return owner
    const reads = this.#reads[owner.number]!
    reads.set(library, (reads.get(library) ?? 0) + 1)
    const elsewhere = this.#elsewhere.get(library)
    if (!elsewhere || owner.kept.isChanging(library)) return owner
    let best = owner
    for (const each of elsewhere) if (loadOf(lines[each]!) < loadOf(best)) best = lines[each]!
    return best
  }

  #watched(library: string, answer: Answer): Answer {
    return (reply) => {
      if (!reply.ok && reply.error.code === 'DISK_FAILED') this.#diskFailed(library)
      answer(reply)
    }
  }

  /** By a shard that reads the library as well; where that cannot, by its own after all. */
  #readElsewhere(
    line: Line,
    owner: Line,
    { operation, params }: Request,
    answer: Answer,
    caller: object | undefined,
  ): GiveUp {
    let given = false
    let giveUp: GiveUp = () => undefined
    const other: Answer = (reply) => {
      if (reply.ok ? reply.bytes !== undefined || reply.json !== 'null' : reply.error.code === 'OVERLOADED')
        return answer(reply)
      if (given) return answer(GIVEN_UP)
      giveUp = attempt(answer, (told) => this.#asker.enqueue(owner, operation, params, told, caller)) ?? giveUp
    }
    giveUp = this.#asker.enqueue(line, 'shard.read', { operation, params } satisfies SharedRead, other, caller)
    return () => {
      given = true
      giveUp()
    }
  }
}

function hottest(reads: ReadonlyMap<string, number>): [Reads] | null {
  let most: Reads | null = null
  for (const each of reads) if (each[1] > (most?.[1] ?? 0)) most = each
  return most && [most]
}
