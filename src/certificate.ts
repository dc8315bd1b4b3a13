// The certificate and the key by which the front speaks TLS: read at the start, again when either file was changed, and on request.
// A pair that does not work is not taken, and the one before stays in force.
import { X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { fromSystem, SpacedriveError } from './base/errors.js'
import { LIMITS } from './base/limits.js'
import { isShortage } from './base/shortage.js'
import { lend } from './descriptors/reserve.js'
import type { FrontSetup, Pair, PairSource } from './front/front.js'

export interface CertificateFiles {
  readonly cert: string
  readonly key: string
}

export class Certificate implements PairSource {
  readonly #files: CertificateFiles
  readonly #log: FrontSetup['log']
  readonly #lookMs: number
  #pair: Pair
  /** What the files were like when they were read last, and at the last look. */
  #read: string
  #seen: string
  #take: (pair: Pair) => void = () => undefined
  /** What was told last of the time in which the one in force holds. */
  #told: Validity = 'good'
  #timer: NodeJS.Timeout | null = null

  /** @throws BAD_CONFIG */
  constructor(files: CertificateFiles, log: FrontSetup['log'], lookMs: number = LIMITS.certificateLookMs) {
    this.#files = files
    this.#log = log
    this.#lookMs = lookMs
    this.#read = this.#seen = marksOf(files)
    this.#pair = readPair(files)
    this.#tell('TLS is spoken')
  }

  get pair(): Pair {
    return this.#pair
  }

  /** From now on the files are looked at. @param take is given every other pair */
  follow(take: (pair: Pair) => void): void {
    this.#take = take
    this.#timer = setInterval(() => this.#look(), this.#lookMs).unref()
  }

  stop(): void {
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = null
  }

  /** Reads what is in the files now. @returns brings it in force; true if it is another pair @throws BAD_CONFIG */
  prepare(): () => boolean {
    const marks = marksOf(this.#files)
    using _file = lend('doctor')
    const pair = readPair(this.#files)
    return () => this.#bring(pair, marks)
  }

  #bring(pair: Pair, marks: string): boolean {
    this.#read = this.#seen = marks
    if (pair.cert.equals(this.#pair.cert) && pair.key.equals(this.#pair.key)) return false
    this.#pair = pair
    this.#take(pair)
    this.#tell('the certificate was renewed')
    return true
  }

  /** Two files are not written at once: they are read when they were the same at two looks. */
  #look(): void {
    this.#tellValidity()
    const marks = marksOf(this.#files)
    const settled = marks === this.#seen
    this.#seen = marks
    if (!settled || marks === this.#read) return
    try {
      this.prepare()()
    } catch (error) {
      // For want of a descriptor it is tried again; a pair that is wrong stays wrong until a file is changed.
      if (!isShortage(error)) this.#read = marks
      const { message } = error as Error
      this.#log('warn', `the certificate was not renewed, the one before stays in force: ${message}`)
    }
  }

  #tell(what: string): void {
    const { subject, validTo } = new X509Certificate(this.#pair.cert)
    this.#log('info', what, { subject, validTo })
    this.#told = 'good'
    this.#tellValidity()
  }

  /** Once: it is spoken on, for whoever does not look. */
  #tellValidity(): void {
    const validity = validityOf(this.#pair)
    if (validity === this.#told) return
    this.#told = validity
    if (validity !== 'good') this.#log('warn', `the certificate ${validity}: clients that look will not connect`)
  }
}

type Validity = 'good' | 'has expired' | 'is not valid yet'

function validityOf({ cert }: Pair): Validity {
  const { validFrom, validTo } = new X509Certificate(cert)
  const now = Date.now()
  if (now > Date.parse(validTo)) return 'has expired'
  return now < Date.parse(validFrom) ? 'is not valid yet' : 'good'
}

/** A link is followed: what renews certificates often changes no more than that. */
function marksOf({ cert, key }: CertificateFiles): string {
  return [cert, key]
    .map((path) => {
      try {
        const { ino, size, mtimeMs, ctimeMs } = statSync(path)
        return [ino, size, mtimeMs, ctimeMs].join()
      } catch {
        return ''
      }
    })
    .join(' ')
}

function readPair({ cert: certPath, key: keyPath }: CertificateFiles): Pair {
  const cert = readPem(certPath, 'tlsCert')
  const key = readPem(keyPath, 'tlsKey')
  check(() => new X509Certificate(cert), `${certPath} holds no certificate in PEM`)
  check(
    () => createSecureContext({ cert }),
    `${certPath} holds something behind the first certificate that is none in PEM`,
  )
  check(() => createSecureContext({ key }), `${keyPath} holds no key in PEM that can be used without a password`)
  check(() => createSecureContext({ cert, key }), `${keyPath} is not the key of the certificate in ${certPath}`)
  return { cert, key }
}

function readPem(path: string, setting: string): Buffer {
  try {
    const stat = statSync(path)
    // To open a pipe would wait for whoever writes into it, and nobody would be served meanwhile.
    if (!stat.isFile()) throw new Error('it is no file')
    if (stat.size > LIMITS.certificateBytesMax)
      throw new Error(`it holds more than ${LIMITS.certificateBytesMax} bytes`)
    return readFileSync(path)
  } catch (error) {
    if (isShortage(error)) throw fromSystem(error)
    throw wrong(`${setting}: ${path} cannot be read: ${(error as Error).message}`, error)
  }
}

function check(use: () => unknown, message: string): void {
  try {
    use()
  } catch (error) {
    throw wrong(`${message} (${(error as Error).message})`, error)
  }
}

function wrong(message: string, cause: unknown): SpacedriveError {
  const hint =
    'Name the certificate, with those that vouch for it after it, and its key, both in PEM, or leave both out.'
  return new SpacedriveError('BAD_CONFIG', message, { cause, hint })
}
