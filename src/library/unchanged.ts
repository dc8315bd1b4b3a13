// Directories of which a walk found what the index has of them: known by their prints, and mostly without their paths.
import { KIND, type Directories } from '../scan/read.js'
import type { Run } from '../scan/walk.js'
import type { Connection } from './connection.js'
import type { Folders } from './folders.js'

export class Unchanged {
  readonly #folders: Folders
  readonly #directoryIn
  readonly #someIn
  /** Those that lead to the one that came last, and that one. */
  #above: { readonly depth: number; readonly id: number }[] = []

  /** A large one whose slices come. */
  #sliced: { readonly directory: string; readonly id: number } | null = null

  constructor(connection: Connection, folders: Folders) {
    this.#folders = folders
    // The inode narrows it down to one, whatever the planner thinks of the directory.
    this.#directoryIn = connection
      .prepare<[number, number], [id: number, print: number | null]>(
        `SELECT entry.id, folder.print FROM entry LEFT JOIN folder ON folder.entry = entry.id
         WHERE entry.inode = ? AND +entry.parent = ? AND +entry.kind = ${KIND.directory}`,
      )
      .raw()
    this.#someIn = connection.prepare<[number], number>('SELECT 1 FROM entry WHERE parent = ? LIMIT 1').pluck()
  }

  /**
   * The id of one of a stretch, if it is unchanged. Where the one above is, that one has a child of its name and inode, so that the
   * index needs to be asked for the inode alone.
   *
   * @param idOf by its path
   */
  idOf(
    { counts, depths, inodes, prints }: Directories,
    at: number,
    idOf: () => number | undefined,
  ): number | undefined {
    const isPlaced = depths[at]! >= 0
    const depth = isPlaced ? depths[at]! : ~depths[at]!
    this.#leaveTo(isPlaced ? depth : 0)
    if (inodes[at] === 0 || prints[at] === 0) return undefined
    const above = this.#above.at(-1)
    const row = above?.depth === depth - 1 ? this.#directoryIn.get(inodes[at]!, above.id) : undefined
    const id = row ? row[0] : idOf()
    if (id === undefined) return undefined
    const print = this.#folders.printOf(id, row?.[1])
    // Of one that is empty none is kept.
    const isEmpty = print === undefined && counts[at] === 0 && this.#someIn.get(id) === undefined
    if (print !== prints[at] && !isEmpty) return undefined
    this.#above.push({ depth, id })
    return id
  }

  /** The same of a large one, of which every slice has the print: the first is asked, and the others go with it. */
  idOfSlice({ directory, print, last }: Run, idOf: () => number | undefined): number | undefined {
    if (this.#sliced?.directory !== directory) {
      const id = print === undefined ? undefined : idOf()
      if (id === undefined || this.#folders.printOf(id) !== print) return undefined
      this.#sliced = { directory, id }
    }
    const { id } = this.#sliced
    if (last) {
      this.#sliced = null
      this.#above.push({ depth: depthOf(directory), id })
    }
    return id
  }

  /** Before a directory that did not come in a stretch. */
  leaveFor(directory: string): void {
    this.#leaveTo(depthOf(directory))
  }

  /** What came before does not lead to what comes now. */
  restart(): void {
    this.#above = []
    this.#sliced = null
  }

  /** What is so deep, or deeper, does not lead to what comes now. */
  #leaveTo(depth: number): void {
    while (this.#above.length > 0 && this.#above.at(-1)!.depth >= depth) this.#above.pop()
  }
}

function depthOf(directory: string): number {
  return directory === '' ? 0 : directory.split('/').length
}
