// What is written about the protocol is what the sources say.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { PARAMS } from '../../src/protocol/operations.js'
import { EVENT_TYPES } from '../../src/protocol/words.js'

const ROOT = join(import.meta.dirname, '..', '..', '..')

interface Script {
  reference(): Promise<string>
  discovery(): string
  errorCodes(): string[]
  describeError(code: string): { retryable: boolean; exit: number }
  toldFields(): { name: string; mirrored: string; fields: string[] }[]
}

const script = (await import(pathToFileURL(join(ROOT, 'scripts', 'protocol.mjs')).href)) as Script
const written = readText('docs/protocol.md')

test('docs/protocol.md is what scripts/protocol.mjs makes of the sources', async (t) => {
  t.is(written, await script.reference(), 'run `npm run build && node scripts/protocol.mjs`')
})

test('docs/openrpc.json is what scripts/protocol.mjs makes of the sources', (t) => {
  t.is(readText('docs/openrpc.json'), script.discovery(), 'run `npm run build && node scripts/protocol.mjs`')
})

test('every operation has a section, every event and every code a row', (t) => {
  const operations = [...written.matchAll(/^### (\w+\.\w+)$/gm)].map(([, name]) => name)
  t.deepEqual(operations, Object.keys(PARAMS))
  t.deepEqual(rowsOf(written, 'Events'), [...EVENT_TYPES])
  t.deepEqual(rowsOf(written, 'Errors'), script.errorCodes())
})

test('every field of a shape that crosses the socket is told, and none that is not there', (t) => {
  const source = readText('src/protocol/messages.ts')
  for (const { name, mirrored, fields } of script.toldFields()) {
    t.deepEqual(fields.toSorted(), fieldsOf(source, mirrored).toSorted(), name)
  }
})

test('the README says of each code whether to try again and how a command exits', (t) => {
  const readme = readText('README.md')
  for (const code of script.errorCodes()) {
    const { retryable, exit } = script.describeError(code)
    const row = new RegExp(`^\\| \`${code}\` +\\| ${retryable ? 'yes' : 'no'} +\\| ${exit} +\\|`, 'm')
    t.regex(readme, row, code)
  }
})

/** The first cells of the table in a section, without their ticks. */
function rowsOf(text: string, section: string): string[] {
  const part = text.split(/^## /m).find((each) => each.startsWith(`${section}\n`)) ?? ''
  return [...part.matchAll(/^\| `([\w.]+)`/gm)].map(([, cell]) => cell!)
}

/** Fields of an interface and of those it extends, `?` kept. */
function fieldsOf(source: string, name: string): string[] {
  const [, parent, body] = new RegExp(`interface ${name} (?:extends (\\w+) )?\\{\\n([\\s\\S]*?)\\n\\}`).exec(source)!
  const own = [...body!.matchAll(/^ {2}(\w+\??):/gm)].map(([, field]) => field!)
  return parent === undefined ? own : [...fieldsOf(source, parent), ...own]
}

function readText(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}
