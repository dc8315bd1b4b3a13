// BLAKE3 by the native package where it loads, else by WebAssembly at a fifth of its speed; both give the same digests.
import { createRequire } from 'node:module'
import { again, isShortage } from '../base/shortage.js'

export interface Blake3 {
  /** 32 bytes. */
  digest(bytes: Uint8Array): Uint8Array
  begin(): Hasher
}

/** Bytes that come one after the other; of one thread one at a time. */
export interface Hasher {
  update(bytes: Buffer): void
  /** 32 bytes. */
  digest(): Uint8Array
}

interface NativeBlake {
  blake3(bytes: Uint8Array): Buffer
  Blake3Hasher: new () => { update(bytes: Buffer): unknown; digestBuffer(): Buffer }
}

const require = createRequire(import.meta.url)

/** @throws a shortage of descriptors as it is: that says nothing about the package */
export async function loadBlake3(): Promise<Blake3> {
  try {
    return ofNative(again(() => require('@napi-rs/blake-hash') as NativeBlake))
  } catch (error) {
    if (isShortOfDescriptors(error)) throw error
    return await loadWasmBlake3()
  }
}

/** The package tries several files, and tells of those that it could not load as causes, one of the other. */
function isShortOfDescriptors(error: unknown): boolean {
  return isShortage(error) || (error instanceof Error && error.cause !== undefined && isShortOfDescriptors(error.cause))
}

export async function loadWasmBlake3(): Promise<Blake3> {
  const { createBLAKE3 } = again(() => require('hash-wasm') as typeof import('hash-wasm'))
  const hasher = await createBLAKE3()
  return {
    digest: (bytes) => hasher.init().update(bytes).digest('binary'),
    begin: () => {
      hasher.init()
      return { update: (bytes) => void hasher.update(bytes), digest: () => hasher.digest('binary') }
    },
  }
}

function ofNative({ blake3, Blake3Hasher }: NativeBlake): Blake3 {
  return {
    digest: (bytes) => blake3(bytes),
    begin: () => {
      const hasher = new Blake3Hasher()
      return { update: (bytes) => void hasher.update(bytes), digest: () => hasher.digestBuffer() }
    },
  }
}
