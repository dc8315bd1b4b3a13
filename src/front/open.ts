// Chooses the implementation, once, at boot: the same protocol either way, uWebSockets.js where a binary of it loads. TLS is spoken
// by the other one: it takes a new certificate while it runs, and counts its connections before they have shaken hands.
import { createRequire } from 'node:module'
import { SpacedriveError } from '../base/errors.js'
import { again, fromLoading, isShortage } from '../base/shortage.js'
import { Desk } from './desk.js'
import type { Front, FrontSetup } from './front.js'
import { openNodeFront } from './node.js'
import { openUwsFront, type Uws } from './uws.js'

/** Listens, and answers STARTING until `state` is set to 'serving'. */
export async function openFront(setup: FrontSetup): Promise<Front> {
  if (setup.token.length === 0) throw new SpacedriveError('BAD_CONFIG', 'the token is empty')
  const uws = setup.implementation === 'node' || setup.certificate ? null : loadUws(setup)
  const desk = new Desk(setup)
  return uws ? openUwsFront(uws, desk) : openNodeFront(desk)
}

/** No binary of it loads with another C library than glibc, with an old one, or with the newest Node. */
function loadUws(setup: FrontSetup): Uws | null {
  try {
    return again(() => createRequire(import.meta.url)('uWebSockets.js') as Uws)
  } catch (error) {
    // Not to be served by the slower one until the next start, for a descriptor that was missing at this one.
    if (isShortage(error)) throw fromLoading(error)
    const reason = error instanceof Error ? error.message : String(error)
    if (setup.implementation === 'uws') {
      const hint = 'Start with `--front auto` or `--front node`: it serves the same protocol, slower.'
      throw new SpacedriveError('BAD_CONFIG', `uWebSockets.js cannot be loaded: ${reason}`, { cause: error, hint })
    }
    setup.log('info', 'uWebSockets.js cannot be loaded, node:http serves instead', { reason })
    return null
  }
}
