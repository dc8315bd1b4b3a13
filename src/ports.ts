// Ports that the system picked, for addresses with port 0: a daemon that is started again comes back at the same ones, so that its
// clients find it. Nothing depends on them: where one is taken meanwhile, or the file is gone, another is picked.
import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { toWire } from './base/errors.js'
import { again } from './base/shortage.js'
import { writeWhole } from './base/whole.js'
import type { Address } from './config.js'
import { bareHost, findFree } from './front/address.js'

type Name = 'http' | 'lineProtocol'
type Log = (level: 'debug' | 'warn', message: string) => void

export class Ports {
  readonly #path: string
  readonly #log: Log
  readonly #before: Readonly<Record<string, unknown>>
  readonly #picked = new Set<Name>()

  constructor(path: string, log: Log) {
    this.#path = path
    this.#log = log
    this.#before = read(path)
  }

  /** Where to listen for an address that leaves the port open: at the port of the last time, if it is free. */
  async again(name: Name, address: Address): Promise<Address> {
    if (address.port !== 0) return address
    this.#picked.add(name)
    const before = this.#before[name]
    // Picked here in any case: where uSockets picks a port, its connections keep others from that port for a minute after their end.
    for (const asked of isPort(before) ? [before, 0] : [0]) {
      try {
        const { port } = await findFree(bareHost(address.host), asked)
        return { ...address, port }
      } catch (error) {
        if (asked !== 0) this.#log('warn', `another port is picked than before: ${toWire(error).message}`)
      }
    }
    return address
  }

  /** Remembered for the next start, as far as they were picked. @param addresses that end with the port */
  keep(addresses: Readonly<Record<Name, string | null>>): void {
    const found = [...this.#picked].map((name) => [name, Number(/:(\d+)$/.exec(addresses[name] ?? '')?.[1])] as const)
    const kept = { ...this.#before, ...Object.fromEntries(found) }
    if (isDeepStrictEqual(kept, this.#before)) return
    try {
      again(() => writeWhole(this.#path, `${JSON.stringify(kept)}\n`))
    } catch (error) {
      this.#log('debug', `the ports could not be stored: ${toWire(error).message}`)
    }
  }
}

function read(path: string): Record<string, unknown> {
  try {
    const found: unknown = JSON.parse(again(() => readFileSync(path, 'utf8')))
    return typeof found === 'object' && found !== null ? { ...found } : {}
  } catch {
    return {}
  }
}

function isPort(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) > 0 && (value as number) <= 65_535
}
