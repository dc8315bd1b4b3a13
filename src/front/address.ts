// Where a front listens: names of addresses, and why one could not be had.
import { chmodSync, lstatSync, unlinkSync } from 'node:fs'
import { createServer, type AddressInfo, type ListenOptions, type Server } from 'node:net'
import { errnoOf, SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { isSocketPath } from '../base/places.js'
import { againLater, isShortage } from '../base/shortage.js'
import { listenerOf } from '../descriptors/listener.js'
import { loadNative } from '../descriptors/native.js'

const LISTEN_TRIES = 3

export function httpUrl(host: string, port: number, secure = false): string {
  return `${secure ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** `[::1]` as people write it in an address, `::1` as the system wants it. */
export function bareHost(host: string): string {
  return host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host
}

/** Makes way for a socket: removes what a dead daemon left there, and only that. The caller holds the daemon's lock. */
export function clearSocketPath(path: string): void {
  if (!isSocketPath(path)) {
    const hint = 'Use a --data-dir with a shorter path.'
    throw new SpacedriveError('BAD_CONFIG', `the path of the unix socket is too long: ${path}`, { hint })
  }
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (!found) return
  if (!found.isSocket()) throw new SpacedriveError('BAD_CONFIG', `${path} is in the way: it is not a socket`)
  unlinkSync(path)
}

/** Only this user may connect. The directory is 0700, so nobody was able to before this either. */
export function protectSocket(path: string): void {
  chmodSync(path, 0o600)
}

/** A failure of listen() as ours; of a port that is taken it names who has it, where that can be told. */
export function listenError(error: unknown, address: string): SpacedriveError {
  if (errnoOf(error) === 'EADDRINUSE') {
    const holder = listenerOf(Number(/:(\d+)$/.exec(address)?.[1]))
    const message = `cannot listen on ${address}: ${holder ?? 'another program'} listens there`
    return new SpacedriveError('ADDRESS_IN_USE', message, { cause: error })
  }
  const message = `cannot listen on ${address}: ${error instanceof Error ? error.message : String(error)}`
  return new SpacedriveError(isShortage(error) ? 'BUDGET_EXHAUSTED' : 'BAD_CONFIG', message, { cause: error })
}

/** uWebSockets says only that it failed: asks the system again for the reason. Null where there is none any more. */
async function whyNotListening(where: ListenOptions, address: string): Promise<SpacedriveError | null> {
  const probe = createServer()
  const failure = await new Promise<unknown>((resolve) => {
    probe.once('error', resolve)
    probe.listen({ ...where, exclusive: true }, () => probe.close(() => resolve(null)))
  })
  return failure === null ? null : listenError(failure, address)
}

/**
 * What `listen` returns, once it is not false: a descriptor that was missing a moment ago may be there by now.
 *
 * @throws the system's reason, as far as it has one
 */
export async function listenAgain<Listener>(
  listen: () => Listener | false,
  where: ListenOptions,
  address: string,
): Promise<Listener> {
  for (let tries = 0; tries < LISTEN_TRIES; tries++) {
    // Once more before Node is asked why, whose loop then keeps a descriptor by which it would shed who cannot be accepted.
    const listener = listen() || listen()
    if (listener !== false) return listener
    const reason = await whyNotListening(where, address)
    if (reason !== null) throw reason
  }
  // Nobody is in the way and nothing is forbidden, so that only descriptors can have been missing.
  throw new SpacedriveError('BUDGET_EXHAUSTED', `cannot listen on ${address}: no descriptor was left a moment ago`)
}

/** A server of Node's own, once it listens. */
export function listening(server: Server, where: ListenOptions, address: string): Promise<void> {
  return againLater(() => listenOnce(server, where, address))
}

/** Nobody listens there, nor would be let to; what is asked for is picked where it is 0. */
export async function findFree(host: string, port: number): Promise<{ port: number; address: string }> {
  const server = createServer()
  await listening(server, { host, port, exclusive: true }, `${host}:${port}`)
  const { port: found, address } = server.address() as AddressInfo
  await new Promise<void>((resolve) => server.close(() => resolve()))
  return { port: found, address }
}

/**
 * The same at a port that others of this daemon's threads listen at as well; by the addon, for not every Node knows how.
 *
 * @param address in figures
 */
export function listeningShared(server: Server, address: string, port: number): Promise<void> {
  return againLater(() => listenOnce(server, { fd: bound(address, port) }, `${address}:${port}`))
}

function bound(address: string, port: number): number {
  try {
    return loadNative()!.bindShared(address, port)
  } catch (error) {
    throw listenError(error, `${address}:${port}`)
  }
}

function listenOnce(server: Server, where: ListenOptions & { fd?: number }, address: string): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(listenError(error, address)))
    // As a parameter of its own: beside a descriptor it counts nowhere else.
    server.listen(where, LIMITS.backlogMax, () => {
      server.removeAllListeners('error')
      resolve()
    })
  })
}
