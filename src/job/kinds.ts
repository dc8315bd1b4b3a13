// Which work each kind of job is.
import type { JobKind } from '../protocol/messages.js'
import { backUp } from './back-up.js'
import { check } from './check.js'
import { compare } from './compare.js'
import { hash } from './hash.js'
import { identify } from './identify.js'
import { indexLocation } from './index-location.js'
import type { Work } from './job.js'

export const KINDS: Readonly<Record<JobKind, Work>> = {
  index: indexLocation,
  identify,
  compare,
  hash,
  backup: backUp,
  check,
}
