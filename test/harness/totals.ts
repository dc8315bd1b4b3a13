// Whether what a database says of each directory is what its entries come to, reckoned here and not by the code under test.
import type { Database } from 'better-sqlite3'

type EntryRow = [id: number, parent: number, kind: number, size: number]
type FolderRow = [entry: number, bytes: number, files: number, directories: number]

/** In words, none when all are true. Every entry is counted with each of the directories above it. */
export function wrongTotals(database: Database): string[] {
  const rows = database.prepare<[], EntryRow>('SELECT id, parent, kind, size FROM entry').raw().all()
  const parents = new Map(rows.map(([id, parent]) => [id, parent]))
  const totals = new Map<number, [number, number, number]>()
  for (const [id, , kind] of rows) if (kind === 1) totals.set(id, [0, 0, 0])
  for (const [, parent, kind, size] of rows) {
    for (let above = parent; above > 0; above = parents.get(above)!) {
      const [bytes, files, directories] = totals.get(above)!
      if (kind === 0) totals.set(above, [bytes + size, files + 1, directories])
      else if (kind === 1) totals.set(above, [bytes, files, directories + 1])
    }
  }
  const told: string[] = []
  for (const [entry, ...stored] of database
    .prepare<[], FolderRow>('SELECT entry, bytes, files, directories FROM folder')
    .raw()
    .all()) {
    const total = totals.get(entry)
    if (String(total) !== String(stored)) told.push(`directory ${entry}: stored ${stored}, true ${total}`)
    totals.delete(entry)
  }
  for (const [id, total] of totals)
    if (total.some((each) => each > 0)) told.push(`directory ${id}: no row, true ${total}`)
  return told
}
