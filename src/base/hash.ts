/** FNV-1a over UTF-16 units: cheap, and its last letters count for little until the bits are mixed. */
export function fnv(text: string, seed = 0): number {
  let hash = 0x811c9dc5 ^ seed
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return hash
}
