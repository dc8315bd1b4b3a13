// One command line from its words to its exit code.
import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import type { Environment } from '../base/places.js'
import { Desk } from './desk.js'
import { addDoctor } from './doctor.js'
import { addEvents } from './events.js'
import { failureOf } from './failure.js'
import { addFds } from './fds.js'
import { addHash } from './hash.js'
import { addJob } from './job.js'
import { addLibrary } from './library.js'
import { addLocation } from './location.js'
import { addLogs } from './logs.js'
import { addLs } from './ls.js'
import { addPlan } from './plan.js'
import { addReload } from './reload.js'
import { addRestart } from './restart.js'
import { addDuplicates } from './duplicates.js'
import { addSearch } from './search.js'
import { addSelftest } from './selftest.js'
import { addShow } from './show.js'
import { addStart } from './start.js'
import { addStatus } from './status.js'
import { addStop, explained } from './stop.js'
import { addTag } from './tag.js'
import type { Terminal } from './terminal.js'
import { addToken } from './token.js'
import { addWhy } from './why.js'

/** In the order `--help` shows them. */
const COMMANDS = [
  addStart,
  addStop,
  addReload,
  addRestart,
  addStatus,
  addLogs,
  addEvents,
  addLibrary,
  addLocation,
  addLs,
  addShow,
  addSearch,
  addDuplicates,
  addHash,
  addTag,
  addToken,
  addWhy,
  addJob,
  addFds,
  addPlan,
  addDoctor,
  addSelftest,
] as const

const EXIT_CODES = `
Exit codes: 0 done, 1 failed, 2 usage, 3 no daemon is running, 75 try again,
78 configuration or limit too low.`

/** @param argv the words after `spacedrive` */
export async function run(argv: readonly string[], terminal: Terminal, env: Environment): Promise<number> {
  const printed: Promise<void>[] = []
  const program = openProgram(terminal, printed)
  const desk = new Desk(terminal, argv, env, () => program.opts())
  for (const add of COMMANDS) add(program, desk)
  try {
    await program.parseAsync(spelledOut(argv), { from: 'user' }).finally(() => Promise.all(printed))
    return 0
  } catch (error) {
    const { exitCode, lines } = failureOf(await explainedBy(desk, error), helpFor(program, argv))
    for (const line of lines) desk.note(line)
    return exitCode
  } finally {
    desk.close()
  }
}

/** `help library create` is `library create --help`: of commander's own help every word but the first is lost. */
function spelledOut([first, ...words]: readonly string[]): string[] {
  if (first === undefined) return []
  return first === 'help' && words.length > 0 ? [...words, '--help'] : [first, ...words]
}

function helpFor(program: Command, argv: readonly string[]): string {
  let command = program
  const names = ['spacedrive']
  for (const word of argv) {
    const below = command.commands.find((each) => each.name() === word)
    if (!below) continue
    command = below
    names.push(word)
  }
  const words = command.commands.length > 0 ? 'lists the commands' : 'says how it is used'
  return `\`${names.join(' ')} --help\` ${words}.`
}

/** Where not even that can be looked up, what went wrong first is told. */
async function explainedBy(desk: Desk, error: unknown): Promise<unknown> {
  try {
    return await explained(error, desk.paths)
  } catch {
    return error
  }
}

/** @param printed gets what is under way; it may fail */
function openProgram(terminal: Terminal, printed: Promise<void>[]): Command {
  return new Command('spacedrive')
    .description('A headless daemon that keeps libraries of files, and the commands to use it.')
    .version(version(), '--version', 'print the version')
    .option('--data-dir <DIR>', "where the daemon keeps its data ($SPACEDRIVE_DATA_DIR, else the platform's place)")
    .option('--instance <NAME>', 'one of several daemons of this user')
    .option('--json', 'print one JSON value on stdout and nothing else there')
    .addHelpText('after', EXIT_CODES)
    .configureOutput({
      writeOut: (text) => void printed.push(terminal.print(text)),
      // Failures are said once, in the form of every other failure.
      writeErr: () => undefined,
      getOutHelpWidth: () => terminal.columns,
      getOutHasColors: () => false,
    })
    .exitOverride()
}

function version(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
