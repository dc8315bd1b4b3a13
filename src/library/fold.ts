// The form in which names and queries are compared: case and accents do not count.
import { isAscii } from 'node:buffer'
import { decodeName, printable } from '../scan/names.js'

const PLAIN = /^[\x00-\x7f]*$/
const MARKS = /[\u0300-\u036f]/g
/** Letters that the tables of Unicode take for letters of their own, and people without them on their keyboard do not. */
const LETTERS: Readonly<Record<string, string>> = {
  ς: 'σ',
  ß: 'ss',
  ı: 'i',
  ø: 'o',
  ł: 'l',
  đ: 'd',
  ð: 'd',
  ħ: 'h',
  ŧ: 't',
  þ: 'th',
  æ: 'ae',
  œ: 'oe',
}
const LETTER = /[ςßıøłđðħŧþæœ]/g

/**
 * "Übersicht.md" and "ubersicht.MD" fold alike, and so does what macOS makes of the first; other scripts keep their vowel
 * signs. The index of trigrams is made of what this makes: where it changes, a migration has the index built anew.
 */
export function fold(name: string): string {
  if (PLAIN.test(name)) return name.toLowerCase()
  // Capitals after that: compatibility letters bring some ("™" is TM).
  const lower = printable(name).normalize('NFKD').replace(MARKS, '').toLowerCase()
  return lower.replace(LETTER, (letter) => LETTERS[letter]!)
}

/** A block of names, each ending in NUL, folded as one: no rule of folding reaches across a NUL. */
export function foldBlock(bytes: Buffer): string {
  if (isAscii(bytes)) return bytes.toString('latin1').toLowerCase()
  return fold(decodeName(bytes))
}
