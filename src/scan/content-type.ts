// What a file is by its first bytes, and what its name lets one guess.
import type { ContentKind } from '../protocol/messages.js'

export interface ContentType {
  readonly mime: string
  readonly kind: ContentKind
}

/** So many bytes tell what a file is. */
const HEAD_BYTES = 4_096
const OPAQUE = 'application/octet-stream'
const PLAIN = 'text/plain'
const SCRIPT = 'text/x-script'
const ZIP = 'application/zip'
const GZIP = 'application/gzip'

/** Kinds whose headers say more than what they are. */
export const MEDIA_KINDS: ReadonlySet<ContentKind> = new Set(['image', 'video', 'audio'])

/** A signature: bytes, at an offset where one stands before the `:`; `?` is any byte. */
const SIGNATURES: readonly (readonly [bytes: string, mime: string, kind: ContentKind])[] = [
  ['\x89PNG\r\n\x1a\n', 'image/png', 'image'],
  ['\xff\xd8\xff', 'image/jpeg', 'image'],
  ['GIF8', 'image/gif', 'image'],
  ['RIFF????WEBP', 'image/webp', 'image'],
  ['BM????\0\0\0\0', 'image/bmp', 'image'],
  ['II*\0', 'image/tiff', 'image'],
  ['MM\0*', 'image/tiff', 'image'],
  ['\0\0\x01\0', 'image/x-icon', 'image'],
  ['8BPS', 'image/vnd.adobe.photoshop', 'image'],
  ['\xff\x0a', 'image/jxl', 'image'],
  ['\0\0\0\x0cJXL \r\n', 'image/jxl', 'image'],
  ['????ftypavif', 'image/avif', 'image'],
  ['????ftypavis', 'image/avif', 'image'],
  ['????ftyphei', 'image/heic', 'image'],
  ['????ftyphev', 'image/heic', 'image'],
  ['????ftypmif1', 'image/heif', 'image'],
  ['????ftypM4A', 'audio/mp4', 'audio'],
  ['????ftypM4B', 'audio/mp4', 'audio'],
  ['????ftypqt', 'video/quicktime', 'video'],
  ['????ftyp3g', 'video/3gpp', 'video'],
  ['????ftyp', 'video/mp4', 'video'],
  ['????moov', 'video/quicktime', 'video'],
  ['\x1aE\xdf\xa3', 'video/x-matroska', 'video'],
  ['RIFF????AVI ', 'video/x-msvideo', 'video'],
  ['FLV\x01', 'video/x-flv', 'video'],
  ['\0\0\x01\xba', 'video/mpeg', 'video'],
  ['\0\0\x01\xb3', 'video/mpeg', 'video'],
  ['0&\xb2u\x8ef\xcf\x11', 'video/x-ms-asf', 'video'],
  ['ID3', 'audio/mpeg', 'audio'],
  ['\xff\xfb', 'audio/mpeg', 'audio'],
  ['\xff\xf3', 'audio/mpeg', 'audio'],
  ['\xff\xf2', 'audio/mpeg', 'audio'],
  ['\xff\xf1', 'audio/aac', 'audio'],
  ['\xff\xf9', 'audio/aac', 'audio'],
  ['fLaC', 'audio/flac', 'audio'],
  ['RIFF????WAVE', 'audio/wav', 'audio'],
  ['FORM????AIFF', 'audio/aiff', 'audio'],
  ['FORM????AIFC', 'audio/aiff', 'audio'],
  ['MThd', 'audio/midi', 'audio'],
  ['OggS????????????????????????\x01video', 'video/ogg', 'video'],
  ['OggS????????????????????????\x80theora', 'video/ogg', 'video'],
  ['OggS', 'audio/ogg', 'audio'],
  ['%PDF-', 'application/pdf', 'document'],
  ['%!PS', 'application/postscript', 'document'],
  ['{\\rtf', 'application/rtf', 'document'],
  ['\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1', 'application/x-cfb', 'document'],
  ['PK\x03\x04', ZIP, 'archive'],
  ['PK\x05\x06', ZIP, 'archive'],
  ['\x1f\x8b', 'application/gzip', 'archive'],
  ['BZh', 'application/x-bzip2', 'archive'],
  ['\xfd7zXZ\0', 'application/x-xz', 'archive'],
  ['(\xb5/\xfd', 'application/zstd', 'archive'],
  ['\x04"M\x18', 'application/x-lz4', 'archive'],
  ["7z\xbc\xaf'\x1c", 'application/x-7z-compressed', 'archive'],
  ['Rar!\x1a\x07', 'application/vnd.rar', 'archive'],
  ['257:ustar', 'application/x-tar', 'archive'],
  ['!<arch>\ndebian-binary', 'application/vnd.debian.binary-package', 'package'],
  ['!<arch>\n', 'application/x-archive', 'archive'],
  ['\xed\xab\xee\xdb', 'application/x-rpm', 'package'],
  ['SQLite format 3\0', 'application/vnd.sqlite3', 'database'],
  ['wOFF', 'font/woff', 'font'],
  ['wOF2', 'font/woff2', 'font'],
  ['OTTO\0', 'font/otf', 'font'],
  ['\0\x01\0\0\0', 'font/ttf', 'font'],
  ['ttcf', 'font/collection', 'font'],
  ['\x7fELF', 'application/x-elf', 'executable'],
  ['MZ', 'application/vnd.microsoft.portable-executable', 'executable'],
  ['\xcf\xfa\xed\xfe', 'application/x-mach-binary', 'executable'],
  ['\xfe\xed\xfa\xcf', 'application/x-mach-binary', 'executable'],
  ['\0asm', 'application/wasm', 'executable'],
  ['\xca\xfe\xba\xbe', 'application/java-vm', 'executable'],
  ['glTF', 'model/gltf-binary', 'mesh'],
  ['GGUF', 'application/x-gguf', 'model_entry'],
  ['-----BEGIN PGP MESSAGE', 'application/pgp-encrypted', 'encrypted'],
  ['-----BEGIN PGP', 'application/pgp-keys', 'key'],
  ['-----BEGIN ', 'application/x-pem-file', 'key'],
  ['ssh-', 'application/x-ssh-key', 'key'],
  ['age-encryption.org/', 'application/x-age-encryption', 'encrypted'],
  ['Salted__', 'application/x-openssl-encrypted', 'encrypted'],
  ['LUKS\xba\xbe', 'application/x-luks', 'encrypted'],
  ['BEGIN:VCALENDAR', 'text/calendar', 'calendar'],
  ['BEGIN:VCARD', 'text/vcard', 'contact'],
  ['#!', SCRIPT, 'code'],
  ['<!DOCTYPE html', 'text/html', 'web'],
  ['<!doctype html', 'text/html', 'web'],
  ['<html', 'text/html', 'web'],
  ['<HTML', 'text/html', 'web'],
  ['<svg', 'image/svg+xml', 'image'],
  ['<?xml', 'text/xml', 'text'],
  ['\xff\xfe', PLAIN, 'text'],
  ['\xfe\xff', PLAIN, 'text'],
]

