// This machine as Spacedrive's clients address it: a device with a name, a slug that stands in every path, and an id that stays.
import { createHash } from 'node:crypto'
import { hostname } from 'node:os'

export interface Device {
  readonly id: string
  readonly name: string
  readonly slug: string
}

/** @param place tells daemons of one machine apart */
export function thisDevice(place: string): Device {
  const name = hostname()
  return { id: uuidOf(`spacedrive device ${name} ${place}`), name, slug: slugOf(name) }
}

/** Lower case, what is no letter or digit as a hyphen, and none of those at the ends. */
export function slugOf(name: string): string {
  const slug = name.toLowerCase().replace(/[^\p{Letter}\p{Number}]/gu, '-')
  return slug.replace(/^-+|-+$/g, '')
}

const DNS = Buffer.from('6ba7b8109dad11d180b400c04fd430c8', 'hex')

/** The UUID of version 5 of a name, in the namespace of DNS: of a content id it is the one that Spacedrive has for it. */
export function uuidOf(name: string): string {
  const bytes = createHash('sha1').update(DNS).update(name).digest().subarray(0, 16)
  bytes[6] = (bytes[6]! & 0x0f) | 0x50
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
