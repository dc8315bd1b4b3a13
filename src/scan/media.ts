// What the header of a picture, a sound or a film says of it: how large it is shown, how long it takes, when it was taken.
import { avi } from './media/avi.js'
import { boxes } from './media/boxes.js'
import { heif } from './media/heif.js'
import { bmp, gif, jpeg, png, tiff, webp } from './media/images.js'
import { matroska } from './media/matroska.js'
import { ogg } from './media/ogg.js'
import { aiff, flac, mp3, wav } from './media/sounds.js'
import { Ended, type Header, type Media } from './media/header.js'

export type { Header }

type Reader = (header: Header, into: Media) => void

/** By what the first bytes are. A type without a reader tells nothing. */
const READERS: Readonly<Record<string, Reader>> = {
  'image/png': png,
  'image/jpeg': jpeg,
  'image/gif': gif,
  'image/webp': webp,
  'image/bmp': bmp,
  'image/tiff': tiff,
  'image/heic': heif,
  'image/heif': heif,
  'image/avif': heif,
  'audio/wav': wav,
  'audio/aiff': aiff,
  'audio/ogg': ogg,
  'video/ogg': ogg,
  'video/x-msvideo': avi,
  'audio/flac': flac,
  'audio/mpeg': mp3,
  'audio/mp4': boxes,
  'video/mp4': boxes,
  'video/3gpp': boxes,
  'video/quicktime': boxes,
  'video/x-matroska': matroska,
}

/**
 * Nothing is guessed: what the header does not say, or says where it makes no sense, is left out.
 *
 * @param header bounded by whoever made it: a reader takes what it gets, and stops where that ends
 */
export function readMedia(mime: string, header: Header): Media {
  const media: Media = {}
  try {
    READERS[mime]?.(header, media)
  } catch (error) {
    if (!(error instanceof Ended)) throw error
  }
  return media
}
