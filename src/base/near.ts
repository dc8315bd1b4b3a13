// Which of some words a misspelt one may have been meant to be.

/** The nearest first; of words that share no more than a few letters with it none. */
export function nearest(word: string, words: Iterable<string>, most: number): string[] {
  const farMax = Math.max(1, Math.floor(word.length / 3))
  const near: { readonly word: string; readonly far: number }[] = []
  for (const each of words) {
    const far = each.startsWith(word) ? 1 : editsBetween(word, each, farMax)
    if (far <= farMax) near.push({ word: each, far })
  }
  near.sort((a, b) => a.far - b.far || (a.word < b.word ? -1 : 1))
  return near.slice(0, most).map((each) => each.word)
}

/** Letters to put in, leave out or change, two that changed places counting as one; more than `most` is not told apart. */
function editsBetween(a: string, b: string, most: number): number {
  if (Math.abs(a.length - b.length) > most) return most + 1
  let before: number[] = []
  let above = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const change = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      row[j] = Math.min(above[j]! + 1, row[j - 1]! + 1, change, swapped ? before[j - 2]! + 1 : Infinity)
    }
    before = above
    above = row
  }
  return above[b.length]!
}
