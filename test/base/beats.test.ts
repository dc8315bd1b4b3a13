// A thread that does not turn its loop is seen by the others, and its own pulse tells it afterwards.
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { Beats, MAIN } from '../../src/base/beats.js'
import { LIMITS } from '../../src/base/limits.js'
import { Pulse } from '../../src/base/pulse.js'
import { eventually } from '../harness/daemon.js'

test('silence is told by a clock that threads share; of who is not there nothing is told', async (t) => {
  const beats = Beats.create(3)
  t.is(beats.silentMs(1), 0)
  const begun = performance.now()
  const beating = `
    const { parentPort, workerData } = require('node:worker_threads')
    import(workerData.module).then(({ Beats }) => parentPort.postMessage(new Beats(workerData.shared).beat(1)))`
  const module = new URL('../../src/base/beats.js', import.meta.url).href
  const other = new Worker(beating, { eval: true, workerData: { module, shared: beats.shared } })
  await new Promise((resolve) => other.once('message', resolve))
  beats.beat(MAIN)
  // In this order: the one that beat last was looked at first, so that no time between two looks can turn them round.
  const [main, thread] = [beats.silentMs(MAIN), beats.silentMs(1)]
  t.true(main <= thread && thread <= performance.now() - begun + 1, `${main} and ${thread} ms`)
  await eventually('it was silent for a while', 10_000, () => beats.silentMs(1) >= 30)
  beats.leave(1)
  t.is(beats.silentMs(1), 0)
  await other.terminate()
})

test.serial('a loop that stood still knows it at once, and for how long', async (t) => {
  /** How late it is told to be in the step in which it was seen that the loop had stood still. */
  const lateMs: number[] = []
  const pulse = new Pulse((stoodMs) => void (stoodMs !== null && lateMs.push(pulse.lateMs())))
  const begun = performance.now()
  t.is(pulse.stood, null)
  pulse.start()
  await sleep(120)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LIMITS.stallMs + 200)
  t.true(pulse.lateMs() >= LIMITS.stallMs, 'before the first timer')
  await sleep(0)
  await new Promise((resolve) => setImmediate(resolve))
  t.is(pulse.stalls, 1)
  t.is(lateMs.length, 1)
  t.true(lateMs[0]! >= LIMITS.stallMs, 'and right after it')
  await sleep(LIMITS.resumeMs + 100)
  t.true(pulse.lateMs() < LIMITS.stallMs, 'a moment later it is over')
  const { stoodMs, agoMs } = pulse.stood!
  t.true(stoodMs >= LIMITS.stallMs && stoodMs + agoMs <= performance.now() - begun, `${stoodMs} ms, ${agoMs} ms ago`)
  pulse.stop()
})
