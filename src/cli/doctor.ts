// `spacedrive doctor`: what stands between this machine and a daemon that never runs out of descriptors, and the mend of each.
import { createInterface } from 'node:readline/promises'
import type { Command } from 'commander'
import { LIMITS } from '../base/limits.js'
import type { Status } from '../protocol/messages.js'
import type { Diagnosis } from '../doctor/examine.js'
import type { Outcome } from '../doctor/fix.js'
import type { Finding } from '../doctor/findings.js'
import type { Machine } from '../doctor/machine.js'
import { Client } from './client.js'
import type { Desk } from './desk.js'
import { diagnosisLines, mendLines, wrapped } from './diagnosis.js'
import { EXIT, Exit, UsageError } from './failure.js'

interface DoctorOptions {
  readonly fix?: boolean
  readonly dryRun?: boolean
  readonly undo?: boolean
  readonly yes?: boolean
}

/** Configuration is looked for, and written, below this; only tests set it. */
const ROOT_VARIABLE = 'SPACEDRIVE_DOCTOR_ROOT'

export function addDoctor(program: Command, desk: Desk): void {
  program
    .command('doctor')
    .description('what is wrong with limits, daemon and machine, and how to mend it; works without a daemon too')
    .option('--fix', 'show each mend and do it, after asking')
    .option('--dry-run', 'with --fix: only show')
    .option('--undo', 'with --fix: take back what --fix wrote')
    .option('--yes', 'with --fix: do not ask; also ends processes that are stuck')
    .action((options: DoctorOptions) => doctor(desk, options))
}

async function doctor(desk: Desk, options: DoctorOptions): Promise<void> {
  if (!options.fix && (options.dryRun || options.undo || options.yes))
    throw new UsageError(
      '--dry-run, --undo and --yes go with --fix',
      '`spacedrive doctor --help` explains the options.',
    )
  // Loaded late: every other command starts without it, also where descriptors are few.
  const [{ machineHere }, { examine }] = await Promise.all([
    import('../doctor/person.js'),
    import('../doctor/examine.js'),
  ])
  const root = desk.env[ROOT_VARIABLE] ?? ''
  const machine = machineHere(desk.env, root)
  if (options.undo) return undoAll(desk, machine, root, options)
  const { paths, env } = desk
  const diagnosis = await examine({ machine, paths, env, root, askStatus })
  if (options.fix) return fix(desk, diagnosis, root, options)
  await desk.answer(diagnosis, () => diagnosisLines(diagnosis, machine.person.uid, desk.terminal.columns))
  if (!diagnosis.well) throw new Exit(EXIT.failed)
}

async function askStatus(socket: string): Promise<Status> {
  const client = new Client(socket, LIMITS.doctorPatienceMs)
  try {
    return await client.call<Status>('core.status')
  } finally {
    client.close()
  }
}

interface Done {
  readonly code: string
  readonly outcome: Outcome | 'by hand' | 'not asked' | 'left'
}

async function fix(desk: Desk, { findings }: Diagnosis, root: string, options: DoctorOptions): Promise<void> {
  const { applyMend, isDoable } = await import('../doctor/fix.js')
  const done: Done[] = []
  for (const finding of findings) {
    const doable = isDoable(finding.mend)
    show(desk, finding)
    if (!doable) done.push({ code: finding.code, outcome: 'by hand' })
    else if (options.dryRun) done.push({ code: finding.code, outcome: 'not asked' })
    else if (!(await agreed(desk, questionOf(finding), options))) done.push({ code: finding.code, outcome: 'left' })
    else done.push({ code: finding.code, outcome: applyMend(finding.mend, desk.paths, root) })
    tell(desk, finding, done.at(-1)!)
  }
  await desk.answer(
    { dryRun: options.dryRun === true, mends: findings.map((each, at) => ({ ...each, ...done[at] })) },
    () => [fixedLine(done, options)],
  )
  if (done.some(({ outcome }) => outcome === 'needs root' || outcome === 'in the way' || outcome === 'not proven'))
    throw new Exit(EXIT.failed)
}

function show(desk: Desk, finding: Finding): void {
  if (!desk.json) desk.note(['', ...mendLines(finding, desk.terminal.columns)].join('\n'))
}

function questionOf({ mend }: Finding): string {
  if (mend.file) return `${mend.file.kind === 'block' ? 'add this to' : 'write'} ${mend.file.path}?`
  if (mend.remove) return `remove ${mend.remove}?`
  if (mend.secure) return `make ${mend.secure} private?`
  return `send ${mend.kill!.signal} to process ${mend.kill!.pid}?`
}

/** Asks on a terminal; where there is none somebody has to have said --yes. */
async function agreed(desk: Desk, question: string, { yes }: DoctorOptions): Promise<boolean> {
  if (yes) return true
  if (!process.stdin.isTTY)
    throw new UsageError(
      '--fix asks before it does anything, and there is no terminal',
      'Say --yes to do all of it, or --dry-run to see it.',
    )
  const asking = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return /^y(es)?$/i.test((await asking.question(`${question} [y/N] `)).trim())
  } finally {
    asking.close()
  }
}

function tell(desk: Desk, { mend }: Finding, { outcome }: Done): void {
  if (desk.json || outcome === 'by hand' || outcome === 'not asked') return
  const words: Record<Exclude<Done['outcome'], 'by hand' | 'not asked'>, string> = {
    done: mend.file ? `written: ${mend.file.path}` : 'done',
    'nothing to do': 'nothing was to do',
    'needs root': 'this needs root: run the lines above, or this command as root',
    'in the way': `${mend.file?.path} is not ours and was left as it is`,
    'not proven': 'left: a daemon has the lock by now',
    left: 'left as it is',
  }
  desk.note(words[outcome])
  if (outcome === 'done' && mend.after) desk.note(mend.after)
}

function fixedLine(done: readonly Done[], { dryRun }: DoctorOptions): string {
  if (done.length === 0) return 'nothing to mend'
  if (dryRun) return 'nothing was changed'
  const count = done.filter(({ outcome }) => outcome === 'done').length
  return `${count} of ${done.length} mended${count > 0 ? '; `spacedrive doctor --fix --undo` takes files back' : ''}`
}

async function undoAll(desk: Desk, machine: Machine, root: string, options: DoctorOptions): Promise<void> {
  const { undo, undoables } = await import('../doctor/fix.js')
  const found = undoables(root, machine.person)
  const undone: { path: string; outcome: Outcome | 'left' | 'not asked' }[] = []
  for (const each of found) {
    const question = each.kind === 'block' ? `take our lines out of ${each.path}?` : `remove ${each.path}?`
    const outcome = options.dryRun ? 'not asked' : (await agreed(desk, question, options)) ? undo(root, each) : 'left'
    undone.push({ path: each.path, outcome })
  }
  await desk.answer({ dryRun: options.dryRun === true, undone }, () =>
    undone.length === 0
      ? ['nothing that --fix wrote is there']
      : undone.flatMap(({ path, outcome }) => wrapped(`${UNDONE[outcome]}: ${path}`, desk.terminal.columns)),
  )
  if (undone.some(({ outcome }) => outcome === 'needs root')) throw new Exit(EXIT.failed)
}

const UNDONE: Record<Outcome | 'left' | 'not asked', string> = {
  done: 'taken back',
  'nothing to do': 'gone already',
  'needs root': 'needs root',
  'in the way': 'not ours',
  'not proven': 'left',
  left: 'left',
  'not asked': 'would be taken back',
}
