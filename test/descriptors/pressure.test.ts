// Pressure: what makes it, the level it comes to, that no level sticks, and what is asked of whom.
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import fc from 'fast-check'
import { LIMITS } from '../../src/base/limits.js'
import { Ledger } from '../../src/descriptors/ledger.js'
import { loadNative } from '../../src/descriptors/native.js'
import { plan } from '../../src/descriptors/planner.js'
import {
  askedAt,
  idleShare,
  jobMayBegin,
  levelOf,
  MachineFiles,
  Pressure,
  type LevelChange,
} from '../../src/descriptors/pressure.js'
import { countOpen, readLimit } from '../../src/descriptors/rlimit.js'
import type { Level } from '../../src/protocol/messages.js'

function newLedger(soft = 2_000): Ledger {
  return Ledger.create(plan({ soft, base: 0, connectionsMax: 'auto' }))
}

/** A machine of 1,000 files whose use a test writes. */
function fakeMachine(): { machine: MachineFiles; open(count: number): void; [Symbol.dispose](): void } {
  const folder = mkdtempSync(join(tmpdir(), 'sd-machine-'))
  const path = join(folder, 'file-nr')
  const open = (count: number) => writeFileSync(path, `${count}\t0\t1000\n`)
  open(10)
  const machine = new MachineFiles(path)
  const end = () => {
    machine.close()
    rmSync(folder, { recursive: true })
  }
  return { machine, open, [Symbol.dispose]: end }
}

test('a level is entered at its share of the budget and left ten points below', (t) => {
  using yard = fakeMachine()
  const ledger = newLedger()
  const pressure = new Pressure(ledger, yard.machine)
  const { budget } = ledger.totals()
  let held = 0
  const at = (share: number) => {
    const wanted = Math.ceil(budget * share)
    if (wanted > held) t.true(ledger.take('clients', wanted - held))
    else ledger.give('clients', held - wanted)
    held = wanted
    return { told: pressure.check()?.level, level: ledger.level }
  }
  t.deepEqual(at(0.5), { told: undefined, level: 'normal' })
  t.deepEqual(at(0.71), { told: 'elevated', level: 'elevated' })
  t.deepEqual(at(0.65), { told: undefined, level: 'elevated' })
  t.deepEqual(at(0.59), { told: 'normal', level: 'normal' })
  t.deepEqual(at(0.86), { told: 'high', level: 'high' })
  t.deepEqual(at(0.78), { told: undefined, level: 'high' })
  t.deepEqual(at(0.74), { told: 'elevated', level: 'elevated' })
  t.deepEqual(at(0.3), { told: 'normal', level: 'normal' })
})

test('no level sticks: whatever came before, two looks at the same pressure end in a level that belongs to it', (t) => {
  const levels: Level[] = ['normal', 'elevated', 'high', 'critical']
  const least = { normal: 0, elevated: 0.6, high: 0.75, critical: 0.85 }
  const most = { normal: 0.7, elevated: 0.85, high: 0.95, critical: Infinity }
  const holds = fc.property(
    fc.constantFrom(...levels),
    fc.double({ min: 0, max: 2, noNaN: true }),
    (before, pressure) => {
      const level = levelOf(pressure, before)
      return levelOf(pressure, level) === level && pressure >= least[level] && pressure < most[level]
    },
  )
  t.notThrows(() => fc.assert(holds))
})

test('the reason names who holds the budget, and the state says since when', (t) => {
  using yard = fakeMachine()
  const ledger = newLedger(300)
  const pressure = new Pressure(ledger, yard.machine)
  pressure.check()
  const before = pressure.state
  ledger.take('clients', 160)
  ledger.take('libraries', 100)
  const change = pressure.check() as LevelChange
  t.like(change, { level: 'high', before: 'normal' })
  t.regex(change.reason, /^260 of the 296 .*: clients 160, libraries 100$/)
  const { level, since, pressure: share, reason } = pressure.state
  t.is(level, 'high')
  t.is(share, 260 / 296)
  t.is(reason, change.reason)
  t.true(Date.parse(since) >= Date.parse(before.since))
  t.is(ledger.pressure, Math.round((1000 * 260) / 296) / 1000)
})

