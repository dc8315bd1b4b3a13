// Whether a lack of descriptors is what is behind a failure to connect. Looking up a name opens files, and says that there is no such
// name, or that nobody answered, when it cannot.
import { errnoOf, fromSystem, type SpacedriveError } from '../base/errors.js'
import { proveRoom } from './reserve.js'

/** What a resolver says for lack of anything better; ECONNREFUSED is c-ares', which then has no syscall of its own. */
const UNSURE = new Set(['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL', 'EAI_MEMORY', 'EAI_NODATA', 'EAI_NONAME', 'EAI_SYSTEM'])

/** BUDGET_EXHAUSTED, or null where the error is what it says. */
export function shortageBehind(error: unknown): SpacedriveError | null {
  const told = [error, ...tried(error)].find((each) => ['EMFILE', 'ENFILE'].includes(errnoOf(each) ?? ''))
  if (told !== undefined) return fromSystem(told)
  return isLookup(error) ? noRoom() : null
}

/** One error for each address of a name. */
function tried(error: unknown): readonly unknown[] {
  return error instanceof AggregateError ? error.errors : []
}

function isLookup(error: unknown): boolean {
  const { syscall } = (error ?? {}) as { syscall?: unknown }
  const lookup = typeof syscall === 'string' && /^(getaddrinfo|query)/.test(syscall)
  return UNSURE.has(errnoOf(error) ?? '') || lookup
}

function noRoom(): SpacedriveError | null {
  try {
    proveRoom(1)
    return null
  } catch (error) {
    return fromSystem(error)
  }
}
