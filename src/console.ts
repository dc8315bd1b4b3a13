// The console that `GET /` answers with: the files of `web/`, which come with the package, read at boot and kept.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fromSystem } from './base/errors.js'
import type { ConsoleFile } from './front/desk.js'

const FOLDER = join(import.meta.dirname, '..', '..', 'web')

const TYPES = {
  'index.html': 'text/html; charset=utf-8',
  'style.css': 'text/css; charset=utf-8',
  'console.js': 'text/javascript; charset=utf-8',
  'views.js': 'text/javascript; charset=utf-8',
  'page.js': 'text/javascript; charset=utf-8',
  'wire.js': 'text/javascript; charset=utf-8',
} as const

/** By path. */
export function readConsole(): ReadonlyMap<string, ConsoleFile> {
  return new Map(
    Object.entries(TYPES).map(([name, type]) => {
      const body = readText(join(FOLDER, name))
      const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
      return [name === 'index.html' ? '/' : `/console/${name}`, { type, body, etag }]
    }),
  )
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw fromSystem(error)
  }
}
