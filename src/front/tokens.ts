// Who asks: the owner, with the token of the data directory or on the unix socket; or who was given a token of his own, with a
// scope, for some libraries or all, until a time or until it is taken back. Of these only digests are kept, never what is sent.
import { createHash, randomBytes } from 'node:crypto'
import { uuidv7 } from 'uuidv7'
import { TOKEN_ENDED } from '../base/codes.js'
import { fromSystem, SpacedriveError } from '../base/errors.js'
import { LIMITS } from '../base/limits.js'
import { z, type Infer } from '../base/zod.js'
import type { Request, TokenItem } from '../protocol/messages.js'
import { includes, isOfAnyLibrary, scopeOf, type ParamsOf, type Scope } from '../protocol/operations.js'
import { NAMED_EVENT, SCOPES } from '../protocol/words.js'

const time = z.iso.datetime()

/** As it is stored. `digest` is SHA-256 of the secret, in hexadecimal digits. */
const stored = z.strictObject({
  id: z.string(),
  name: z.string(),
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  scope: z.enum(SCOPES),
  libraries: z.array(z.string()).optional(),
  createdAt: time,
  expiresAt: time.optional(),
  usedAt: time.optional(),
})
const storedTokens = z.array(stored)

export type StoredToken = Infer<typeof stored>

/** Its id, and the moment. */
export type TokenUse = readonly [id: string, at: number]

/** What was begun with a token and goes on. */
export interface Bound {
  tokenEnded(): void
}

/** Whoever asks, as long as he may: what is his ends when his token does. */
export class Caller {
  readonly #scope: Scope
  readonly #endsAt: number
  /** Null for one who may see all. */
  readonly libraries: ReadonlySet<string> | null
  usedAt: number | null = null
  #revoked = false
  readonly #bound = new Set<Bound>()

  constructor(scope: Scope, libraries: readonly string[] | undefined, expiresAt: string | undefined) {
    this.#scope = scope
    this.libraries = libraries ? new Set(libraries) : null
    this.#endsAt = expiresAt === undefined ? Infinity : Date.parse(expiresAt)
  }

  get isOver(): boolean {
    return this.#revoked || (this.#endsAt !== Infinity && Date.now() >= this.#endsAt)
  }

