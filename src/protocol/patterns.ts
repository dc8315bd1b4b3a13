// The pattern that a term of a query asks for.
import { readGlob, readGlobWithin } from './glob.js'
import { hasSlash, text, type Pattern } from './pattern.js'
import { readRegex } from './regex.js'
import type { Part } from './spans.js'

export type How = 'text' | 'glob' | 'regex'

export interface Written extends Part {
  readonly how: How
  readonly on?: 'name' | 'path'
}

/** @throws BAD_REQUEST that points at what makes no sense */
export function readPattern({ how, on, text: given, at }: Written): Pattern {
  const part = { text: given, at }
  if (how === 'text') return text(given)
  if (how === 'regex') return readRegex(part)
  return on === 'path' && !given.includes('/') ? readGlobWithin(part) : readGlob(part)
}

/** Whether paths are asked for it, and not names, which have no slash. */
export function isOnPath(written: Written): boolean {
  return written.how === 'regex' ? hasSlash(readPattern(written)) : written.text.includes('/')
}
