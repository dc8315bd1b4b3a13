// What `rpc.discover` answers with: docs/openrpc.json, which comes with the package.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fromSystem } from './base/errors.js'
import { lend } from './descriptors/reserve.js'
import type { OpenRpc } from './protocol/results.js'

const FILE = join(import.meta.dirname, '..', '..', 'docs', 'openrpc.json')

let read: OpenRpc | null = null

/** Kept once it is read: clients that ask, ask at each start of theirs. */
export function discovery(): OpenRpc {
  return (read ??= readDiscovery())
}

function readDiscovery(): OpenRpc {
  using _file = lend('doctor')
  try {
    return JSON.parse(readFileSync(FILE, 'utf8')) as OpenRpc
  } catch (error) {
    throw fromSystem(error)
  }
}
