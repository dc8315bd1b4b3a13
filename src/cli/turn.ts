// A daemon that is to follow another: it starts and loads while that one still serves, and does nothing of its own before its turn.
import type { ChildProcess } from 'node:child_process'
import { closeSync, fstatSync, readSync, writeSync } from 'node:fs'
import type { Socket } from 'node:net'

/** Between the two, in the one that waits: a socket, for both directions. */
const TURN_DESCRIPTOR = 3
const WAITS = 'SPACEDRIVE_WAITS_FOR_TURN'

export function waiting(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { ...env, [WAITS]: '1' }
}

/** In the one that waits, and it stands still meanwhile. @returns false where whoever was to give it the turn is gone */
export function waitForTurn(): boolean {
  const waits = process.env[WAITS] !== undefined
  delete process.env[WAITS]
  // Another program may have the same word in its environment, and another thing at this number.
  if (!waits || !isSocket(TURN_DESCRIPTOR)) return true
  try {
    writeSync(TURN_DESCRIPTOR, '.')
    return readSync(TURN_DESCRIPTOR, Buffer.alloc(1)) === 1
  } catch {
    return false
  } finally {
    closeSync(TURN_DESCRIPTOR)
  }
}

function isSocket(descriptor: number): boolean {
  try {
    return fstatSync(descriptor).isSocket()
  } catch {
    return false
  }
}

/** Of one that was started as `waiting`; never resolves where it ends before. */
export function loaded(child: ChildProcess): Promise<true> {
  // A way that breaks is the end of the child, of which is heard elsewhere.
  return new Promise((resolve) =>
    wayTo(child)
      .on('error', () => undefined)
      .once('data', () => resolve(true)),
  )
}

export function giveTurn(child: ChildProcess): void {
  wayTo(child).end('.')
}

/** It ends without having done anything, if it has not had its turn. */
export function forgetTurn(child: ChildProcess): void {
  wayTo(child).destroy()
}

function wayTo(child: ChildProcess): Socket {
  return child.stdio[TURN_DESCRIPTOR] as Socket
}
