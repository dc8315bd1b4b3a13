// A directory that stands for the root of a machine: what `--fix` writes goes there, and what it reads comes from there.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Person } from '../../src/doctor/machine.js'

export interface Ground {
  readonly root: string
  write(path: string, text: string): void
  [Symbol.dispose](): void
}

export function ground(files: Readonly<Record<string, string>> = {}): Ground {
  const root = mkdtempSync(join(tmpdir(), 'sd-ground-'))
  const write = (path: string, text: string) => {
    mkdirSync(dirname(root + path), { recursive: true })
    writeFileSync(root + path, text)
  }
  for (const [path, text] of Object.entries(files)) write(path, text)
  return { root, write, [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }) }
}

export const ADA: Person = { uid: 1000, user: 'ada', groups: ['staff'], home: '/home/ada', shell: '/bin/bash' }
export const ROOT_PERSON: Person = { uid: 0, user: 'root', groups: ['root'], home: '/home/root', shell: '/bin/sh' }
