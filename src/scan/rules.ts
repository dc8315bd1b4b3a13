// What an index leaves out, and the words in which that is told to people.

export interface Rules {
  /** Absolute paths that are not entered and not listed: the daemon's own data directory. */
  readonly leftOut: readonly string[]
}

/** One line a rule, as `location add` and the log print them. */
export function describeRules({ leftOut }: Rules): string[] {
  return [
    'other file systems mounted below it (the mount point itself is kept)',
    ...leftOut.map((path) => `${path} (spacedrive's own data)`),
  ]
}
