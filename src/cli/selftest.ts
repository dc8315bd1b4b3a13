// `spacedrive selftest --exhaust`: what the daemon promises, tried on this machine with a private daemon and a tiny limit.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import { VERSION } from '../version.js'
import type { Desk } from './desk.js'
import { Exit, EXIT, SIGNALS, UsageError } from './failure.js'
import type { Check } from './selftest/drill.js'
import { duration, safe } from './text.js'

interface SelftestOptions {
  readonly exhaust?: boolean
}

const NAME_COLUMNS = 36

export function addSelftest(program: Command, desk: Desk): void {
  program
    .command('selftest')
    .description('try on this machine what is promised, with a private daemon that is gone afterwards')
    .option('--exhaust', 'run out of descriptors: a tiny limit, a flood, a cut, a kill (half a minute)')
    .action((options: SelftestOptions) => selftest(desk, options))
}

async function selftest(desk: Desk, { exhaust }: SelftestOptions): Promise<void> {
  if (!exhaust) throw new UsageError('say what to try', '`spacedrive selftest --exhaust` runs out of descriptors.')
  const [{ Drill }, { endAll }] = await Promise.all([import('./selftest/drill.js'), import('./selftest/subject.js')])
  const place = mkdtempSync(join(tmpdir(), 'spacedrive-selftest-'))
  const cleanUp = () => {
    endAll()
    rmSync(place, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
  }
  const interrupted = () => process.exit(EXIT.interrupted)
  process.once('exit', cleanUp)
  for (const signal of SIGNALS) process.once(signal, interrupted)
  try {
    const checks = await tried(desk, (report) => new Drill(place, report).run())
    if (checks.some(({ ok }) => ok === false)) throw new Exit(EXIT.failed)
  } finally {
    for (const signal of SIGNALS) process.removeListener(signal, interrupted)
    process.removeListener('exit', cleanUp)
    cleanUp()
  }
}

async function tried(desk: Desk, run: (report: (check: Check) => void) => Promise<void>): Promise<Check[]> {
  const begun = performance.now()
  const checks: Check[] = []
  if (!desk.json) await desk.terminal.print(`spacedrive ${VERSION} on Node ${process.version}\n`)
  await run((check) => {
    checks.push(check)
    if (!desk.json) void desk.terminal.print(`${lineOf(desk, check)}\n`)
  })
  const sum = summaryOf(checks, performance.now() - begun)
  await desk.answer({ ...sum, checks }, () => [sumLine(sum)])
  return checks
}

function lineOf(desk: Desk, { name, ok, words }: Check): string {
  const [mark, style] =
    ok === null ? (['–', 'yellow'] as const) : ok ? (['✔', 'green'] as const) : (['✘', 'red'] as const)
  return `${desk.terminal.styled(style, mark)} ${name.padEnd(NAME_COLUMNS)}${safe(words)}`
}

interface Sum {
  readonly passed: number
  readonly failed: number
  readonly notTried: number
  readonly ms: number
}

function summaryOf(checks: readonly Check[], ms: number): Sum {
  const count = (wanted: boolean | null) => checks.filter(({ ok }) => ok === wanted).length
  return { passed: count(true), failed: count(false), notTried: count(null), ms: Math.round(ms) }
}

function sumLine({ passed, failed, notTried, ms }: Sum): string {
  const untried = notTried > 0 ? `, ${notTried} not tried` : ''
  return `${passed} held, ${failed} did not${untried}; ${duration(ms)}`
}
