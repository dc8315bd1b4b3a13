// A table that keeps to the width of the terminal.
import { columnsOf, fitted } from './text.js'

export interface Column {
  readonly title: string
  readonly right?: boolean
  /** May be cut to make the table fit; the others never are. */
  readonly shrinks?: boolean
}

const GAP = 2
/** A column is not cut below this: less says nothing. */
const SHRUNK_COLUMNS_MIN = 6

/** Lines without trailing blanks; the first holds the titles. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[], columnsMax: number): string[] {
  const titles = columns.map(({ title }) => title)
  const widths = shrunk(columns, widest([titles, ...rows]), columnsMax)
  return [titles, ...rows].map((row) => line(columns, row, widths))
}

function widest(rows: readonly (readonly string[])[]): number[] {
  const widths: number[] = []
  for (const row of rows) row.forEach((cell, index) => (widths[index] = Math.max(widths[index] ?? 0, columnsOf(cell))))
  return widths
}

function shrunk(columns: readonly Column[], widths: readonly number[], columnsMax: number): number[] {
  const result = [...widths]
  let over = widths.reduce((sum, width) => sum + width + GAP, -GAP) - columnsMax
  while (over > 0) {
    const index = widestShrinking(columns, result)
    if (index === undefined) break
    result[index]! -= 1
    over -= 1
  }
  return result
}

function widestShrinking(columns: readonly Column[], widths: readonly number[]): number | undefined {
  let widestIndex: number | undefined
  columns.forEach((column, index) => {
    if (!column.shrinks || widths[index]! <= SHRUNK_COLUMNS_MIN) return
    if (widestIndex === undefined || widths[index]! > widths[widestIndex]!) widestIndex = index
  })
  return widestIndex
}

function line(columns: readonly Column[], row: readonly string[], widths: readonly number[]): string {
  const cells = columns.map((column, index) => {
    const cell = fitted(row[index] ?? '', widths[index]!)
    const blank = ' '.repeat(widths[index]! - columnsOf(cell))
    return column.right ? blank + cell : cell + blank
  })
  return cells.join(' '.repeat(GAP)).trimEnd()
}
