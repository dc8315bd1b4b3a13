// Looks into files of pictures, sounds and films for what their headers say. Loaded only by a thread that is to read media.
import { fstatSync, readSync } from 'node:fs'
import { LIMITS } from '../base/limits.js'
import { partsOf } from './content-id.js'
import type { GuardedFile } from './guard.js'
import { Changed, isSame, openIndexed, type FilesWanted, type LookInto } from './identify.js'
import { readMedia, type Header } from './media.js'

/** What was read for the id is not read again; only what lies elsewhere has the file opened once more. */
export const lookInto: LookInto = (files, at, content, mime) => {
  using header = new FileHeader(files, at, content)
  const media = readMedia(mime, header)
  header.mustBeSame()
  return media
}

const NOTHING = Buffer.alloc(0)

class FileHeader implements Header, Disposable {
  readonly size: number
  readonly #files: FilesWanted
  readonly #at: number
  readonly #content: Buffer
  readonly #parts: readonly number[]
  #file: GuardedFile | null = null
  #piece = { from: 0, bytes: NOTHING }
  #bytesLeft: number = LIMITS.mediaBytesMax
  #stepsLeft: number = LIMITS.mediaStepsMax

  constructor(files: FilesWanted, at: number, content: Buffer) {
    this.size = files.sizes[at]!
    this.#files = files
    this.#at = at
    this.#content = content
    this.#parts = partsOf(this.size)
  }

  read(from: number, length: number): Buffer {
    if (--this.#stepsLeft < 0) return NOTHING
    const wanted = Math.min(length, this.size - from)
    if (wanted <= 0) return NOTHING
    return this.#ofContent(from, wanted) ?? this.#ofPiece(from, wanted)
  }

  /** What was read by one who wrote it meanwhile is true of no file. */
  mustBeSame(): void {
    if (this.#file && !isSame(fstatSync(this.#file.fd, { bigint: true }), this.#file.stat))
      throw new Changed('it changed while it was read')
  }

  [Symbol.dispose](): void {
    this.#file?.close()
  }

  /** Of the parts that were read for the id. */
  #ofContent(from: number, length: number): Buffer | null {
    let begin = 0
    for (let part = 0; part < this.#parts.length; part += 2) {
      const [start, bytes] = [this.#parts[part]!, this.#parts[part + 1]!]
      if (from >= start && from + length <= start + bytes)
        return this.#content.subarray(begin + from - start, begin + from - start + length)
      begin += bytes
    }
    return null
  }

  #ofPiece(from: number, length: number): Buffer {
    const { from: start, bytes } = this.#piece
    if (from >= start && from + length <= start + bytes.length)
      return bytes.subarray(from - start, from - start + length)
    const next = Math.min(Math.max(length, LIMITS.mediaPieceBytes), this.size - from)
    if (next > this.#bytesLeft) return NOTHING
    this.#bytesLeft -= next
    this.#file ??= openIndexed(this.#files, this.#at)
    const piece = Buffer.allocUnsafe(next)
    this.#piece = { from, bytes: piece.subarray(0, readSync(this.#file.fd, piece, 0, next, from)) }
    return this.#piece.bytes.subarray(0, length)
  }
}
