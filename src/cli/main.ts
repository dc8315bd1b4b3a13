// The process behind `spacedrive`: loads the commands, hands its command line over and leaves with the exit code.
// Imports nothing at the top: of a file that could not be opened then, Node itself would tell, by a stack.

/** A command is over when its answer is out; what still lingers then (a socket, a timer) is not waited for. */
const LINGER_MS = 500
const TRY_AGAIN = 75

process.on('uncaughtException', uncaught)

try {
  // Node opens the files of a graph all at once, and there is a command in each: some of them come before.
  for (const some of ['./doctor.js', './library.js', './tag.js', './start.js']) await import(some)
  const [{ run }, { Terminal }] = await Promise.all([import('./run.js'), import('./terminal.js')])
  const terminal = new Terminal(process.stdout, process.stderr, process.env)
  // A reader that left, as in `spacedrive ls | head`, ends a command quietly; whatever else it is, who prints is told.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE' && !terminal.outlivesReader) process.exit(0)
  })
  process.stderr.on('error', () => undefined)
  process.exitCode = await run(process.argv.slice(2), terminal, process.env)
} catch (error) {
  if (!(await isShortage(error))) throw error
  process.stderr.write(
    `error BUDGET_EXHAUSTED: spacedrive could not be loaded: ${messageOf(error)}\nhint: Descriptors ran out while its files were read; try again shortly.\n`,
  )
  process.exitCode = TRY_AGAIN
}
// At once where everything is said: while Node takes itself apart, a second signal would end it with another code.
if (process.stdout.writableLength + process.stderr.writableLength === 0) process.exit()
setTimeout(() => process.exit(), LINGER_MS).unref()

/** Node tells of a module that cannot be loaded once more for each that waits for it, where nobody can catch it. */
function uncaught(error: Error & { code?: unknown }): void {
  const guarded = process.listenerCount('uncaughtException') > 1
  if (guarded || error.code === 'EMFILE' || error.code === 'ENFILE') return
  console.error(error)
  process.exit(1)
}

/** Where not even the words can be loaded there is no question. */
function isShortage(error: unknown): Promise<boolean> {
  return import('../base/shortage.js').then(
    (load) => load.isShortage(error),
    () => true,
  )
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? ''
}
