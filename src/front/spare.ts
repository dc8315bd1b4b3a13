// Memory for answers that leave in the same turn of the loop: what was used before is at hand, and what is new costs more than to fill it.
import { LIMITS } from '../base/limits.js'

/** By the power of two that is their length. */
const spare: Buffer[][] = Array.from({ length: 32 }, () => [])
let bytes = 0

/** At least so long; what stands in it is another's. */
export function takeSpare(length: number): Buffer {
  const size = 32 - Math.clz32(length - 1)
  const found = spare[size]!.pop()
  if (!found) return Buffer.allocUnsafeSlow(2 ** size)
  bytes -= found.length
  return found
}

/** Nobody looks at it any more. Smaller ones give way to it: new memory costs by its length. @param part of what was taken */
export function giveSpare({ buffer, byteLength }: Uint8Array): void {
  const size = 31 - Math.clz32(buffer.byteLength)
  if (2 ** size !== buffer.byteLength || byteLength === 0) return
  for (let smaller = 0; smaller < size && bytes + buffer.byteLength > LIMITS.spareBytesMax;)
    if (spare[smaller]!.pop()) bytes -= 2 ** smaller
    else smaller += 1
  if (bytes + buffer.byteLength > LIMITS.spareBytesMax) return
  spare[size]!.push(Buffer.from(buffer))
  bytes += buffer.byteLength
}
