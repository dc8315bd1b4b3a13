// What the sweeps ask of a library before they compare descriptors.
import test from 'ava'
import { Refusal } from './daemon.js'
import { closedUnseen } from './rest.js'

test('a library that has work running is asked again until it closes, and any other refusal is told', async (t) => {
  const refusals = ['JOB_STATE', 'JOB_STATE'].map((code) => refusal(code))
  let asked = 0
  const watch = () => {
    asked += 1
    const error = refusals.shift()
    return error ? Promise.reject(error) : Promise.resolve({ closed: true })
  }
  await closedUnseen({ watch }, 'a library')
  t.is(asked, 3)
  refusals.push(refusal('LIBRARY_DAMAGED'))
  await t.throwsAsync(closedUnseen({ watch }, 'a library'), { code: 'LIBRARY_DAMAGED' })
})

function refusal(code: string): Refusal {
  return new Refusal('libraries.close', 200, { code: -32000, message: 'refused', data: { code } })
}
