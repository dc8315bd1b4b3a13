// A thread that does not turn its loop is seen by the others, and its own pulse tells it afterwards.
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { Beats, MAIN } from '../../src/base/beats.js'
import { LIMITS } from '../../src/base/limits.js'
import { Pulse } from '../../src/base/pulse.js'

test('silence is told by a clock that threads share; of who is not there nothing is told', async (t) => {
  const beats = Beats.create(3)
  t.is(beats.silentMs(1), 0)
  const beating = `
    const { parentPort, workerData } = require('node:worker_threads')
    import(workerData.module).then(({ Beats }) => parentPort.postMessage(new Beats(workerData.shared).beat(1)))`
  const module = new URL('../../src/base/beats.js', import.meta.url).href
  const other = new Worker(beating, { eval: true, workerData: { module, shared: beats.shared } })
  await new Promise((resolve) => other.once('message', resolve))
  beats.beat(MAIN)
  const apart = beats.silentMs(1) - beats.silentMs(MAIN)
  t.true(apart >= 0 && apart < 5_000, `${apart} ms apart`)
  await sleep(30)
  t.true(beats.silentMs(1) >= 29)
  beats.leave(1)
  t.is(beats.silentMs(1), 0)
  await other.terminate()
})

test.serial('a loop that stood still knows it at once, and for how long', async (t) => {
  const turned: (number | null)[] = []
  const pulse = new Pulse((stoodMs) => turned.push(stoodMs))
  t.is(pulse.stood, null)
  pulse.start()
  await sleep(120)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LIMITS.stallMs + 200)
  t.true(pulse.lateMs() >= LIMITS.stallMs, 'before the first timer')
  await sleep(0)
  await new Promise((resolve) => setImmediate(resolve))
  t.is(pulse.stalls, 1)
  t.true(pulse.lateMs() >= LIMITS.stallMs, 'and right after it')
  t.true(turned.filter((each) => each !== null).length === 1)
  await sleep(LIMITS.resumeMs + 100)
  t.true(pulse.lateMs() < LIMITS.stallMs, 'a moment later it is over')
  t.true(pulse.stood!.stoodMs >= LIMITS.stallMs && pulse.stood!.agoMs < 10_000)
  pulse.stop()
})
