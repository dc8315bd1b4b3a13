// Everything that is kept of what `bench/fuzz.mjs` sent: answered as a daemon should, by the one that was started here.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { ROOT } from '../harness/daemon.js'
import { play } from '../harness/scene.js'
import { prepare, stands, TARGETS } from './targets.js'

const CORPUS = join(ROOT, 'test', 'fuzz', 'corpus')

test('what is kept in the corpus is answered or refused, and the daemon stands as before', (t) =>
  play(async (scene) => {
    const ground = await prepare(scene, process.env['SPACEDRIVE_FRONT'] ?? 'auto')
    t.deepEqual(readdirSync(CORPUS).toSorted(), Object.keys(TARGETS).toSorted(), 'each way in has a corpus')
    for (const [name, target] of Object.entries(TARGETS)) {
      const files = readdirSync(join(CORPUS, name))
      const wrong = files.map((file) => target.send(ground, readFileSync(join(CORPUS, name, file))).catch(String))
      t.deepEqual(
        await Promise.all(wrong),
        files.map(() => null),
        `${name}: ${files.join(' ')}`,
      )
    }
    await stands(ground)
  }))
