// `spacedrive plan`: how many descriptors a deployment needs that does not exist yet, by the sum that a boot prints.
import { Option, type Command } from 'commander'
import { availableParallelism } from 'node:os'
import { LIMITS } from '../base/limits.js'
import type { Deployment, Item, Planned } from '../descriptors/planner.js'
import { wholeNumber } from './arguments.js'
import type { Desk } from './desk.js'
import { EXIT, Exit } from './failure.js'
import { table, type Column } from './table.js'
import { grouped, plural } from './text.js'

interface Options extends Deployment {
  readonly shards?: number
  readonly fronts: number
  readonly front: 'uws' | 'node'
  readonly limit?: number
}

/** What `plan` has to say; with --json all of it. */
export interface Answer extends Planned {
  readonly deployment: Deployment & { readonly shards: number }
  /** The limit it was asked about, else the most that the daemon may have here. */
  readonly limit: number
  readonly fits: boolean
  readonly command: string
}

const COLUMNS: readonly Column[] = [
  { title: 'what', shrinks: true },
  { title: 'each', right: true },
  { title: 'count', right: true },
  { title: 'descriptors', right: true },
]

export function addPlan(program: Command, desk: Desk): void {
  const count = wholeNumber(0, LIMITS.softMax)
  program
    .command('plan')
    .description('how many descriptors a deployment needs; asks no daemon')
    .option('--libraries <N>', 'libraries open at a time', count, 1)
    .option('--clients <N>', 'client connections at a time', count, 10)
    .option('--readers <N>', 'further connections of each library', wholeNumber(0, LIMITS.poolConnectionsMax - 1), 0)
    .option('--jobs <N>', 'jobs that run at a time', count, 1)
    .option('--shards <N>', 'threads that serve libraries (default: one a core)', wholeNumber(1, LIMITS.shardsMax))
    .option('--fronts <N>', 'threads that face the clients', wholeNumber(1, LIMITS.frontsMax), 1)
    .addOption(
      new Option('--front <SERVER>', 'what serves in these threads; over TLS it is node')
        .choices(['uws', 'node'])
        .default('uws'),
    )
    .option('--limit <N>', 'ask whether this limit is enough', wholeNumber(1, LIMITS.softMax))
    .action(async (options: Options) => {
      const answer = await planned(options)
      await desk.answer(answer, () => planLines(answer, desk.terminal.columns))
      if (options.limit !== undefined && !answer.fits) throw new Exit(EXIT.config)
    })
}

async function planned(options: Options): Promise<Answer> {
  const { baseItems, holds, planFor } = await import('../descriptors/planner.js')
  const { commandToRaise, countOpen, readLimit } = await import('../descriptors/rlimit.js')
  const { loadNative } = await import('../descriptors/native.js')
  const { Sights } = await import('../descriptors/sights.js')
  const native = loadNative() !== null
  // This process is the same Node, started the same way: what it holds is what a daemon begins with.
  const runtime = countOpen()
  const opened = new Sights()
  const sights = countOpen() - runtime
  opened.close()
  const ask = (shards: number) => {
    const { libraries, clients, readers } = options
    const deployment = {
      libraries,
      clients,
      readers,
      shards,
      jobs: Math.min(options.jobs, LIMITS.taskThreadsMax, shards),
    }
    const { fronts, front } = options
    const base = baseItems({ runtime, sights, shards, fronts, front, listeners: 2, native })
    return { deployment, base, ...planFor(deployment, base) }
  }
  let found = ask(options.shards ?? Math.min(availableParallelism(), LIMITS.shardsMax))
  // As the daemon does: a small limit feeds fewer threads.
  while (options.shards === undefined && found.deployment.shards > shardsAt(found.total))
    found = ask(shardsAt(found.total))
  const { deployment, base, total, items, plan } = found
  const { hard } = readLimit()
  const limit = options.limit ?? Math.min(hard, LIMITS.softMax)
  return {
    total,
    limit,
    fits: holds(limit, base, deployment),
    deployment,
    items,
    plan,
    command: commandToRaise(total, hard),
  }
}

function shardsAt(limit: number): number {
  return Math.max(1, Math.floor(limit / LIMITS.shardDescriptors))
}

export function planLines({ total, limit, fits, deployment, items, command }: Answer, columnsMax: number): string[] {
  const { libraries, clients, jobs } = deployment
  const what = [plural(libraries, 'open library', 'open libraries'), plural(clients, 'client'), plural(jobs, 'job')]
  const rows = [...items, { name: 'total', each: 0, count: 0, descriptors: total }].map(row)
  return [
    `${what.join(', ')}, all at once:`,
    '',
    ...table(COLUMNS, rows, columnsMax),
    '',
    fits ? `A limit of ${grouped(limit)} is enough.` : `A limit of ${grouped(limit)} is not enough.`,
    `Set at least ${grouped(total)} where the daemon is started; ${grouped(LIMITS.softRecommended)} is recommended:`,
    `  ${command}`,
  ]
}

function row({ name, each, count, descriptors }: Item): string[] {
  const times = each * count === 0 && descriptors > 0 ? ['', ''] : [grouped(each), grouped(count)]
  return [name, ...times, grouped(descriptors)]
}
