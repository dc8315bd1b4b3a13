// What becomes of a copy of a library that does not come to its end.
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { canRun, inProcess } from '../scan/ordinary.js'
import { index, Stage } from './stage.js'

async function planted(stage: Stage) {
  for (let at = 0; at < 50; at++) writeFileSync(join(stage.tree, `file ${at}`), '')
  const library = stage.open(stage.create())
  await index(library, stage.tree)
  mkdirSync(join(stage.path, 'copies'))
  return library
}

test('one that is cancelled leaves nothing; the next one throws away what a crash left', async (t) => {
  using stage = new Stage()
  const library = await planted(stage)
  const copies = join(stage.path, 'copies')
  const to = join(copies, 'copy')
  await library.backUp(to, { job: '', signal: AbortSignal.abort(), progressed: () => {} })
  t.deepEqual(readdirSync(copies), [])
  mkdirSync(`${to}.new`)
  writeFileSync(join(`${to}.new`, 'library.db'), 'half')
  const told: [number, number][] = []
  await library.backUp(to, { job: '', signal: new AbortController().signal, progressed: (...each) => told.push(each) })
  t.deepEqual(readdirSync(copies), ['copy'])
  const [done, total] = told.at(-1)!
  t.is(done, total)
  t.true(total > 0)
  await t.throwsAsync(library.backUp(to, { job: '', signal: new AbortController().signal, progressed: () => {} }), {
    code: 'PATH_REFUSED',
  })
  t.deepEqual(readdirSync(copies), ['copy'])
})

if (canRun('unshare', '-m', 'true')) {
  test('without room for it none is begun, and that is told', (t) => {
    using stage = new Stage()
    const told = inProcess<{ code: string; message: string; left: string[] }>(
      ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"', stage.libraries],
      `
      const { Stage, index } = await load('test/library/stage.js')
      const { readdirSync } = await import('node:fs')
      const stage = new Stage()
      const library = stage.open(stage.create())
      await index(library, stage.tree)
      let said = { code: 'none', message: '' }
      try {
        await library.backUp(argument + '/copy', { job: '', signal: new AbortController().signal, progressed: () => {} })
      } catch (error) { said = error }
      const left = readdirSync(argument)
      stage[Symbol.dispose]()
      return { code: said.code, message: said.message, left }`,
      stage.libraries,
    )
    t.is(told.code, 'PATH_REFUSED')
    t.regex(told.message, /no room/)
    t.deepEqual(told.left, [])
  })
}
