// Descriptors that nobody accounts for: which of them stay, when they have become more, and who is likeliest to have left them.
import { LIMITS } from '../base/limits.js'
import type { Leak } from '../protocol/messages.js'
import type { Seen } from './look.js'
import { libraryOf, type Named } from './names.js'

interface Suspect {
  readonly one: Seen
  readonly firstAt: number
}

export class Leaks {
  /** By number and inode: a number that was closed and is used again is another descriptor. */
  readonly #suspects = new Map<string, Suspect>()
  /** Those that were there at the last alarm, and still are. */
  readonly #told = new Set<string>()
  #alarmedAt = -Infinity

  /** Without a name at two looks some time apart. What was between an open and its lease is none by the second. */
  settled(now: number): Seen[] {
    return [...this.#suspects.values()].filter((each) => isSettled(each, now)).map(({ one }) => one)
  }

  /** Whether another look soon would tell more. */
  get doubtful(): boolean {
    return this.#suspects.size > this.#told.size
  }

  /** Those that one look did not find are no longer there. */
  keep(unaccounted: readonly Seen[]): void {
    const found = new Set(unaccounted.map(keyOf))
    for (const key of this.#suspects.keys()) if (!found.has(key)) this.#suspects.delete(key)
    for (const key of this.#told) if (!found.has(key)) this.#told.delete(key)
  }

  /**
   * @param unaccounted what one look found
   * @returns the leak to raise an alarm about, if there is one now
   */
  consider(unaccounted: readonly Seen[], named: Named, now: number): Leak | null {
    this.keep(unaccounted)
    for (const one of unaccounted) {
      const key = keyOf(one)
      if (!this.#suspects.has(key)) this.#suspects.set(key, { one, firstAt: now })
    }
    const settled = this.settled(now)
    const fresh = settled.filter((one) => !this.#told.has(keyOf(one)))
    if (fresh.length < LIMITS.leakGrowthMin || now - this.#alarmedAt < LIMITS.leakAlarmMs) return null
    this.#alarmedAt = now
    for (const one of fresh) this.#told.add(keyOf(one))
    const oldest = Math.min(...fresh.map((one) => this.#suspects.get(keyOf(one))!.firstAt))
    return {
      unaccounted: settled.length,
      growth: fresh.length,
      withinMs: Math.round(now - oldest),
      likeliest: likeliestOf(fresh, named),
      targets: [...new Set(fresh.map(({ target }) => target))].slice(0, LIMITS.leakTargetsMax),
    }
  }
}

function isSettled({ firstAt }: Suspect, now: number): boolean {
  return now - firstAt >= LIMITS.leakSettleMs
}

function keyOf({ fd, inode, target }: Seen): string {
  return `${fd} ${inode || target}`
}

interface Candidate {
  readonly holder: string
  /** What speaks for it, as the end of "N of M …". */
  readonly why: string
  readonly where?: readonly string[]
}

/** Who most of them point at. Where a path or an address says nothing, who was at work meanwhile. */
export function likeliestOf(fresh: readonly Seen[], named: Named): Leak['likeliest'] {
  const votes = new Map<string, { candidate: Candidate; count: number }>()
  for (const one of fresh) {
    const candidate = candidateOf(one, named)
    if (!candidate) continue
    const vote = votes.get(candidate.holder) ?? { candidate, count: 0 }
    vote.count += 1
    votes.set(candidate.holder, vote)
  }
  const [most] = [...votes.values()].toSorted((one, other) => other.count - one.count)
  if (!most) return byActivity(fresh, named)
  const { candidate, count } = most
  const { where } = candidate
  return {
    holder: candidate.holder,
    why: `${count} of ${fresh.length} ${candidate.why}`,
    ...(where ? { where: [...where] } : {}),
  }
}

function candidateOf(one: Seen, named: Named): Candidate | null {
  if (one.kind === 'file' || one.kind === 'directory') return byPath(one.target, named)
  if (one.kind !== 'socket' || one.family === null) return null
  if (one.family !== 'unix' && [named.doors.port, named.doors.lines?.port].includes(one.localPort))
    return { holder: 'the front', why: `came to its port, beyond the ${named.doors.clients} connections it counts` }
  if (one.family === 'unix' || one.peer === '') return null
  return { holder: `whoever connects to ${one.peer}`, why: 'are connections to there' }
}

function byPath(target: string, { jobs, leases, libraries }: Named): Candidate | null {
  const lease = leases
    .filter(({ path }) => path !== undefined && isBelow(target, path))
    .toSorted((one, other) => one.ageMs - other.ageMs)[0]
  const traced = lease?.where ? { where: lease.where } : {}
  if (isBelow(target, libraries)) {
    return { holder: libraryOf(target, libraries), why: 'lie in its folder, beyond what it has leases for', ...traced }
  }
  const job = jobs.find(({ path }) => isBelow(target, path))
  if (job)
    return {
      holder: `job ${job.job} of library ${job.library}`,
      why: `lie below ${job.path}, which it reads`,
      ...traced,
    }
  if (lease) return { holder: lease.holder, why: `lie below ${lease.path!}, beyond what it has leases for`, ...traced }
  const [, addon] = /\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(target) ?? []
  return addon === undefined ? null : { holder: `package ${addon}`, why: 'lie in it' }
}

/** A job opens files and directories. What has no path comes from native code, and who is at work is told beside. */
function byActivity(fresh: readonly Seen[], { jobs, leases }: Named): Leak['likeliest'] {
  const nobody = `no library, job or connection covers ${fresh[0]!.target}`
  const job = jobs[0] && `job ${jobs[0].job} of library ${jobs[0].library}`
  const atWork = job ?? leases.find((each) => each.class === 'jobs')?.holder
  const hasPath = fresh.some(({ kind }) => kind === 'file' || kind === 'directory')
  if (hasPath && atWork !== undefined) return { holder: atWork, why: `${nobody}; it was at work meanwhile` }
  const meanwhile = atWork === undefined ? 'no job was at work' : `${atWork} was at work`
  return { holder: 'an addon or the runtime', why: `${nobody}; meanwhile ${meanwhile}` }
}

function isBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith('/') ? folder : `${folder}/`)
}
