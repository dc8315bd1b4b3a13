// The ledger held against the kernel: every open descriptor with a name.
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { Audit } from '../../src/descriptors/audit.js'
import { Ledger } from '../../src/descriptors/ledger.js'
import { plan } from '../../src/descriptors/planner.js'
import { Reserve } from '../../src/descriptors/reserve.js'
import { countOpen } from '../../src/descriptors/rlimit.js'

const NO_DOORS = { port: null, socket: null, peers: [] }

test.serial(
  'a file under a lease has its holder, what was there at boot is the process itself, the rest is unaccounted',
  (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'sd-audit-'))
    t.teardown(() => rmSync(folder, { recursive: true }))
    closeSync(openSync('/dev/null', 'r'))
    countOpen()
    const ledger = Ledger.create(plan({ soft: 2_000, base: countOpen(), connectionsMax: 'auto' }))
    const audit = new Audit(ledger)
    const reserve = new Reserve()
    t.teardown(() => reserve.close())
    reserve.fill(ledger.totals().reserve)
    audit.settle({ leases: [], reserve: reserve.held, libraries: '/nowhere', doors: NO_DOORS })
    t.is(audit.unaccounted(), 0)
    using _lease = ledger.tryAcquire('libraries', 1, { holder: 'library X', path: folder })!
    const leased = openSync(join(folder, 'leased'), 'w')
    t.is(audit.unaccounted(), 0)
    const other = mkdtempSync(join(tmpdir(), 'sd-audit-other-'))
    const stray = openSync(join(other, 'stray'), 'w')
    const described = audit.describe({
      leases: ledger.held(),
      reserve: reserve.held,
      libraries: '/nowhere',
      doors: NO_DOORS,
    })
    t.is(audit.unaccounted(), 1)
    t.like(
      described.holders.find((each) => each.fd === leased),
      { class: 'libraries', holder: 'library X' },
    )
    for (const fd of reserve.held)
      t.like(
        described.holders.find((each) => each.fd === fd),
        { class: 'reserve' },
      )
    t.deepEqual(
      described.unaccounted.map((each) => each.fd),
      [stray],
    )
    t.true(described.highest >= Math.max(stray, leased))
    for (const fd of [leased, stray]) closeSync(fd)
    rmSync(other, { recursive: true })
  },
)
