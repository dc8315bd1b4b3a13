// Values of options, read from their text.
import { InvalidArgumentError } from 'commander'

/** For an option that takes a whole number. */
export function wholeNumber(min: number, max: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
    if (value >= min && value <= max) return value
    throw new InvalidArgumentError(
      `Expected a whole number ${max === Number.MAX_SAFE_INTEGER ? `from ${min}` : `from ${min} to ${max}`}.`,
    )
  }
}

/** For an option that may be given more than once. */
export function collected(text: string, before: readonly string[]): string[] {
  return [...before, text]
}

/** For an option that takes a size: bytes, or K, M, G and T as powers of 1,024. */
export function sizeInBytes(text: string): number {
  const [, count, unit = ''] = /^(\d+(?:\.\d+)?)([KMGT]?)$/i.exec(text) ?? []
  if (count === undefined) throw new InvalidArgumentError('Expected a size like 100K or 1.5M.')
  return Math.round(Number(count) * 1024 ** ' KMGT'.indexOf(unit.toUpperCase() || ' '))
}
