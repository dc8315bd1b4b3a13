// zod, loaded as CommonJS: its ES modules are some eighty files that Node opens all at once, which a start at a limit
// of 64 descriptors does not survive (98 are needed), and which take 110 ms longer.
import { createRequire } from 'node:module'
import type * as zod from 'zod'

export const z = (createRequire(import.meta.url)('zod') as typeof zod).z
export type Infer<Schema extends zod.ZodType> = zod.infer<Schema>
export type { ZodType } from 'zod'
