// What an entry must be to be found: a condition on its row, on its name, or on its place in the tree.
import type { Connection } from './connection.js'
import type { Places } from './places.js'
import type { Ways } from './texts.js'

export type Value = number | string
/** Keeps a value for a statement, and gives the name that stands for it there. */
export type Bind = (value: Value) => string

/** In steps of a few milliseconds. */
export type FewNames = (connection: Connection) => Generator<void, ReadonlySet<number>>

export type Condition =
  /** Of the table `entry`; never NULL. `names`, where they are found without a look at all entries: of those for which it holds. */
  | { readonly row: (bind: Bind) => string; readonly names?: FewNames }
  /** Of its folded name, which contains the texts of one of the ways, and `text`. Where one name may take milliseconds it is slow. */
  | {
      readonly name: (name: string) => boolean
      readonly ways?: Ways
      readonly text?: string
      readonly isSlow?: boolean
    }
  /** Of its parent, negative for the root of a location, and the number of its name. */
  | {
      readonly place: (places: Places) => PlaceTest
      readonly anchors?: Anchors
      /** It also looks at what the entry holds, which costs a look into two more tables. */
      readonly asksHeld?: true
    }

/** From where everything that holds can be found by going down, instead of by looking at every entry. */
export interface Anchors {
  /** Everything below these directories; a location's root is below the negative number of the location. */
  readonly tops: readonly number[]
  /** And what a name that begins or ends so, or the root of a location, leads to. */
  readonly name?: AnchorName | undefined
  /** What an entry leads to: it holds for it, for all below it, or already for all below its parent. */
  readonly judge?: (places: Places) => (parent: number, name: number) => Judgement
}

export interface AnchorName {
  readonly text: string
  readonly place: 'start' | 'end'
  /** What the name of the directory ends with in which it must lie. */
  readonly within?: string
}

export interface Judgement {
  readonly above: boolean
  readonly below: boolean
}

/** @param held what library/held says of it; 0 of all where no condition asks for it */
export type PlaceTest = (parent: number, name: number, held: number) => boolean

/** Holds where the other does not. */
export function negated(condition: Condition): Condition {
  if ('row' in condition) return { row: (bind) => `NOT (${condition.row(bind)})` }
  if ('name' in condition)
    return { name: (name) => !condition.name(name), ...(condition.isSlow ? { isSlow: true } : {}) }
  return {
    place: (places) => {
      const test = condition.place(places)
      return (parent, name, held) => !test(parent, name, held)
    },
    ...(condition.asksHeld ? { asksHeld: true } : {}),
  }
}

export interface Rows {
  readonly sql: string
  readonly values: Readonly<Record<string, Value>>
  /** Whether each is to come with what its entry holds. */
  readonly asksHeld: boolean
}

/** Those on rows as one, with what its names stand for. */
export function rowsOf(conditions: readonly Condition[]): Rows {
  const values: Record<string, Value> = {}
  let count = 0
  const bind = (value: Value) => {
    const name = `v${count++}`
    values[name] = value
    return `@${name}`
  }
  const parts = conditions.flatMap((each) => ('row' in each ? [`(${each.row(bind)})`] : []))
  const asksHeld = conditions.some((each) => 'place' in each && each.asksHeld)
  return { sql: ['true', ...parts].join(' AND '), values, asksHeld }
}

/** Holds where all of them do; null where there are none. */
export function allOf<Test extends (...given: never[]) => boolean>(tests: readonly Test[]): Test | null {
  const [first, second, ...rest] = tests
  if (!first || !second) return first ?? null
  const both = ((...given) => first(...given) && second(...given)) as Test
  return allOf([both, ...rest])
}
