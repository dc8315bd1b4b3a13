// Many more libraries than descriptors, used in random order by many clients at once.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { manyLibraries } from '../harness/many.js'
import { mostDescriptors } from '../harness/load.js'
import { play } from '../harness/scene.js'

const LIMIT = 128

test.serial('300 libraries within 128 descriptors: no error, and all that was written is there', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon({ limit: `${LIMIT}:${LIMIT}` })
    const root = scene.path('tiny')
    mkdirSync(root)
    for (const name of ['one', 'two', 'three']) writeFileSync(join(root, name), name)
    let openMost = 0
    const most = await mostDescriptors(daemon, async () => {
      const seen = await manyLibraries(daemon, { count: 300, clients: 16, steps: 900, root })
      openMost = seen.openMost
      t.deepEqual(seen.problems.slice(0, 5), [])
      t.is(seen.written, 300)
    })
    t.true(most < LIMIT, `${most} descriptors were open`)
    t.true(openMost > 0 && openMost < LIMIT / 4, `${openMost} libraries were open`)
    t.false(/EMFILE|SQLITE_CANTOPEN/.test(daemon.log))
    t.is((await daemon.stop()).code, 0)
    const again = await scene.daemon({ limit: `${LIMIT}:${LIMIT}` })
    t.is((await again.call('libraries.list')).length, 300)
    await again.stop()
  })
})
