// The form in which names and queries are compared: case and accents do not count.
import { isAscii } from 'node:buffer'
import { decodeName, printable } from '../scan/names.js'

const PLAIN = /^[\x00-\x7f]*$/
const MARKS = /[\u0300-\u036f]/g

/** "Übersicht.md" and "ubersicht.MD" fold alike; other scripts keep their vowel signs. */
export function fold(name: string): string {
  if (PLAIN.test(name)) return name.toLowerCase()
  // Capitals last: compatibility letters bring some ("™" is TM). The sigma that ends a word is any other in mid-word.
  return printable(name).normalize('NFKD').replace(MARKS, '').toLowerCase().replaceAll('ς', 'σ')
}

/** A block of names, each ending in NUL, folded as one: no rule of folding reaches across a NUL. */
export function foldBlock(bytes: Buffer): string {
  if (isAscii(bytes)) return bytes.toString('latin1').toLowerCase()
  return fold(decodeName(bytes))
}
