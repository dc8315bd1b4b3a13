// Which shard owns a library: rendezvous hashing, so that another number of shards moves as few libraries as can be.
import { fnv } from '../base/hash.js'

/** The shard with the highest score for this id; every process computes the same. */
export function placeOf(library: string, shards: number): number {
  let best = 0
  let highest = -1
  for (let shard = 0; shard < shards; shard++) {
    const score = scoreOf(library, shard)
    if (score > highest) {
      highest = score
      best = shard
    }
  }
  return best
}

/** FNV-1a, then the finalizer of MurmurHash3, without which the last characters would decide. */
function scoreOf(library: string, shard: number): number {
  let hash = fnv(library, Math.imul(shard + 1, 0x9e3779b1))
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
