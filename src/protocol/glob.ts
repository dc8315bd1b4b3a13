// Reads a glob as shells do: `*` and `?` stay within one name, `**` crosses any number of directories, `[a-z]` and
// `[!a-z]` are one character of a set, `{a,b}` one of several, and a backslash takes the next sign as it is.
import { ANY, END, START, all, any, repeat, text, type Pattern, type Range } from './pattern.js'
import { PartReader, refuse, type Part } from './spans.js'

const SLASH: Range = [0x2f, 0x2f]
const IN_NAME: Pattern = { kind: 'one', ranges: [SLASH], negated: true }
const HINT =
  'A glob is written like *.jp?g, img_[0-9]*.{jpg,png} or src/**/test-*.ts; "..." takes its signs as they are.'

/** Of a whole name, or of the whole end of a path; of the whole path where it begins with a slash. */
export function readGlob(part: Part): Pattern {
  const body = new Reader(part).sequence(false)
  const start = !part.text.includes('/') || part.text.startsWith('/') ? START : UP_TO_A_DIRECTORY
  return all([start, body, END])
}

/** Of a path where any one of its names matches. */
export function readGlobWithin(part: Part): Pattern {
  const body = new Reader(part).sequence(false)
  return all([UP_TO_A_DIRECTORY, body, any([END, text('/')])])
}

/** The part of a glob that the name itself must match, where it stands for one name. */
export function lastOf({ text: glob, at }: Part): Part | undefined {
  if (!glob.includes('/')) return undefined
  const from = glob.lastIndexOf('/') + 1
  const last = glob.slice(from)
  return last === '' || last.includes('**') || /[{}[\]\\]/.test(glob) ? undefined : { text: last, at: at + from }
}

const UP_TO_A_DIRECTORY = all([START, repeat(ANY, 0, Infinity), text('/')])

class Reader extends PartReader {
  sequence(nested: boolean): Pattern {
    const parts: Pattern[] = []
    while (this.at < this.text.length && !(nested && ',}'.includes(this.text[this.at]!))) parts.push(this.#atom())
    return all(parts)
  }

  #atom(): Pattern {
    const between = this.take('**/')
    // Also no directory at all.
    if (between) return any([all([]), all([repeat(ANY, 0, Infinity), text('/')])])
    if (this.take('**')) return repeat(ANY, 0, Infinity)
    if (this.take('*')) return repeat(IN_NAME, 0, Infinity)
    if (this.take('?')) return IN_NAME
    if (this.text[this.at] === '[') return this.#set() ?? text(this.character())
    if (this.text[this.at] === '{') return this.#choice()
    if (this.text[this.at] === '\\' && this.at + 1 < this.text.length) this.at += 1
    return text(this.character())
  }

  /** A bracket that nothing closes is one. */
  #set(): Pattern | undefined {
    const from = this.at
    const found = /^\[([!^]?)(\]?[^\]]*)\]/.exec(this.text.slice(from))
    if (!found || found[2] === '') return undefined
    this.at += found[0].length
    const members = [...found[2]!]
    const ranges: Range[] = []
    for (let at = 0; at < members.length; at++) {
      const first = members[at]!.codePointAt(0)!
      const isRange = members[at + 1] === '-' && at + 2 < members.length
      const last = isRange ? members[(at += 2)]!.codePointAt(0)! : first
      if (last < first)
        refuse({ at: this.start + from }, 'glob: the range in these brackets ends before it begins', HINT)
      ranges.push([first, last])
    }
    const negated = found[1] !== ''
    return { kind: 'one', ranges: negated ? [...ranges, SLASH] : ranges, negated }
  }

  #choice(): Pattern {
    const from = this.at
    this.take('{')
    const parts = [this.sequence(true)]
    while (this.take(',')) parts.push(this.sequence(true))
    if (!this.take('}')) refuse({ at: this.start + from }, 'glob: this bracket is not closed', HINT)
    return any(parts)
  }
}
