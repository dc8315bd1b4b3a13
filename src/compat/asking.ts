// How a method of Spacedrive's clients is answered: what it is given, and how it asks for operations of ours.
import { fromWire } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { z, type Infer, type ZodType } from '../base/zod.js'
import type { Reply, Request } from '../protocol/messages.js'
import { PARAMS, type OperationName } from '../protocol/operations.js'
import type { Results } from '../protocol/results.js'
import type { Device } from './device.js'
import { Malformed, wrong } from './envelope.js'

/** @throws what the operation was refused with */
export type Ask = <Name extends OperationName>(operation: Name, params?: unknown) => Promise<Results[Name]>

export interface Asked<Payload = unknown> {
  readonly ask: Ask
  readonly payload: Payload
  /** Empty where the request names none. */
  readonly library: string
  readonly device: Device
  readonly dataDir: string
}

/** The answer, as it goes out; never with `undefined` in it. */
export type Method = (asked: Asked) => Promise<unknown>

/** Unknown keys are left alone, and null is as good as nothing: their clients send both. */
export function method<Schema extends ZodType>(
  schema: Schema,
  answer: (asked: Asked<Infer<Schema>>) => Promise<unknown>,
): Method {
  return (asked) => {
    const checked = schema.safeParse(asked.payload ?? {})
    if (checked.success) return answer({ ...asked, payload: checked.data })
    const [issue] = checked.error.issues
    throw wrong(`${issue?.path.length ? `${issue.path.join('.')}: ` : ''}${issue?.message ?? 'the payload is wrong'}`)
  }
}

/** One that works in the library that the request names. */
export function ofLibrary<Schema extends ZodType>(
  schema: Schema,
  answer: (asked: Asked<Infer<Schema>>) => Promise<unknown>,
): Method {
  const answered = method(schema, answer)
  return (asked) => {
    if (asked.library === '') throw wrong('Library ID required for library query')
    return answered(asked)
  }
}

export const nothing = z.unknown()
export const text = z.string()
export const maybe = z.string().nullish()
export const count = z.int().min(0).max(Number.MAX_SAFE_INTEGER).nullish()
export const truth = z.boolean().nullish()

/** The filter of who follows something. @throws Malformed */
export function checkedFilter<Schema extends ZodType>(schema: Schema, asked: unknown): Infer<Schema> {
  const checked = schema.safeParse(asked)
  if (checked.success) return checked.data
  throw new Malformed(`\`filter\`: ${checked.error.issues[0]?.message}`)
}

export function askBy(run: (request: Request, answer: (reply: Reply) => void) => void): Ask {
  return <Name extends OperationName>(operation: Name, params: unknown = {}) =>
    new Promise<Results[Name]>((resolve, reject) => {
      const checked = PARAMS[operation].safeParse(params)
      if (!checked.success) {
        const [issue] = checked.error.issues
        return reject(wrong(`${issue?.path.join('.')}: ${issue?.message}`))
      }
      run({ operation, params: checked.data }, (reply) =>
        reply.ok ? resolve(JSON.parse(reply.json) as Results[Name]) : reject(fromWire(reply.error)),
      )
    })
}

interface Page<Entry> {
  readonly items: readonly Entry[]
  readonly cursor?: string
}

/** Their lists have no cursor: page after page until there is no more, or `most` of those that are wanted were found. */
export async function collected<Entry>(
  page: (paging: { limit: number; cursor?: string }) => Promise<Page<Entry>>,
  most: number,
  isWanted: (entry: Entry) => boolean = () => true,
): Promise<{ found: Entry[]; isAll: boolean }> {
  const found: Entry[] = []
  let cursor: string | undefined
  do {
    const limit = Math.min(LIMITS.pageMax, most + 1)
    const { items, cursor: next } = await page(cursor === undefined ? { limit } : { limit, cursor })
    for (const each of items) if (isWanted(each)) found.push(each)
    cursor = next
  } while (cursor !== undefined && found.length <= most)
  const isAll = cursor === undefined && found.length <= most
  return { found: found.slice(0, most), isAll }
}
