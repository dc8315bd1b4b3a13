// `spacedrive token …`: tokens beside the one in DATA_DIR/token, for those who are to do less than everything.
import { InvalidArgumentError, Option, type Command } from 'commander'
import type { TokenItem } from '../protocol/messages.js'
import type { Scope } from '../protocol/operations.js'
import { SCOPES } from '../protocol/words.js'
import { collected } from './arguments.js'
import { chooseLibrary, listLibraries } from './choice.js'
import type { Desk } from './desk.js'
import { table } from './table.js'
import { minute, quoted, safe } from './text.js'

interface CreateOptions {
  readonly scope: Scope
  readonly library: readonly string[]
  /** Milliseconds from now. */
  readonly expires?: number
}

const UNIT_MS = { h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000, y: 365 * 86_400_000 } as const

export function addToken(program: Command, desk: Desk): void {
  const token = program.command('token').description('tokens for others: make them, list them, revoke them')
  token
    .command('create')
    .description('make a token and print its secret, which is shown this once')
    .argument('<NAME>', 'who or what it is for')
    .addOption(
      new Option('--scope <SCOPE>', 'read; write also tags and steers jobs; admin does everything')
        .choices(SCOPES)
        .default('read'),
    )
    .option('--library <LIBRARY>', 'only for this one, by name or id; may be given more than once', collected, [])
    .option('--expires <TIME>', 'when it ends to hold: 12h, 30d, 8w, 1y from now', durationMs)
    .action((name: string, options: CreateOptions) => create(desk, name, options))
  token
    .command('list')
    .description('list the tokens, and when each was last used')
    .action(() => list(desk))
  token
    .command('revoke')
    .description('revoke a token at once; what is connected with it is closed')
    .argument('<TOKEN>', 'name or id')
    .action((given: string) => revoke(desk, given))
}

function durationMs(text: string): number {
  const [, count, unit] = /^(\d{1,4})([hdwy])$/.exec(text) ?? []
  if (count === undefined || Number(count) === 0) throw new InvalidArgumentError('Expected a time like 12h or 30d.')
  return Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS]
}

async function create(desk: Desk, name: string, { scope, library, expires }: CreateOptions): Promise<void> {
  const libraries: string[] = []
  for (const given of library) libraries.push((await chooseLibrary(desk.client, given)).id)
  const made = await desk.client.call<TokenItem & { secret: string }>('tokens.create', {
    name,
    scope,
    ...(libraries.length > 0 ? { libraries } : {}),
    ...(expires === undefined ? {} : { expiresAt: new Date(Date.now() + expires).toISOString() }),
  })
  await desk.answer(made, () => [made.secret])
  if (!desk.json) desk.note(`the token ${quoted(made.name)}; what was printed is not kept, and not shown again`)
}

async function list(desk: Desk): Promise<void> {
  const tokens = await desk.client.call<TokenItem[]>('tokens.list')
  if (tokens.length === 0 && !desk.json) {
    return desk.note('no token but the one in the data directory; `spacedrive token create NAME` makes one')
  }
  const some = tokens.some(({ libraries }) => libraries)
  const known = some ? await listLibraries(desk.client) : []
  const names = new Map(known.map(({ id, name }) => [id, name]))
  await desk.answer(tokens, () => tokenLines(tokens, names, desk.terminal.listColumns))
}

/** @param names of the libraries, by id */
export function tokenLines(
  tokens: readonly TokenItem[],
  names: ReadonlyMap<string, string>,
  columnsMax: number,
): string[] {
  const rows = tokens.map(({ name, scope, libraries, expiresAt, expired, usedAt }) => [
    safe(name),
    scope,
    libraries ? safe(libraries.map((id) => names.get(id) ?? id).join(', ')) : 'all',
    expiresAt === undefined ? 'never' : expired ? 'expired' : minute(expiresAt),
    usedAt === undefined ? 'never' : minute(usedAt),
  ])
  const columns = [
    { title: 'token', shrinks: true },
    { title: 'scope' },
    { title: 'libraries', shrinks: true },
    { title: 'expires' },
    { title: 'last used' },
  ]
  return table(columns, rows, columnsMax)
}

async function revoke(desk: Desk, token: string): Promise<void> {
  const revoked = await desk.client.call<{ token: string }>('tokens.revoke', { token })
  await desk.answer(revoked, () => [`revoked the token ${quoted(token)}`])
}
