// Reading small files that may not be there or not be ours. A missing descriptor is neither, and is told.
import { readdirSync, readFileSync, readlinkSync, statSync, type Stats } from 'node:fs'
import { errnoOf, fromSystem } from '../base/errors.js'

export function textOf(path: string): string | null {
  return quiet(() => readFileSync(path, 'utf8'))
}

export function namesIn(path: string): string[] {
  return quiet(() => readdirSync(path)) ?? []
}

export function targetOf(path: string): string | null {
  return quiet(() => readlinkSync(path))
}

export function statOf(path: string): Stats | null {
  return quiet(() => statSync(path))
}

export function numberIn(path: string): number | null {
  const text = textOf(path)?.trim() ?? ''
  return /^\d+$/.test(text) ? Number(text) : null
}

/** @throws BUDGET_EXHAUSTED where this command itself, or the machine, has no descriptor left */
function quiet<Value>(read: () => Value): Value | null {
  try {
    return read()
  } catch (error) {
    if (errnoOf(error) === 'EMFILE' || errnoOf(error) === 'ENFILE') throw fromSystem(error)
    return null
  }
}
