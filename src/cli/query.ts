// What `spacedrive search` says about its query: how it is written, and where it makes no sense.
import { columnsOf, safe } from './text.js'

export const QUERY_HELP = `
All words are in the name, in any order; "annual report" is one piece:
  -word                         is not in it; a dash works before all of these
  *.jp?g  img_*.{jpg,png}       a glob, of the whole name
  re:^img_\\d+                   a regular expression
  src/lib  src/**/*.ts          a slash: in the path, or a glob of its end
Beside words the query may have filters, all of which hold:
  ext:pdf,docx                  any of these extensions
  kind:file                     or directory, symlink, other
  type:image,video              by what files hold: document, code, audio, ...
  path:/srv/docs                everything below; path:lib has lib in its path
  size:>1M  size:10K..2M        > >= < <=, B K M G T (powers of 1,024)
  modified:<30d  modified:>1y   younger, older than; h d w m y (m: months)
  modified:2026-01              also 2026, 2026-01-15, today, yesterday, A..B
  tag:work                      has this tag, or one below it
  location:NAME                 in this location, by its name or id
  is:hidden                     begins with a dot, or lies below what does
  is:duplicate                  another file holds the same
"..." takes anything as text, also what looks like a filter. A shell takes
such marks, > and < for itself: put the whole query into '...'.`

const COLUMNS_BEFORE = 40
const COLUMNS_MAX = 78

/** The query, or the part of it that matters, and a caret below the character. */
export function pointAt(query: string, position: number): [string, string] {
  const before = [...safe(query.slice(0, position))]
  const shown = before.length > COLUMNS_BEFORE ? `…${before.slice(1 - COLUMNS_BEFORE).join('')}` : before.join('')
  const after = safe(query.slice(position))
  return [shown + start(after, COLUMNS_MAX - columnsOf(shown)), `${' '.repeat(columnsOf(shown))}^`]
}

function start(text: string, columnsMax: number): string {
  if (columnsOf(text) <= columnsMax) return text
  return `${[...text].slice(0, Math.max(1, columnsMax >> 1)).join('')}…`
}