test.serial('descriptors that nobody leased are pressure by number, and gone with them', (t) => {
  const native = loadNative()
  if (!native) {
    t.log('not run: the limit cannot be cut without the addon')
    return t.pass()
  }
  using yard = fakeMachine()
  const before = readLimit().soft
  native.setLimit(countOpen() + 100)
  t.teardown(() => native.setLimit(before))
  const ledger = newLedger(102)
  const pressure = new Pressure(ledger, yard.machine)
  t.is(pressure.check(), null)
  t.true(pressure.state.free >= 90, `${pressure.state.free} free`)
  const taken = hog()
  const change = pressure.check()
  t.is(pressure.state.free, 0, 'exactly, also where numbers above the limit are open')
  for (const fd of taken) closeSync(fd)
  t.like(change, { level: 'critical' })
  t.regex(change!.reason, /^0 of the \d+ descriptor numbers are free, while the ledger has lent only 0 of its 100$/)
  t.like(pressure.check(), { level: 'normal', before: 'critical' })
})

/** Everything there is. */
function hog(): number[] {
  const taken: number[] = []
  try {
    for (;;) taken.push(openSync('/dev/null', 'r'))
  } catch {
    return taken
  }
}

test('a machine without files left is pressure too, said to be the machine and not us, read from a held descriptor', (t) => {
  using yard = fakeMachine()
  const pressure = new Pressure(newLedger(), yard.machine)
  t.is(pressure.check(), null)
  yard.open(960)
  const change = pressure.check()
  t.like(change, { level: 'critical', pressure: 0.96 })
  t.regex(change!.reason, /^the machine, not this daemon: .* 960 of 1000 files/)
  yard.open(100)
  t.like(pressure.check(), { level: 'normal' })
})

test('a system that does not say what the machine has open makes no pressure', (t) => {
  const machine = new MachineFiles('/nowhere/file-nr')
  t.is(machine.read(), null)
  t.is(new Pressure(newLedger(), machine).check(), null)
  machine.close()
})

if (process.platform === 'linux') {
  test('this machine says what it has open', (t) => {
    const machine = new MachineFiles()
    const { open, most } = machine.read()!
    t.true(open > 0 && open < most)
    machine.close()
  })
}

test('idle times are whole without pressure, shrink in a straight line, and never to nothing', (t) => {
  t.is(idleShare(0.3), 1)
  t.is(idleShare(0.7), 1)
  t.true(Math.abs(idleShare(0.825) - 0.55) < 1e-9)
  t.true(Math.abs(idleShare(0.95) - 0.1) < 1e-9)
  t.true(Math.abs(idleShare(3) - 0.1) < 1e-9)
})

test('idle clients are asked one in eight, at least one and at most 32, and at critical as many as bring back normal', (t) => {
  const asked = (level: Level, pressure: number, budget: number, idle: number, worst = pressure) =>
    askedAt({ level, pressure, worst }, budget, idle)
  t.is(asked('normal', 0.5, 1_000, 900), null)
  t.like(asked('elevated', 0.7, 1_000, 0), { clients: 1, descriptors: 0, clientIdleMs: LIMITS.httpIdleMs })
  t.like(asked('elevated', 0.72, 1_000, 80), { clients: 10 })
  t.like(asked('high', 0.85, 1_000, 5_000), { clients: 32, descriptors: 101 })
  t.like(asked('critical', 0.96, 1_000, 50), { clients: 361, descriptors: 361, clientIdleMs: LIMITS.httpIdleMs / 10 })
  t.like(asked('critical', 1.5, 200, 50), { clients: 181, descriptors: 181, clientIdleMs: LIMITS.clientRestMs })
  t.like(
    asked('elevated', 0.7, 1_000, 8, 0.96),
    { clients: 101, descriptors: 101, clientIdleMs: LIMITS.httpIdleMs / 10 },
    'on the way from critical to normal',
  )
  t.like(asked('high', 0.8, 1_000, 8, 3), { clients: 202, descriptors: 202, clientIdleMs: LIMITS.clientRestMs })
})

test('how bad it was is remembered until it is normal', (t) => {
  const ledger = newLedger(300)
  using yard = fakeMachine()
  const pressure = new Pressure(ledger, yard.machine)
  ledger.take('clients', 160)
  ledger.take('libraries', 100)
  pressure.check()
  t.is(pressure.worst, 260 / 296)
  ledger.give('clients', 50)
  pressure.check()
  t.is(pressure.state.level, 'elevated')
  t.is(pressure.worst, 260 / 296)
  ledger.give('clients', 100)
  pressure.check()
  t.is(pressure.worst, 110 / 296)
})

test('a job begins below high pressure, under it after a long wait, and never at critical', (t) => {
  t.deepEqual(
    (['normal', 'elevated', 'high', 'critical'] as const).map((level) => jobMayBegin(level, 0)),
    [true, true, false, false],
  )
  t.true(jobMayBegin('high', LIMITS.jobPressureWaitMs))
  t.false(jobMayBegin('critical', LIMITS.jobPressureWaitMs))
})
