// How a thread loads what it runs: a load that fails leaves nothing of it under way.
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Node opens the files of a graph of modules all at once, and fails at the first that cannot be opened. If the thread were
 * ended then, the descriptors of those that are still being opened would be nobody's: they are waited for.
 */
export async function whole<Module>(load: () => Promise<Module>): Promise<Module> {
  try {
    return await load()
  } catch (error) {
    while (process.getActiveResourcesInfo().some(isFile)) await sleep(1)
    throw error
  }
}

/**
 * Loads what the thread's own module will import, so that no more is open at a time than a thread's start is charged: Node 20 would open
 * five files at once, of which `PRICES.threadStart` covers two.
 */
export async function oneByOne(loads: readonly (() => Promise<unknown>)[]): Promise<void> {
  for (const load of loads) await whole(load)
}

function isFile(resource: string): boolean {
  return /^FS|^FileHandle|^CloseReq/i.test(resource)
}