  /** Why this may not be asked, or null. */
  refuses({ operation, params }: Request): SpacedriveError | null {
    if (this === OWNER) return null
    if (this.isOver) return new SpacedriveError('UNAUTHORIZED', TOKEN_ENDED.reason)
    const needed = scopeOf(operation)
    if (!includes(this.#scope, needed)) {
      return new SpacedriveError(
        'FORBIDDEN',
        `${operation} needs the scope ${needed}, and the token has ${this.#scope}`,
      )
    }
    if (operation === 'events.subscribe' && !includes(this.#scope, 'admin') && namesLines(params))
      return new SpacedriveError('FORBIDDEN', `${NAMED_EVENT} needs the scope admin, and the token has ${this.#scope}`)
    if (this.libraries === null) return null
    const library = (params as { readonly library?: unknown }).library
    if (library === undefined ? isOfAnyLibrary(operation) : this.libraries.has(library as string)) return null
    const what = library === undefined ? `${operation} is not of one library` : 'this is another library'
    return new SpacedriveError('FORBIDDEN', `${what}, and the token is for some only`)
  }

  /** Whether he may see what concerns all libraries. */
  get seesAll(): boolean {
    return this.libraries === null
  }

  /** Ends when the token is revoked or has expired, unless it is set free before. */
  bind(bound: Bound): void {
    if (this !== OWNER) this.#bound.add(bound)
  }

  free(bound: Bound): void {
    this.#bound.delete(bound)
  }

  revoke(): void {
    this.#revoked = true
    this.end()
  }

  end(): void {
    const all = [...this.#bound]
    this.#bound.clear()
    for (const bound of all) bound.tokenEnded()
  }
}

/** Who may do everything, for as long as the daemon runs. */
export const OWNER = new Caller('admin', undefined, undefined)

interface Kept {
  readonly token: StoredToken
  readonly caller: Caller
}

export class Tokens {
  readonly #save: (tokens: readonly StoredToken[]) => void
  readonly #byDigest = new Map<string, Kept>()
  /** Something is not stored yet. */
  #changed = false
  /** Revoked, which is not stored yet. */
  readonly #unstored = new Set<StoredToken>()
  #savedAt = performance.now()

  /** @param save stores all of them, whole or not at all */
  constructor(save: (tokens: readonly StoredToken[]) => void = () => undefined) {
    this.#save = save
  }

  /** @throws BAD_CONFIG where it is not what `save` was given */
  load(tokens: unknown): void {
    const checked = storedTokens.safeParse(tokens)
    if (!checked.success) {
      throw new SpacedriveError('BAD_CONFIG', 'the stored tokens cannot be read', {
        hint: 'A newer version may have written DATA_DIR/tokens.json: update. Moved away, all tokens but the one in DATA_DIR/token are revoked.',
      })
    }
    for (const token of checked.data) this.#keep(token)
  }

  /** Of whoever sends this secret; null where it is none, or not any more. */
  callerOf(secret: string): Caller | null {
    const kept = this.#byDigest.size === 0 ? undefined : this.#byDigest.get(digestOf(secret))
    if (!kept || kept.caller.isOver) return null
    kept.caller.usedAt = Date.now()
    this.#changed = true
    return kept.caller
  }

  create({ name, scope, libraries, expiresAt }: ParamsOf<'tokens.create'>): TokenItem & { secret: string } {
    if (this.#byDigest.size >= LIMITS.tokensMax) {
      throw new SpacedriveError('BAD_REQUEST', `there are ${LIMITS.tokensMax} tokens`, {
        hint: 'Revoke one that is not used any more: `spacedrive token list` tells when each was used.',
      })
    }
    if (this.#named(name)) {
      throw new SpacedriveError('BAD_REQUEST', `a token is called ${JSON.stringify(name)} already`, {
        hint: 'Choose another name, or revoke that one first.',
      })
    }
    if (expiresAt !== undefined && Date.parse(expiresAt) <= Date.now()) {
      throw new SpacedriveError('BAD_REQUEST', 'expiresAt lies in the past', { hint: 'Give a time that is to come.' })
    }
    const secret = `sd_${randomBytes(32).toString('base64url')}`
    const token: StoredToken = {
      id: uuidv7(),
      name,
      digest: digestOf(secret),
      scope,
      ...(libraries ? { libraries: [...new Set(libraries)] } : {}),
      createdAt: new Date().toISOString(),
      ...(expiresAt === undefined ? {} : { expiresAt }),
    }
    const kept = this.#keep(token)
    try {
      this.#store()
    } catch (error) {
      this.#byDigest.delete(token.digest)
      throw error
    }
    return { ...itemOf(kept), secret }
  }

  /** As they are stored, for a thread that is to know the same. */
  stored(): StoredToken[] {
    return [...this.#byDigest.values()].map(({ token, caller }) => ({ ...token, ...usedAt(caller) }))
  }

  /** In a thread that is told: these are all there are. What was begun with one that is not among them ends. */
  follow(tokens: readonly StoredToken[]): void {
    const known = new Map(tokens.map((token) => [token.digest, token]))
    for (const [digest, { caller }] of [...this.#byDigest]) {
      if (known.has(digest)) continue
      this.#byDigest.delete(digest)
      caller.revoke()
    }
    for (const [digest, token] of known) if (!this.#byDigest.has(digest)) this.#keep(token)
  }

  /** When some were used, as another thread saw it. */
  used(uses: readonly TokenUse[]): void {
    for (const [id, at] of uses) {
      const caller = [...this.#byDigest.values()].find(({ token }) => token.id === id)?.caller
      if (!caller || at <= (caller.usedAt ?? 0)) continue
      caller.usedAt = at
      this.#changed = true
    }
  }

  list(): TokenItem[] {
    return [...this.#byDigest.values()].map(itemOf)
  }

  /** Holds at once, also where it cannot be stored: then that is tried again, and whoever asks again is told the same. */
  revoke(given: string): { token: string } {
    const kept = [...this.#byDigest.values()].find(({ token }) => token.id === given) ?? this.#named(given)
    const token = kept?.token ?? [...this.#unstored].find(({ id, name }) => id === given || name === given)
    if (!token) throw new SpacedriveError('TOKEN_NOT_FOUND', `no token is called ${JSON.stringify(given)}`)
    this.#byDigest.delete(token.digest)
    kept?.caller.revoke()
    this.#unstored.add(token)
    this.#changed = true
    try {
      this.#store()
    } catch (error) {
      const { code, message } = fromSystem(error)
      const hint =
        'It is revoked as long as this daemon runs. Mend this, then revoke it again: it would hold anew after a crash.'
      throw new SpacedriveError(code, message, { cause: error, hint })
    }
    return { token: token.id }
  }

  /** Called once in a while: ends what was begun with a token that has expired, and stores when each was used. */
  look(): void {
    for (const { caller } of this.#byDigest.values()) if (caller.isOver) caller.end()
    if (performance.now() - this.#savedAt >= LIMITS.tokenUseStoredMs) this.storeUses()
  }

  storeUses(): void {
    if (this.#changed) this.#store()
  }

  #named(name: string): Kept | undefined {
    return [...this.#byDigest.values()].find(({ token }) => token.name === name)
  }

  #keep(token: StoredToken): Kept {
    const kept = { token, caller: new Caller(token.scope, token.libraries, token.expiresAt) }
    if (token.usedAt !== undefined) kept.caller.usedAt = Date.parse(token.usedAt)
    this.#byDigest.set(token.digest, kept)
    return kept
  }

  #store(): void {
    this.#savedAt = performance.now()
    this.#save(this.stored())
    this.#changed = false
    this.#unstored.clear()
  }
}

function namesLines(params: unknown): boolean {
  return (params as ParamsOf<'events.subscribe'>).types?.includes(NAMED_EVENT) === true
}

function digestOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}

function itemOf({ token: { digest: _, usedAt: _before, ...told }, caller }: Kept): TokenItem {
  const { libraries, expiresAt, ...always } = told
  const isExpired = expiresAt !== undefined && Date.parse(expiresAt) <= Date.now()
  return {
    ...always,
    ...(libraries ? { libraries } : {}),
    ...(expiresAt === undefined ? {} : { expiresAt }),
    expired: isExpired,
    ...usedAt(caller),
  }
}

function usedAt({ usedAt: at }: Caller): { usedAt?: string } {
  return at === null ? {} : { usedAt: new Date(at).toISOString() }
}
