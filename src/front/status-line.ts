// Status lines of the answers the front gives, made once.
import { STATUS_CODES } from 'node:http'

const LINES = new Map(Object.entries(STATUS_CODES).map(([status, reason]) => [Number(status), `${status} ${reason}`]))

export function statusLine(status: number): string {
  return LINES.get(status) ?? `${status} Unknown`
}