/** Contents of a zip by the names and the text near its start. */
const ZIPPED: readonly (readonly [text: string, mime: string, kind: ContentKind])[] = [
  ['mimetypeapplication/epub+zip', 'application/epub+zip', 'book'],
  ['mimetypeapplication/vnd.oasis.opendocument.text', 'application/vnd.oasis.opendocument.text', 'document'],
  [
    'mimetypeapplication/vnd.oasis.opendocument.spreadsheet',
    'application/vnd.oasis.opendocument.spreadsheet',
    'spreadsheet',
  ],
  [
    'mimetypeapplication/vnd.oasis.opendocument.presentation',
    'application/vnd.oasis.opendocument.presentation',
    'presentation',
  ],
  ['word/', 'application/vnd.openxmlformats-officedocument.wordprocessingml.document', 'document'],
  ['xl/', 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet', 'spreadsheet'],
  ['ppt/', 'application/vnd.openxmlformats-officedocument.presentationml.presentation', 'presentation'],
]

/** By number, which is good for this process only. */
export const TYPES: readonly ContentType[] = [
  { mime: OPAQUE, kind: 'unknown' },
  { mime: PLAIN, kind: 'text' },
  ...SIGNATURES.map(([, mime, kind]) => ({ mime, kind })),
  ...ZIPPED.map(([, mime, kind]) => ({ mime, kind })),
]
const NUMBER = { opaque: 0, plain: 1, signature: 2, zipped: 2 + SIGNATURES.length } as const

interface Signature {
  readonly number: number
  readonly at: number
  /** −1 is any byte. */
  readonly bytes: readonly number[]
}

const parsed = SIGNATURES.map(([text], at) => parse(text, NUMBER.signature + at))
/** By their first byte; those that begin with any byte, or elsewhere, are looked at always. */
const byFirst = Array.from({ length: 256 }, (_, first) =>
  parsed.filter(({ at, bytes }) => at === 0 && bytes[0] === first),
)
const anywhere = parsed.filter(({ at, bytes }) => at > 0 || bytes[0] === -1)

function parse(text: string, number: number): Signature {
  const [, at = '0', bytes = text] = /^(\d{3,}):([^]*)$/.exec(text) ?? []
  return { number, at: Number(at), bytes: [...bytes].map((char) => (char === '?' ? -1 : char.charCodeAt(0))) }
}

/** The number of the type in `TYPES`. */
export function typeOf(content: Uint8Array): number {
  if (content.length === 0) return NUMBER.opaque
  for (const signature of byFirst[content[0]!]!) if (fits(signature, content)) return inside(signature.number, content)
  for (const signature of anywhere) if (fits(signature, content)) return signature.number
  return isText(content) ? NUMBER.plain : NUMBER.opaque
}

function fits({ at, bytes }: Signature, content: Uint8Array): boolean {
  if (content.length < at + bytes.length) return false
  for (let each = 0; each < bytes.length; each++)
    if (bytes[each] !== -1 && bytes[each] !== content[at + each]) return false
  return true
}

function inside(number: number, content: Uint8Array): number {
  const { mime } = TYPES[number]!
  if (mime === ZIP) return zipped(number, content)
  if (mime === 'text/xml' && head(content).includes('<svg'))
    return TYPES.findIndex((each) => each.mime === 'image/svg+xml')
  return number
}

function zipped(number: number, content: Uint8Array): number {
  const text = head(content)
  const at = ZIPPED.findIndex(([mark]) => text.includes(mark))
  return at < 0 ? number : NUMBER.zipped + at
}

function head(content: Uint8Array): string {
  return Buffer.from(content.buffer, content.byteOffset, Math.min(content.length, HEAD_BYTES)).toString('latin1')
}

/** No control characters but those of text. */
function isText(content: Uint8Array): boolean {
  const end = Math.min(content.length, HEAD_BYTES)
  for (let at = 0; at < end; at++) {
    const byte = content[at]!
    if (byte < 0x20 && (byte < 0x07 || byte > 0x0d) && byte !== 0x1b) return false
  }
  return true
}

type Shown = 'text' | 'zip' | 'gzip' | 'opaque' | 'itself'

/** What extensions stand for; each with what the bytes of such a file show themselves: text, a zip, or nothing known. */
const BY_NAME: readonly (readonly [kind: ContentKind, shown: Shown, types: string])[] = [
  [
    'image',
    'itself',
    'png:image/png apng:image/apng jpg,jpeg,jpe,jfif:image/jpeg gif:image/gif webp:image/webp bmp:image/bmp tif,tiff:image/tiff ico:image/x-icon psd:image/vnd.adobe.photoshop jxl:image/jxl avif:image/avif heic,heif:image/heic svg:image/svg+xml',
  ],
  ['image', 'opaque', 'raw,nef,nrw,cr2,cr3,arw,dng,orf,rw2,raf,pef,srw:image/x-raw tga:image/x-tga jp2:image/jp2'],
  ['image', 'gzip', 'svgz:image/svg+xml'],
  [
    'video',
    'itself',
    'mp4,m4v:video/mp4 mov:video/quicktime mkv:video/x-matroska webm:video/webm avi:video/x-msvideo mpg,mpeg:video/mpeg wmv:video/x-ms-asf flv:video/x-flv 3gp:video/3gpp ogv:video/ogg',
  ],
  ['video', 'opaque', 'm2ts,mts:video/mp2t'],
  [
    'audio',
    'itself',
    'mp3:audio/mpeg m4a,m4b:audio/mp4 flac:audio/flac wav:audio/wav ogg,oga,opus:audio/ogg aac:audio/aac aif,aiff:audio/aiff mid,midi:audio/midi wma:audio/x-ms-wma',
  ],
  ['document', 'itself', 'pdf:application/pdf ps:application/postscript rtf:application/rtf doc:application/msword'],
  [
    'document',
    'zip',
    'docx:application/vnd.openxmlformats-officedocument.wordprocessingml.document odt:application/vnd.oasis.opendocument.text pages:application/vnd.apple.pages',
  ],
  [
    'spreadsheet',
    'zip',
    'xlsx:application/vnd.openxmlformats-officedocument.spreadsheetml.sheet ods:application/vnd.oasis.opendocument.spreadsheet numbers:application/vnd.apple.numbers',
  ],
  ['spreadsheet', 'itself', 'xls:application/vnd.ms-excel'],
  ['spreadsheet', 'text', 'csv:text/csv tsv:text/tab-separated-values'],
  [
    'presentation',
    'zip',
    'pptx:application/vnd.openxmlformats-officedocument.presentationml.presentation odp:application/vnd.oasis.opendocument.presentation key:application/vnd.apple.keynote',
  ],
  ['presentation', 'itself', 'ppt:application/vnd.ms-powerpoint'],
  [
    'archive',
    'itself',
    'zip:application/zip gz,tgz:application/gzip bz2,tbz2:application/x-bzip2 xz,txz:application/x-xz zst:application/zstd 7z:application/x-7z-compressed rar:application/vnd.rar tar:application/x-tar iso:application/x-iso9660-image lz4:application/x-lz4',
  ],
  ['package', 'itself', 'deb:application/vnd.debian.binary-package rpm:application/x-rpm'],
  [
    'package',
    'zip',
    'jar:application/java-archive apk:application/vnd.android.package-archive whl:application/x-wheel+zip xpi:application/x-xpinstall',
  ],
  ['book', 'zip', 'epub:application/epub+zip'],
  ['book', 'opaque', 'mobi,azw,azw3:application/x-mobipocket-ebook'],
  [
    'code',
    'text',
    'js,mjs,cjs,jsx:text/javascript ts,tsx,mts,cts:text/x-typescript py:text/x-python c,h:text/x-c cc,cpp,cxx,hpp,hh:text/x-c++ rs:text/x-rust go:text/x-go java:text/x-java kt:text/x-kotlin swift:text/x-swift rb:text/x-ruby php:text/x-php cs:text/x-csharp sh,bash,zsh:text/x-shellscript pl,pm:text/x-perl lua:text/x-lua sql:text/x-sql css:text/css scss,sass,less:text/x-scss vue:text/x-vue svelte:text/x-svelte r:text/x-r scala:text/x-scala hs:text/x-haskell ex,exs:text/x-elixir erl:text/x-erlang clj:text/x-clojure dart:text/x-dart zig:text/x-zig',
  ],
  [
    'config',
    'text',
    'json,jsonc:application/json yaml,yml:application/yaml toml:application/toml ini,cfg,conf:text/x-ini env:text/x-env properties:text/x-java-properties plist:application/x-plist lock:text/x-lock',
  ],
  [
    'text',
    'text',
    'txt,text,log:text/plain md,markdown:text/markdown rst:text/x-rst tex:text/x-tex xml:text/xml srt:text/x-srt vtt:text/vtt',
  ],
  ['web', 'text', 'html,htm,xhtml:text/html'],
  ['web', 'opaque', 'warc:application/warc'],
  ['database', 'itself', 'sqlite,sqlite3,db:application/vnd.sqlite3'],
  ['database', 'opaque', 'mdb,accdb:application/x-msaccess parquet:application/vnd.apache.parquet'],
  ['font', 'itself', 'ttf:font/ttf otf:font/otf woff:font/woff woff2:font/woff2 ttc:font/collection'],
  ['mesh', 'text', 'obj:model/obj gltf:model/gltf+json ply:model/x-ply dae:model/vnd.collada+xml'],
  ['mesh', 'opaque', 'stl:model/stl fbx:model/x-fbx blend:application/x-blender glb:model/gltf-binary'],
  ['encrypted', 'opaque', 'gpg,pgp:application/pgp-encrypted kdbx:application/x-keepass aes:application/x-aes'],
  ['key', 'text', 'pem,crt,cer:application/x-pem-file pub:application/x-ssh-key asc:application/pgp-keys'],
  ['key', 'opaque', 'der,p12,pfx:application/x-pkcs12'],
  [
    'executable',
    'itself',
    'exe,dll:application/vnd.microsoft.portable-executable so,o:application/x-elf wasm:application/wasm class:application/java-vm',
  ],
  ['binary', 'opaque', 'bin,dat:application/octet-stream pyc:application/x-python-code'],
  ['email', 'text', 'eml:message/rfc822 mbox:application/mbox'],
  ['calendar', 'text', 'ics:text/calendar'],
  ['contact', 'text', 'vcf:text/vcard'],
  ['shortcut', 'text', 'desktop:application/x-desktop url,webloc:application/x-url'],
  ['shortcut', 'opaque', 'lnk:application/x-ms-shortcut'],
  ['model_entry', 'opaque', 'safetensors,onnx,pt,gguf:application/x-model'],
]

interface Guess extends ContentType {
  readonly shown: Shown
  /** The place of its line in `BY_NAME`, from 1 on. */
  readonly line: number
}

const guesses = new Map<string, Guess>(
  BY_NAME.flatMap(([kind, shown, types], at) =>
    types.split(' ').flatMap((type) => {
      const [extensions, mime] = type.split(':') as [string, string]
      return extensions.split(',').map((extension) => [extension, { kind, mime, shown, line: at + 1 }] as const)
    }),
  ),
)

/** What bytes that say little about themselves may be. */
const SHOWN: Readonly<Record<string, Guess['shown']>> = {
  [OPAQUE]: 'opaque',
  [PLAIN]: 'text',
  [SCRIPT]: 'text',
  'text/xml': 'text',
  [ZIP]: 'zip',
  [GZIP]: 'gzip',
}

function guess(name: string): Guess | undefined {
  const dot = name.lastIndexOf('.')
  return dot < 1 ? undefined : guesses.get(name.slice(dot + 1).toLowerCase())
}

/** The line of what a name lets one guess, 0 for nothing; a number, to be kept of many names. */
export function guessLine(name: string): number {
  return guess(name)?.line ?? 0
}

/** Of such a line: the kind, and types that a file of it may show. */
export function guessOf(line: number): { readonly kind: ContentKind; readonly mimes: readonly string[] } | undefined {
  const [kind, shown] = BY_NAME[line - 1] ?? []
  if (kind === undefined) return undefined
  return { kind, mimes: Object.keys(SHOWN).filter((mime) => SHOWN[mime] === shown) }
}

/** Of which names one of these kinds is guessed. */
export function extensionsOf(kinds: ReadonlySet<ContentKind>): string[] {
  return [...guesses].filter(([, { kind }]) => kinds.has(kind)).map(([extension]) => extension)
}

/** Types that say little, so that the name decides where it fits them. */
export const VAGUE: readonly string[] = Object.keys(SHOWN)

/** What a file's name lets one guess, as long as nobody has looked into it. */
export function guessType(name: string): ContentType | undefined {
  return guess(name)
}

/** What it holds decides; the name says more only where the bytes agree with it: a text may be code, a zip may be a document. */
export function refineType(type: ContentType, name: string): ContentType {
  const guessed = guess(name)
  return guessed && SHOWN[type.mime] === guessed.shown ? guessed : type
}
