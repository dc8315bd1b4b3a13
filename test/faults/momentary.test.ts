// What fails for a moment and works the next: by the time it is looked into nothing is wrong any more, and it is told as a lack all the same.
import test from 'ava'
import { isWritable } from '../harness/promise.js'
import { play } from '../harness/scene.js'
import { shimProblem, type Failing } from '../harness/shim.js'

const problem = shimProblem()
if (problem) console.log(`not run: momentary failures, because ${problem}`)
const shimmed = problem ? test.serial.skip : test.serial

const LACKS: readonly { what: string; failing: Failing; code: string }[] = [
  {
    what: 'a database that SQLite got to read only',
    failing: { calls: 'open', path: '.sdlibrary', errno: 'EMFILE', probability: 0.5 },
    code: 'BUDGET_EXHAUSTED',
  },
  {
    what: 'no space for the index of the log',
    failing: { calls: 'write', path: '-shm', errno: 'ENOSPC', probability: 0.5 },
    code: 'DISK_FULL',
  },
]

for (const { what, failing, code } of LACKS) {
  shimmed(`${what} is ${code} and nothing worse, however often it comes`, async (t) => {
    await play(async (scene) => {
      const shim = scene.shim()
      const daemon = await scene.daemon({ env: shim.env })
      const { id: library } = await daemon.call('libraries.create', { name: 'library' })
      const codes = new Set<string>()
      for (let seed = 1; seed <= 40; seed += 1) {
        await daemon.call('libraries.close', { library })
        const rule = shim.fail({ ...failing, seed })
        const said = await daemon.codeOf('libraries.info', { library })
        codes.add(said.startsWith('answered') ? 'answered' : said)
        rule.end()
        shim.clear()
      }
      t.true(codes.has(code), [...codes].join())
      codes.delete('answered')
      t.deepEqual([...codes], [code])
      await isWritable(daemon, library)
      t.is((await daemon.stop()).code, 0)
    })
  })
}
