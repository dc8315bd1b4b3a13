// The words and patterns of a query, as what names and places are asked.
import { readPattern } from '../protocol/patterns.js'
import { lastOf, readGlob } from '../protocol/glob.js'
import type { Term } from '../protocol/query.js'
import { Automaton, type State } from './automaton.js'
import { negated, type Anchors, type Condition } from './conditions.js'
import { fold } from './fold.js'
import type { Locations } from './locations.js'
import { Inherited, type Places } from './places.js'
import { textOf, waysOf } from './required.js'

/** What no text contains. */
const NOWHERE: Condition = { name: () => false, ways: [] }

export function soughtBy(terms: readonly Term[], locations: Locations): { words: string[]; conditions: Condition[] } {
  const words: string[] = []
  const conditions: Condition[] = []
  for (const term of terms) {
    const found = isWord(term) ? [containing(term.text)] : conditionsOf(term, locations)
    if (term.not) conditions.push(...found.slice(0, 1).map(negated))
    else if (isWord(term) && canBeNamed(term.text)) words.push(fold(term.text))
    else conditions.push(...found)
  }
  return { words, conditions }
}

function isWord({ how, on }: Term): boolean {
  return how === 'text' && on === 'name'
}

/** No name contains these two, and a NUL in what is looked for would match across names. */
function canBeNamed(text: string): boolean {
  return !/[/\0]/.test(text)
}

function containing(text: string): Condition {
  const folded = fold(text)
  return canBeNamed(text) ? { name: (name) => name.includes(folded) } : NOWHERE
}

/** The first decides; what comes after it must hold as well, and is sooner found out. */
function conditionsOf(term: Term, locations: Locations): Condition[] {
  const pattern = readPattern(term)
  if (term.on === 'name') {
    return [named(pattern)]
  }
  const last = term.how === 'glob' ? lastOf(term) : undefined
  const anchors = term.how === 'text' ? anchorsOf(fold(term.text)) : undefined
  return [onPath(new Automaton(pattern), locations, anchors), ...(last ? [named(readGlob(last))] : [])]
}

function named(pattern: Parameters<typeof waysOf>[0]): Condition {
  const automaton = new Automaton(pattern)
  return { name: (name) => automaton.test(name), ways: waysOf(pattern), text: textOf(pattern), isSlow: true }
}

/** How far a path matches is remembered of each directory, so that an entry costs no more than its own name. */
function onPath(automaton: Automaton, locations: Locations, name: Anchors['name']): Condition {
  const judge = (places: Places) => {
    const above = statesAbove(automaton, places, locations)
    let { generation } = automaton
    const current = () => {
      if (generation !== automaton.generation) above.forget()
      generation = automaton.generation
      return above
    }
    const stateOf = (parent: number, each: number): State => {
      if (parent < 0) return automaton.run(automaton.start(), rootOf(parent, locations))
      const state = current().of(parent)
      return state.found || state.lost ? state : automaton.run(state, places.texts.folded(each))
    }
    return { stateOf, above: (parent: number) => parent >= 0 && current().of(parent).found }
  }
  return {
    place: (places) => {
      const { stateOf } = judge(places)
      return (parent, each) => automaton.ends(stateOf(parent, each))
    },
    ...(name && {
      anchors: {
        tops: [],
        name,
        judge: (places) => {
          const { stateOf, above } = judge(places)
          const isBelow = (state: State) => automaton.run(state, '/').found
          return (parent, each) => ({ above: above(parent), below: isBelow(stateOf(parent, each)) })
        },
      },
    }),
  }
}

/** The name in which a part of a path ends, and with it all paths that go on from there. */
function anchorsOf(path: string): Anchors['name'] {
  const [end = '', before = ''] = path.split('/').reverse()
  if (end !== '') return { text: end, place: 'start', ...(before !== '' && { within: before }) }
  return before === '' ? undefined : { text: before, place: 'end' }
}

function statesAbove(automaton: Automaton, places: Places, locations: Locations): Inherited<State> {
  return new Inherited<State>(
    places,
    () => automaton.start(),
    (state, _, [parent, name]) => {
      if (state.found) return state
      const text = parent < 0 ? rootOf(parent, locations) : places.texts.folded(name)
      return automaton.run(state, text === '/' ? text : `${text}/`)
    },
  )
}

/** @param root of whose location it is the negative number */
function rootOf(root: number, locations: Locations): string {
  return fold(locations.byId(-root)?.path ?? '')
}
