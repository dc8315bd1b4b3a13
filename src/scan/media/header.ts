// A file as readers of headers see it: bytes at a place, as far as they may read, and what they find.
import type { Media } from '../../protocol/messages.js'

export type { Media }

export interface Header {
  /** Of the whole file. */
  readonly size: number
  /** As many of these bytes as there are and may be read. */
  read(from: number, length: number): Buffer
}

/** The file is over, or what may be read of it; what was found by then stays. */
export class Ended extends Error {}

/** @throws Ended where there are not so many */
export function bytesAt(header: Header, from: number, length: number): Buffer {
  if (!(from >= 0 && length >= 0 && from + length <= header.size)) throw new Ended()
  const bytes = header.read(from, length)
  if (bytes.length < length) throw new Ended()
  return bytes
}

/** Sides of a picture of which both are there. */
export function setSides(into: Media, width: number, height: number): void {
  if (!isSide(width) || !isSide(height)) return
  into.width = width
  into.height = height
}

/** What was read so far lies on its side. */
export function turn(into: Media): void {
  const { width, height } = into
  if (width !== undefined && height !== undefined) setSides(into, height, width)
}

export function setDuration(into: Media, seconds: number): void {
  if (seconds > 0 && seconds <= SECONDS_MAX) into.durationMs = Math.round(seconds * 1_000)
}

function isSide(pixels: number): boolean {
  return Number.isInteger(pixels) && pixels > 0 && pixels <= SIDE_MAX
}

/** Beyond, a header lies: PNG allows no more. */
const SIDE_MAX = 2 ** 31 - 1
/** A year. */
const SECONDS_MAX = 366 * 24 * 3_600
