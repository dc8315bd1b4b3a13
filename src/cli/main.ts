// The process behind `spacedrive`: hands its command line over and leaves with the exit code.
import { run } from './run.js'
import { Terminal } from './terminal.js'

/** A command is over when its answer is out; what still lingers then (a socket, a timer) is not waited for. */
const LINGER_MS = 500

const terminal = new Terminal(process.stdout, process.stderr, process.env)

// A reader that left, as in `spacedrive ls | head`, ends a command quietly.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  if (!terminal.outlivesReader) process.exit(0)
})
process.stderr.on('error', () => undefined)

process.exitCode = await run(process.argv.slice(2), terminal, process.env)
setTimeout(() => process.exit(), LINGER_MS).unref()
