// When the budget will be full, told from how its use grew: over seconds for a flood, over an hour for a leak.
import { LIMITS } from '../base/limits.js'

/** A window of so many samples tells so many times its own length ahead, and no further. */
const REACH = 60

interface Window {
  /** Every how many samples (one a second) it takes one. */
  readonly every: number
  readonly size: number
  /** Fewer say nothing. */
  readonly least: number
}

const WINDOWS: readonly Window[] = [
  { every: 1, size: 10, least: 5 },
  { every: 1, size: 60, least: 30 },
  { every: 60, size: LIMITS.forecastMinutes, least: 10 },
]

interface Sample {
  readonly seconds: number
  readonly taken: number
}

export class Forecast {
  readonly #series = WINDOWS.map((): Sample[] => [])
  #count = 0
  #seconds: number | null = null

  /**
   * One look, made once a second.
   *
   * @param taken descriptors that are not to be had, whoever holds them
   * @returns seconds until `budget` are taken, or null: not in sight
   */
  add(seconds: number, taken: number, budget: number): number | null {
    WINDOWS.forEach(({ every, size }, index) => {
      if (this.#count % every !== 0) return
      const series = this.#series[index]!
      series.push({ seconds, taken })
      if (series.length > size) series.shift()
    })
    this.#count += 1
    this.#seconds = this.#soonest(budget - taken)
    return this.#seconds
  }

  get seconds(): number | null {
    return this.#seconds
  }

  #soonest(free: number): number | null {
    if (free <= 0) return 0
    const told = WINDOWS.map((window, index) => untilFull(window, this.#series[index]!, free))
    const soonest = Math.min(...told)
    return soonest === Infinity ? null : soonest
  }
}

function untilFull({ every, size, least }: Window, series: readonly Sample[], free: number): number {
  if (series.length < least) return Infinity
  const rate = slope(series)
  const seconds = free / rate
  return rate > 0 && seconds <= every * size * REACH ? seconds : Infinity
}

/** Theil–Sen: the median of the slopes between all pairs. A jump, or a few wild values, do not move it. */
export function slope(series: readonly Sample[]): number {
  const slopes = new Float64Array((series.length * (series.length - 1)) / 2)
  let count = 0
  for (let to = 1; to < series.length; to += 1) {
    const late = series[to]!
    for (let from = 0; from < to; from += 1) {
      const early = series[from]!
      slopes[count++] = (late.taken - early.taken) / (late.seconds - early.seconds)
    }
  }
  slopes.sort()
  const middle = slopes.length >> 1
  return slopes.length % 2 === 1 ? slopes[middle]! : (slopes[middle - 1]! + slopes[middle]!) / 2
}
