// What each kind of open costs here, in descriptors, beside what the ledger charges for it.
import Database from 'better-sqlite3'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { PRICES } from '../dist/src/descriptors/prices.js'
import { countOpen } from '../dist/src/descriptors/rlimit.js'
import { openConnection } from '../dist/src/library/connection.js'
import { createFolder, filesOf } from '../dist/src/library/folder.js'
import { holdLock } from '../dist/src/library/lock.js'
import { scratch } from './harness.mjs'

function tell(what, cost, price) {
  console.log(`${what}: ${cost} descriptors, charged ${price}${cost > price ? ' — TOO LITTLE' : ''}`)
}

new Database(':memory:').close()
let before = countOpen()
const worker = new Worker('setInterval(() => {}, 1000)', { eval: true })
await new Promise((resolve) => worker.once('online', resolve))
tell('a worker thread', countOpen() - before, PRICES.taskThread)
await worker.terminate()

const libraries = join(scratch, 'libraries')
mkdirSync(libraries)
const files = filesOf(createFolder(libraries, 'prices', 'Prices'))
before = countOpen()
const lock = holdLock(files.lock)
const first = openConnection(files.database)
first.prepare('SELECT count(*) FROM entry').get()
tell('an open library', countOpen() - before, PRICES.library)
before = countOpen()
const second = openConnection(files.database)
second.prepare('SELECT count(*) FROM entry').get()
tell('a further connection to it', countOpen() - before, PRICES.connection)
second.close()
first.close()
lock.release()
