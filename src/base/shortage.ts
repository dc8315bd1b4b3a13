// A lack of descriptors, however it is told: what could not be loaded or opened for a moment is there all the same.
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { errnoOf, SpacedriveError } from './errors.js'

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
  const message = firstLine(error)
  // Node looks for the names of a CommonJS module in its files, and takes one that it could not open for an empty one.
  if (error instanceof SyntaxError && message.startsWith('Named export ')) return true
  if (code === 'ERR_DLOPEN_FAILED') return /: (Too many open files|Error 2[34])/.test(message)
  return (
    (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') &&
    isThere(error instanceof Error ? error.message : message)
  )
}

/** Node takes a package.json that it could not open for none, and looks for an index.js then. */
function isThere(message: string): boolean {
  const path = /'(?:file:\/\/)?(\/[^']+)'/.exec(message)?.[1]
  if (path !== undefined) return existsSync(path) || existsSync(join(dirname(path), 'package.json'))
  // Of a package that was required by its name, Node says who asked for it.
  const [, name] = /^Cannot find module '([^']+)'/.exec(message) ?? []
  const [, modules] = /^- (\/.*\/node_modules)\//m.exec(message) ?? []
  return name !== undefined && modules !== undefined && existsSync(join(modules, name, 'package.json'))
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? ''
}
