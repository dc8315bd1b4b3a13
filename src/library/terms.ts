// The words and patterns of a query, as what names and places are asked.
import type { Term } from '../protocol/query.js'
import type { Condition } from './conditions.js'
import type { Among } from './filters.js'
import { fold } from './fold.js'
import type { Sought } from './matcher.js'

export function soughtBy(terms: readonly Term[], _among: Among): { sought: Sought; conditions: Condition[] } {
  const words: string[] = []
  const tests: ((name: string) => boolean)[] = []
  for (const { text, not } of terms) {
    const folded = fold(text)
    // No name contains these two, and a NUL in what is looked for would match across names.
    const possible = !/[/\0]/.test(text)
    if (!not && possible) words.push(folded)
    else if (!not) tests.push(() => false)
    else if (possible) tests.push((name) => !name.includes(folded))
  }
  return { sought: { words, tests, ways: [] }, conditions: [] }
}
