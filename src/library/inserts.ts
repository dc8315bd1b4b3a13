// Rows that are inserted many at a time: a statement that is run costs as much as some rows, the answer that nobody reads included.
import type { Connection } from './connection.js'

export type Value = number | bigint | null

const ROWS = 32

export class Inserts<Row extends readonly Value[]> {
  readonly #columns: number
  readonly #one
  readonly #many
  readonly #short: (rows: readonly Row[]) => void
  readonly #values: Value[]
  #filled = 0

  /**
   * @param into what stands before VALUES, with the columns in brackets
   * @param otherwise what stands after it
   * @param short is told of rows of which some were not inserted
   */
  constructor(connection: Connection, into: string, otherwise = '', short: (rows: readonly Row[]) => void = () => {}) {
    this.#columns = into.split(',').length
    this.#short = short
    const row = `(${Array(this.#columns).fill('?').join(', ')})`
    const prepare = (rows: number) =>
      connection.prepare<Value[]>(`${into} VALUES ${Array(rows).fill(row).join(', ')} ${otherwise}`)
    this.#values = Array<Value>(ROWS * this.#columns).fill(0)
    this.#one = prepare(1)
    this.#many = prepare(ROWS)
  }

  add(...row: Row): void {
    for (const value of row) this.#values[this.#filled++] = value
    if (this.#filled < this.#values.length) return
    this.#filled = 0
    this.#run(this.#many, this.#values)
  }

  /** To be called before any of them is asked for, and within the transaction. */
  flush(): void {
    const values = this.#values.slice(0, this.#filled)
    this.#filled = 0
    for (let at = 0; at < values.length; at += this.#columns) this.#run(this.#one, values.slice(at, at + this.#columns))
  }

  /** After a transaction that did not commit. */
  forget(): void {
    this.#filled = 0
  }

  #run(statement: { run(...values: Value[]): { changes: number } }, values: readonly Value[]): void {
    const { changes } = statement.run(...values)
    if (changes * this.#columns < values.length) this.#short(this.#rowsOf(values))
  }

  #rowsOf(values: readonly Value[]): Row[] {
    const rows: Row[] = []
    for (let at = 0; at < values.length; at += this.#columns)
      rows.push(values.slice(at, at + this.#columns) as unknown as Row)
    return rows
  }
}
