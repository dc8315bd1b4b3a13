// A tree in memory that is read like a disk: thousands of directories, any failure in any of them, no file touched.
import { decodeName, encodeName } from '../../src/scan/names.js'
import { KIND, type Listing, type ReadDirectory } from '../../src/scan/read.js'
import { runsIn, type Batch, type Run } from '../../src/scan/walk.js'

export interface Node {
  readonly kind: number
  readonly inode: number
  /** Set where it cannot be read. */
  readonly error?: string
  readonly children?: ReadonlyMap<string, Node>
}

export function directory(children: Record<string, Node> | ReadonlyMap<string, Node> = {}): Node {
  const map = children instanceof Map ? children : new Map(Object.entries(children as Record<string, Node>))
  return { kind: KIND.directory, inode: inodes++, children: map }
}

export function file(): Node {
  return { kind: KIND.file, inode: inodes++ }
}

let inodes = 1

/** @param order of the children on the "disk": by default as they were put in */
export function readerOf(root: Node): ReadDirectory {
  return (path) => {
    const parts = decodeName(path)
      .split('/')
      .filter((part) => part !== '' && part !== 'root')
    let node: Node | undefined = root
    for (const part of parts) node = node?.children?.get(part)
    if (!node) throw failure('ENOENT')
    if (node.error) throw failure(node.error)
    if (!node.children) throw failure('ENOTDIR')
    return listing([...node.children])
  }
}

export function failure(code: string): Error {
  return Object.assign(new Error(`${code}: made up`), { code })
}

function listing(children: readonly (readonly [string, Node])[]): Listing {
  return {
    names: Buffer.concat(children.flatMap(([name]) => [encodeName(name), Buffer.of(0)])),
    kinds: Uint8Array.from(children, ([, node]) => node.kind),
    sizes: Float64Array.from(children, ([, node]) => node.inode % 100),
    mtimes: Float64Array.from(children, ([, node]) => node.inode * 1000),
    inodes: BigUint64Array.from(children, ([, node]) => BigInt(node.inode)),
  }
}

/** Everything below a node, by relative path. */
export function pathsOf(node: Node, into = '', found: string[] = []): string[] {
  if (node.error) return found
  for (const [name, child] of node.children ?? []) {
    const path = into === '' ? name : `${into}/${name}`
    found.push(path)
    pathsOf(child, path, found)
  }
  return found
}

export interface Yielded {
  readonly run: Run
  readonly names: readonly string[]
}

/** The runs of a batch with the names of each. */
export function runsOf(batch: Batch, namesOf: (bytes: Uint8Array) => string[]): Yielded[] {
  const names = namesOf(batch.names)
  let at = 0
  return runsIn(batch).map((run) => {
    const slice = names.slice(at, at + run.count)
    at += run.count
    return { run, names: slice }
  })
}
