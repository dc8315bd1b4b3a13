// A library as it was before its database was brought to a newer schema: one copy, the newest, beside it.
import { closeSync, fsyncSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { SpacedriveError } from '../base/errors.js'
import type { Ledger } from '../descriptors/ledger.js'
import type { Connection } from './connection.js'
import { SCHEMA_VERSION, versionOf } from './schema.js'

/** The copy, and its journal should there be one; afterwards only the folder, or the copy, is open at a time. */
const DESCRIPTORS = 2
const COPY = /^library\.before-schema-\d+\.db$/

/**
 * Copies the database if it is about to be brought to a newer schema and holds anything. Where there is no room for the copy,
 * the library is not opened, and stays as it is: an older version of spacedrive can still read it.
 *
 * @throws DISK_FULL, BUDGET_EXHAUSTED
 */
export function keepBefore(connection: Connection, folder: string, ledger: Ledger): void {
  const version = versionOf(connection)
  if (version === 0 || version >= SCHEMA_VERSION || !holdsAnything(connection)) return
  const lease = ledger.tryAcquire('libraries', DESCRIPTORS, { holder: 'copy of a library', path: folder })
  if (!lease) {
    const message = `a copy of ${folder} has to be kept before it is brought to a newer schema`
    throw new SpacedriveError('BUDGET_EXHAUSTED', message, { class: 'libraries' })
  }
  try {
    copy(connection, folder, `library.before-schema-${version}.db`)
  } finally {
    lease.release()
  }
}

function holdsAnything(connection: Connection): boolean {
  return connection.prepare<[], number>('SELECT EXISTS (SELECT 1 FROM location)').pluck().get() === 1
}

function copy(connection: Connection, folder: string, name: string): void {
  const aside = join(folder, 'library.before.new')
  rmSync(aside, { force: true })
  try {
    connection.prepare('VACUUM INTO ?').run(aside)
    sync(aside)
    renameSync(aside, join(folder, name))
  } catch (error) {
    rmSync(aside, { force: true })
    throw error
  }
  for (const each of readdirSync(folder)) if (COPY.test(each) && each !== name) rmSync(join(folder, each))
}

function sync(path: string): void {
  const file = openSync(path, 'r+')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
