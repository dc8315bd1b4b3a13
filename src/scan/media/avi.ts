// Films in AVI: chunks as in WAV, some of which are lists of others.
import { bytesAt, setDuration, setSides, type Header, type Media } from './header.js'

export function avi(header: Header, into: Media): void {
  for (const [name, from, to] of within(header, 12, header.size))
    if (name === 'hdrl') return film(header, from, to, into)
}

function film(header: Header, start: number, end: number, into: Media): void {
  let secondsAFrame = 0
  for (const [name, from, to] of within(header, start, end)) {
    if (name === 'avih') {
      const numbers = bytesAt(header, from, 40)
      secondsAFrame = numbers.readUInt32LE(0) / 1e6
      setSides(into, numbers.readUInt32LE(32), numbers.readUInt32LE(36))
      setDuration(into, secondsAFrame * numbers.readUInt32LE(16))
    }
    // Of a film above a gigabyte the first number is that of its first part.
    if (name === 'odml')
      for (const [part, at] of within(header, from, to))
        if (part === 'dmlh') setDuration(into, secondsAFrame * bytesAt(header, at, 4).readUInt32LE(0))
  }
}

/** The chunks between two places, by name, and what each holds; a list by what it is a list of. */
function* within(header: Header, start: number, end: number): Generator<[name: string, from: number, to: number]> {
  for (let at = start; at + 12 <= end;) {
    const head = bytesAt(header, at, 12)
    const length = head.readUInt32LE(4)
    const to = Math.min(end, at + 8 + length)
    const isList = head.toString('latin1', 0, 4) === 'LIST'
    yield isList ? [head.toString('latin1', 8, 12), at + 12, to] : [head.toString('latin1', 0, 4), at + 8, to]
    at += 8 + length + (length % 2)
  }
}
