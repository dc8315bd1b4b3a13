// The last events of a daemon that was stopped in order, for the next one at the same data directory: who was told of all up to one of
// them misses nothing. There is none after a crash, and none is believed twice: what happened since would be left out without a word.
import { readFileSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { LIMITS } from './base/limits.js'
import { again } from './base/shortage.js'
import { syncDirectory, writeWhole } from './base/whole.js'
import { z } from './base/zod.js'
import type { Past } from './shard/events.js'

const count = z.int().nonnegative()
const event = z.looseObject({ type: z.string(), at: z.string(), library: z.string().optional() })
const stored = z
  .strictObject({
    runs: z.array(z.strictObject({ run: z.string(), last: count })).max(LIMITS.eventsRunsMax),
    events: z.array(event),
  })
  .refine(({ runs, events }) => events.length <= (runs.at(-1)?.last ?? 0))

/** What the last run left, which from here on is on the disk no more; null where it left nothing that can be used. */
export function takePast(path: string): Past | null {
  const text = readAt(path)
  try {
    rmSync(path)
    // A power cut may not bring it back.
    again(() => syncDirectory(dirname(path)))
    return stored.parse(JSON.parse(text)) as Past
  } catch {
    return null
  }
}

function readAt(path: string): string {
  try {
    return again(() => readFileSync(path, 'utf8'))
  } catch {
    return ''
  }
}

/** Throws where it cannot be stored; then subscribers are told that they may have missed something. */
export function leavePast(path: string, { runs, events }: Past): void {
  const left: Past = { runs: runs.slice(-LIMITS.eventsRunsMax), events }
  again(() => writeWhole(path, `${JSON.stringify(left)}\n`))
}
