// Changes below a directory, of every kind and by chance, the same for the same seed.
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

/** The same numbers for the same seed. */
export class Chance {
  #state: number

  constructor(seed: number) {
    this.#state = seed * 0x9e3779b9
  }

  below(end: number): number {
    this.#state = (Math.imul(this.#state ^ (this.#state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0
    return ((this.#state ^ (this.#state >>> 13)) >>> 0) % end
  }

  of<T>(some: readonly T[]): T {
    return some[this.below(some.length)]!
  }
}

/** One change somewhere below a directory, of a kind and with a name by chance; what cannot be done is not done. */
export function disturb(root: string, chance: Chance): void {
  const { directories, files } = below(root)
  const name = `n${chance.below(12)}`
  const target = join(chance.of(directories), name)
  const within = directories.slice(1)
  const some = chance.of([...files, ...within, target])
  const kind = chance.below(20)
  try {
    if (kind < 4) mkdirSync(target)
    else if (kind < 5) mkdirSync(join(target, 'a', 'b'), { recursive: true })
    else if (kind < 9) writeFileSync(target, 'x'.repeat(chance.below(50)))
    else if (kind < 10) writeFileSync(some, 'y'.repeat(chance.below(50)))
    else if (kind < 15) renameSync(some, target)
    else if (kind < 17) rmSync(some, { recursive: chance.below(3) === 0 })
    else if (kind < 17 + chance.below(2) && files.length > 0) linkSync(chance.of(files), target)
    else if (kind < 18) symlinkSync('anywhere', target)
    else if (kind < 19 && files.length > 0) utimesSync(chance.of(files), 1, chance.below(1_000_000))
    else if (within.length > 1) exchange(chance.of(within), chance.of(within), join(root, 'aside'))
  } catch {
    // A file where a directory would be, a directory into itself, and the like.
  }
}

function exchange(one: string, other: string, aside: string): void {
  if (existsSync(aside) || one.startsWith(other) || other.startsWith(one)) return
  renameSync(one, aside)
  renameSync(other, one)
  renameSync(aside, other)
}

function below(root: string): { directories: string[]; files: string[] } {
  const found = { directories: [root], files: [] as string[] }
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isDirectory()) found.directories.push(path)
    else if (entry.isFile()) found.files.push(path)
  }
  return found
}
