// What takes long to begin may be unwanted before it has begun.
import { SpacedriveError } from './codes.js'

/** Between two steps. @throws CANCELLED */
export function goOn(unwanted: AbortSignal | undefined): void {
  if (unwanted?.aborted) throw new SpacedriveError('CANCELLED', 'it was to stop before it had begun')
}

/** For one step that may take long, and goes on meanwhile. @throws CANCELLED as soon as it is unwanted */
export async function whileWanted<Value>(unwanted: AbortSignal | undefined, step: Promise<Value>): Promise<Value> {
  let end = () => {}
  const ended = new Promise<void>((resolve) => (end = resolve))
  unwanted?.addEventListener('abort', end)
  try {
    if (!unwanted?.aborted) await Promise.race([step, ended])
    goOn(unwanted)
    return await step
  } finally {
    unwanted?.removeEventListener('abort', end)
  }
}
