// What this process has open.
import { readdirSync, readlinkSync } from 'node:fs'

/** What its descriptors point to, without the numbers that differ each time, sorted. */
export function openTargets(): string[] {
  return readdirSync('/proc/self/fd')
    .flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/self/fd/${fd}`).replace(/\d+/g, 'N')]
      } catch {
        return []
      }
    })
    .sort()
}
