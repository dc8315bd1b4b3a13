// A lack of descriptors, however it is told: what could not be loaded or opened for a moment is there all the same.
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { errnoOf, SpacedriveError } from './errors.js'

/** What the dynamic loader, and Node of a package.json, say of a file that they could not open. */
const LOADERS = /: (too many open files|file table overflow|Error 2[34])/i
/** How often a boot asks for what it would else do without until the next start. */
const TRIES = 3

/** Does it again where a descriptor was missing: whoever took the last may have given it back. */
export function again<Value>(work: () => Value): Value {
  for (let tries = 1; ; tries++) {
    try {
      return work()
    } catch (error) {
      if (!isShortage(error) || tries >= TRIES) throw error
    }
  }
}

export async function againLater<Value>(work: () => Promise<Value>): Promise<Value> {
  for (let tries = 1; ; tries++) {
    try {
      return await work()
    } catch (error) {
      if (!isShortage(error) || tries >= TRIES) throw error
    }
  }
}

/** A failure to load, in the words of what was missing: BUDGET_EXHAUSTED where that was a descriptor, else as it was thrown. */
export function fromLoading(error: unknown): unknown {
  if (!isShortage(error)) return error
  return new SpacedriveError('BUDGET_EXHAUSTED', `spacedrive could not be loaded whole: ${firstLine(error)}`, {
    cause: error,
    hint: 'Descriptors ran out while its files were read; try again shortly.',
  })
}

export function isShortage(error: unknown): boolean {
  const code = errnoOf(error) ?? ''
  if (code === 'EMFILE' || code === 'ENFILE' || code === 'BUDGET_EXHAUSTED') return true
  // SQLite's addon is loaded by the first open of a database, and what failed is told as any failure of an open.
  if (error instanceof SpacedriveError && error.cause !== undefined) return isShortage(error.cause)
  const whole = error instanceof Error ? error.message : String(error)
  const message = firstLine(error)
  // Node looks for the names of a CommonJS module in its files, and takes one that it could not open for an empty one.
  if (error instanceof SyntaxError && message.startsWith('Named export ')) return true
  // Said by Node with ERR_DLOPEN_FAILED, or wrapped in words of its own by a package that loads its addon itself.
  if (LOADERS.test(whole)) return true
  return (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') && isThere(whole)
}

/** Node takes a package.json that it could not open for none, and looks for an index.js then. */
function isThere(message: string): boolean {
  const path = /'(?:file:\/\/)?(\/[^']+)'/.exec(message)?.[1]
  if (path !== undefined) return existsSync(path) || existsSync(join(dirname(path), 'package.json'))
  // Of a package that was required by its name, Node says who asked for it.
  const [, name] = /^Cannot find module '([^']+)'/.exec(message) ?? []
  const [, asker] = /^- (\/.*)$/m.exec(message) ?? []
  if (name === undefined || asker === undefined) return false
  // As Node looks for it: from there upwards.
  for (let at = dirname(asker); at !== dirname(at); at = dirname(at))
    if (existsSync(join(at, 'node_modules', name, 'package.json'))) return true
  return false
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? ''
}
