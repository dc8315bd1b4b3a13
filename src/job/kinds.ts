// Which work each kind of job is.
import type { JobKind } from '../protocol/messages.js'
import { identify } from './identify.js'
import { indexLocation } from './index-location.js'
import type { Work } from './job.js'

export const KINDS: Readonly<Record<JobKind, Work>> = { index: indexLocation, identify }
