// The version of this package, from package.json, so that it stands in one place.
import { createRequire } from 'node:module'

export const VERSION = (createRequire(import.meta.url)('../../package.json') as { version: string }).version
