// A model of a directory tree: each change is made on a real disk and in the model, which knows what a disk does not tell: which
// file is the same one as before. What an index then holds is judged by it.
import {
  linkSync,
  lstatSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import fc from 'fast-check'
import type { Library } from '../../src/library/library.js'
import { encodeName } from '../../src/scan/names.js'
import { indexed } from '../library/stage.js'

const KINDS = [
  'create',
  'mkdir',
  'nest',
  'write',
  'grow',
  'touch',
  'rename',
  'over',
  'swap',
  'rotate',
  'save',
  'recase',
  'delete',
  'link',
  'symlink',
  'become',
] as const

/** One change; the numbers choose among what is there. */
export interface Step {
  readonly what: (typeof KINDS)[number]
  readonly a: number
  readonly b: number
  readonly name: string
}

const NAMES = ['a', 'b', 'c', 'A', 'ä', 'a\u0308', '\udcff', 'caf\udce9', 'two\nlines', "it's", 'x'.repeat(255)]

export const step: fc.Arbitrary<Step> = fc.record({
  what: fc.constantFrom(...KINDS),
  a: fc.nat(500),
  b: fc.nat(500),
  name: fc.constantFrom(...NAMES),
})

/** One thing on disk, under however many names. */
interface Thing {
  readonly below: Map<string, Thing> | null
  /** Size or time are not what they were. */
  isTouched: boolean
  /** It has a time from before it was made: nothing that a watcher told of it proves that it is the same one once it was written. */
  isDated?: boolean
}

interface Spot {
  readonly parent: Thing
  readonly name: string
  readonly path: string
  readonly thing: Thing
}

interface Seen {
  readonly ids: Map<string, number>
  readonly tags: Map<number, string[]>
  readonly things: Map<string, Thing>
}

export class Model {
  readonly #root: string
  readonly #top: Thing = { below: new Map(), isTouched: false }
  /** Each thing that a path was of since the last look. */
  #history = new Map<string, Set<Thing>>()
  /** Tags of what is gone: what comes to its path next has them. */
  readonly #waiting = new Set<string>()
  #before: Seen | null = null
  #stamp = 1_000_000
  /** Where a disk does not say when a file was made, one that was moved and written is another one. */
  readonly #tellsBirth: boolean

  constructor(root: string) {
    this.#root = root
    this.#tellsBirth = lstatSync(root, { bigint: true }).birthtimeNs > 0n
  }

  /** What cannot be done on the disk is not done. */
  change({ what, a, b, name }: Step): void {
    const spots = [...this.#walk()]
    const places: Pick<Spot, 'thing' | 'path'>[] = [
      { thing: this.#top, path: '' },
      ...spots.filter(({ thing }) => thing.below),
    ]
    const one = spots[a % Math.max(1, spots.length)]
    const other = spots[b % Math.max(1, spots.length)]
    const place = places[b % places.length]!
    try {
      this.#do(what, one, other, { parent: place.thing, name, path: below(place.path, name) }, b)
    } catch {
      // A directory into itself, a file over a directory, a name that is taken.
    }
    for (const { path, thing } of this.#walk()) this.#note(path, thing)
  }

  #do(what: Step['what'], one: Spot | undefined, other: Spot | undefined, to: Omit<Spot, 'thing'>, size: number): void {
    if (what === 'create') return this.#write(to, size)
    if (what === 'mkdir') return this.#mkdir(to)
    if (what === 'nest') {
      this.#mkdir(to)
      const within = to.parent.below!.get(to.name)!
      this.#mkdir({ parent: within, name: 'within', path: below(to.path, 'within') })
      return this.#write({ parent: within, name: 'file', path: below(to.path, 'file') }, size)
    }
    if (what === 'symlink') {
      symlinkSync('/dev/null/nowhere', this.#at(to.path))
      return void to.parent.below!.set(to.name, { below: null, isTouched: true })
    }
    if (!one || !other) return
    const isFile = one.thing.below === null && lstatSync(this.#at(one.path)).isFile()
    if (what === 'write' && isFile) this.#write(one, size)
    else if (what === 'grow' && isFile) {
      truncateSync(this.#at(one.path), 2 ** 33 + size)
      one.thing.isTouched = true
    } else if (what === 'touch') {
      if (one.thing.below === null && !isFile) return
      utimesSync(this.#at(one.path), 1, (this.#stamp += 1))
      one.thing.isTouched = true
      one.thing.isDated = true
    } else if (what === 'rename') this.#move(one, to)
    else if (what === 'over') this.#move(one, other)
    else if (what === 'recase')
      this.#move(one, { ...one, name: turned(one.name), path: beside(one.path, turned(one.name)) })
    else if (what === 'swap') {
      const aside = { parent: this.#top, name: 'aside', path: 'aside' }
      if (other.path === one.path || within(one.path, other.path) || within(other.path, one.path)) return
      this.#move(one, aside)
      this.#move(other, one)
      this.#move(aside, other)
    } else if (what === 'rotate') {
      this.#move(one, to)
      if (isFile) this.#write(one, size)
      else if (one.thing.below) this.#mkdir(one)
    } else if (what === 'save' && isFile) {
      const draft = { parent: one.parent, name: 'draft', path: beside(one.path, 'draft') }
      this.#write(draft, size)
      this.#move(draft, one)
    } else if (what === 'link' && !one.thing.below) {
      linkSync(this.#at(one.path), this.#at(to.path))
      to.parent.below!.set(to.name, one.thing)
    } else if (what === 'delete') this.#remove(one)
    else if (what === 'become') {
      this.#remove(one)
      if (one.thing.below) this.#write(one, size)
      else this.#mkdir(one)
    }
  }

  #write({ parent, name, path }: Omit<Spot, 'thing'>, size: number): void {
    writeFileSync(this.#at(path), 'x'.repeat(size % 60))
    const there = parent.below!.get(name)
    if (there) there.isTouched = true
    else parent.below!.set(name, { below: null, isTouched: true })
  }

  #mkdir({ parent, name, path }: Omit<Spot, 'thing'>): void {
    mkdirSync(this.#at(path))
    parent.below!.set(name, { below: new Map(), isTouched: true })
  }

  #remove({ parent, name, path }: Omit<Spot, 'thing'>): void {
    rmSync(this.#at(path), { recursive: true })
    parent.below!.delete(name)
  }

  #move(from: Omit<Spot, 'thing'>, to: Omit<Spot, 'thing'>): void {
    renameSync(this.#at(from.path), this.#at(to.path))
    const thing = from.parent.below!.get(from.name)!
    // Onto another name of the same file: the system does nothing.
    if (to.parent.below!.get(to.name) === thing) return
    from.parent.below!.delete(from.name)
    to.parent.below!.set(to.name, thing)
    this.#note(to.path, thing)
  }

  #at(path: string): Buffer {
    return encodeName(`${this.#root}/${path}`)
  }

  *#walk(thing = this.#top, above = ''): Generator<Spot> {
    for (const [name, each] of [...thing.below!]) {
      const path = below(above, name)
      yield { parent: thing, name, path, thing: each }
      if (each.below) yield* this.#walk(each, path)
    }
  }

  #note(path: string, thing: Thing): void {
    const known = this.#history.get(path)
    if (known) known.add(thing)
    else this.#history.set(path, new Set([thing]))
  }

  /** From now on what the index holds is what the model is compared with. */
  look(library: Library, location: string): void {
    const ids = new Map([...indexed(library, location)].map(([path, { id }]) => [path, id]))
    const things = new Map([...this.#walk()].map(({ path, thing }) => [path, thing]))
    for (const thing of things.values()) thing.isTouched = false
    this.#history = new Map([...things].map(([path, thing]) => [path, new Set([thing])]))
    this.#before = { ids, tags: tagsOf(library, ids), things }
  }

  /** Gives each entry that has none a tag of its own, before a look. */
  tag(library: Library, location: string): void {
    const ids = new Map([...indexed(library, location)].map(([path, { id }]) => [path, id]))
    const tags = tagsOf(library, ids)
    library.write(() => {
      for (const id of ids.values()) {
        if (tags.get(id)!.length > 0) continue
        const tag = library.tags.create({ name: `tag ${(this.#stamp += 1)}` })
        library.tagged.add([id], tag.id)
      }
    })
  }

  /**
   * What is wrong with the ids and tags of an index since the last look, in words.
   *
   * @param inOnePiece nothing was told to the index between two of the changes
   * @param looked all that was there at the last look had been looked at by a whole scan
   */
  judge(library: Library, location: string, inOnePiece: boolean, looked = false): string[] {
    const { ids, tags, things } = this.#before!
    const now = new Map([...indexed(library, location)].map(([path, { id }]) => [path, id]))
    const there = new Map([...this.#walk()].map(({ path, thing }) => [path, thing]))
    const told: string[] = []
    for (const path of there.keys()) if (!now.has(path)) told.push(`${path}: not in the index`)
    for (const path of now.keys()) if (path !== '' && !there.has(path)) told.push(`${path}: not in the model`)
    const places = new Map([...now].map(([path, id]) => [id, path]))
    if (places.size !== now.size) told.push('an id is there twice')
    told.push(...this.#falseOnes(ids, places, things, there))
    if (inOnePiece) told.push(...this.#lostOnes(ids, now, things, there, looked))
    for (const id of ids.values()) if (!places.has(id)) for (const tag of tags.get(id)!) this.#waiting.add(tag)
    const tagsNow = tagsOf(library, now)
    for (const [path, id] of ids) {
      const place = places.get(id)
      if (place === undefined) continue
      const [had, has] = [tags.get(id)!, tagsNow.get(id)!]
      if (had.some((tag) => !has.includes(tag)) || has.some((tag) => !had.includes(tag) && !this.#waiting.has(tag)))
        told.push(`${path}: its tags were ${had.join()}, at ${place} they are ${has.join()}`)
    }
    return told
  }

  /** An entry that is now of something else, which never had anything to do with what it was of. */
  #falseOnes(
    ids: ReadonlyMap<string, number>,
    places: ReadonlyMap<number, string>,
    things: ReadonlyMap<string, Thing>,
    there: ReadonlyMap<string, Thing>,
  ): string[] {
    return [...ids].flatMap(([path, id]) => {
      const place = places.get(id)
      if (place === undefined || place === path) return []
      const [was, is] = [things.get(path)!, there.get(place)!]
      if (was === is || this.#shared(was, is)) return []
      // With the directory that it lies in.
      const [above, aboveNow] = [ids.get(parentOf(path)), places.get(id) === undefined ? '' : parentOf(place)]
      if (nameOf(path) === nameOf(place) && above !== undefined && places.get(above) === aboveNow) return []
      return [`${path}: its id is now that of ${place}, which is something else`]
    })
  }

  /** Both were at one path, or at paths of which a third one was. */
  #shared(was: Thing, is: Thing): boolean {
    const met = new Set([was])
    for (let size = 0; size < met.size;) {
      size = met.size
      for (const group of this.#history.values())
        if ([...group].some((each) => met.has(each))) for (const each of group) met.add(each)
    }
    return met.has(is)
  }

  /** An entry that is gone, though what it was of is there, as it was or written since. */
  #lostOnes(
    ids: ReadonlyMap<string, number>,
    now: ReadonlyMap<string, number>,
    things: ReadonlyMap<string, Thing>,
    there: ReadonlyMap<string, Thing>,
    looked: boolean,
  ): string[] {
    const told: string[] = []
    const old = new Set(ids.values())
    const places = new Set(now.values())
    for (const [path, thing] of things) {
      const here = there.get(path)
      const isLost = !places.has(ids.get(path)!)
      if (!isLost) continue
      if (here && (here.below === null) === (thing.below === null)) told.push(`${path}: is there, and its id is not`)
      const isProven = looked || !thing.isDated
      if (here || (thing.isTouched && !thing.below && !(isProven && this.#tellsBirth))) continue
      if (thing.below && !isProven) continue
      const left = [...things].flatMap(([at, each]) => (each === thing && !there.has(at) ? [ids.get(at)!] : []))
      // Onto a name that is known, whose entry it is then.
      const arrived = [...there].filter(
        ([at, each]) => each === thing && (!old.has(now.get(at)!) || left.includes(now.get(at)!)),
      )
      const kept = left.filter((id) => places.has(id))
      if (kept.length < Math.min(arrived.length, left.length)) told.push(`${path}: was moved, and its id is lost`)
    }
    return told
  }
}

function tagsOf(library: Library, ids: ReadonlyMap<string, number>): Map<number, string[]> {
  return new Map(
    [...ids.values()].map((id) => {
      const entry = library.entries.byId(id)!
      return [id, library.tagged.of(entry).map((tag) => library.tags.byId(tag)!.name)]
    }),
  )
}

function below(above: string, name: string): string {
  return above === '' ? name : `${above}/${name}`
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')))
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

function beside(path: string, name: string): string {
  return below(parentOf(path), name)
}

function within(path: string, above: string): boolean {
  return path.startsWith(`${above}/`)
}

function turned(name: string): string {
  const upper = name.toUpperCase()
  return upper === name ? name.toLowerCase() : upper
}
