// Runs a piece of a test in another process, perhaps one whom permissions concern: root may read everything.
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const DIST = join(import.meta.dirname, '..', '..')
/** Root without the right to overrule permissions is an owner like any other, and may still reach this checkout. */
const WITHOUT_POWER = ['setpriv', '--bounding-set=-dac_override,-dac_read_search']

/**
 * @param body of an async function with `load(path below dist)` and `argument`; what it returns comes back as JSON
 */
export function asOrdinaryUser<T>(body: string, argument: unknown, env: Record<string, string> = {}): T {
  return inProcess<T>(process.getuid?.() === 0 ? WITHOUT_POWER : [], body, argument, env)
}

/** @param wrapper a command that runs the command behind it, such as setpriv, prlimit, strace or unshare */
export function inProcess<T>(
  wrapper: readonly string[],
  body: string,
  argument: unknown,
  env: Record<string, string> = {},
): T {
  const script = `
    const load = (path) => import(new URL(path, ${JSON.stringify(pathToFileURL(`${DIST}/`).href)}).href)
    const run = async (argument) => { ${body} }
    const value = await run(${JSON.stringify(argument)})
    process.stdout.write(JSON.stringify(value ?? null))
    process.exit(0)`
  const [command, ...rest] = [...wrapper, process.execPath, '--input-type=module', '-e', script]
  const options = { encoding: 'utf8', env: { ...process.env, ...env }, timeout: 60_000, cwd: '/' } as const
  return JSON.parse(execFileSync(command!, rest, options)) as T
}

/** Some faults need tools or rights that not every machine has. */
export function canRun(command: string, ...rest: string[]): boolean {
  try {
    execFileSync(command, rest, { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
