// What an index leaves out, in the words in which that is told to people.
import { printable } from './names.js'

/** One line a rule. `own` are directories of the daemon's; only those below the root are worth a line. */
export function describeRules(root: string, own: readonly string[]): string[] {
  const below = own.filter((path) => path.startsWith(root === '/' ? '/' : `${root}/`))
  return [
    'other file systems mounted below it (mount points are kept)',
    ...below.map((path) => `${printable(path)}, which is spacedrive's own`),
  ]
}
