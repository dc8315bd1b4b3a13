// Answers one envelope, whichever way it came: the method is looked up, its payload checked, and its answer made of ours.
import { toWire } from '../base/errors.js'
import type { Tongue } from '../front/turn.js'
import { askBy, type Asked, type Method } from './asking.js'
import type { Device } from './device.js'
import { answered, failed, isEnvelope, Malformed, readEnvelope, refused, type Envelope } from './envelope.js'
import { OF_FILES } from './of-files.js'
import { OF_INTERFACE, OFF } from './of-interface.js'
import { OF_LIBRARIES } from './of-libraries.js'
import { OF_TAGS } from './of-tags.js'
import { OF_WORK } from './of-work.js'

export const METHODS: Readonly<Record<string, Method>> = {
  ...OF_LIBRARIES,
  ...OF_FILES,
  ...OF_WORK,
  ...OF_TAGS,
  ...OF_INTERFACE,
}

export interface Here {
  readonly device: Device
  readonly dataDir: string
}

/** Of POST /rpc: null for what is JSON-RPC. */
export function tongueOf(text: string, here: Here): Tongue | null {
  if (!isEnvelope(text)) return null
  return (ask, tell) => {
    try {
      answerBy(readEnvelope(text), here)(ask, tell)
    } catch (error) {
      tell(malformed(error))
    }
  }
}

export function malformed(error: unknown): string {
  if (error instanceof Malformed) return failed('SerializationError', error.message)
  return refused(toWire(error))
}

/** Whatever needs no connection that stays. */
export function answerBy(envelope: Envelope, here: Here): Tongue {
  return (run, tell) => {
    const ask = askBy(run)
    const answer = async () => {
      switch (envelope.tag) {
        case 'Ping':
          await ask('core.ping')
          return '"Pong"'
        case 'Shutdown':
          await ask('core.shutdown')
          return '{"Ok":[]}'
        case 'Call':
          if (!methodOf(envelope.method)) return unknown(envelope)
          return answered(await call(envelope, { ...here, ask }))
        default:
          return failed('OperationFailed', `${envelope.tag} needs a connection of the line protocol`)
      }
    }
    answer().then(tell, (error: unknown) => tell(refused(toWire(error))))
  }
}

/** In Spacedrive's words, which its clients may look for. */
function unknown({ method }: Call): string {
  return failed('OperationFailed', `Unknown method: ${method.slice(0, 200)}`)
}

type Call = Extract<Envelope, { tag: 'Call' }>

async function call({ method, library, payload }: Call, asked: Omit<Asked, 'library' | 'payload'>): Promise<unknown> {
  return await methodOf(method)!({ ...asked, library: library ?? '', payload })
}

/** Whether it is asked for as a query or as an action is not looked at, as in Spacedrive itself. */
function methodOf(named: string): Method | undefined {
  const name = named.replace(/^(?:query|action):/, '').replace(/\.input$/, '')
  if (Object.hasOwn(METHODS, name)) return METHODS[name]
  return OFF.find(([pattern]) => pattern.test(name))?.[1]
}
