// What `rpc.discover` tells is what is answered: every field has its place in the schema, and every parameter is taken.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { z } from '../../src/base/zod.js'
import { PARAMS, type OperationName } from '../../src/protocol/operations.js'
import type { OpenRpc } from '../../src/protocol/results.js'
import { play } from '../harness/scene.js'
import { isWatched } from '../harness/watched.js'

type Schema = Record<string, unknown>

test('rpc.discover answers with docs/openrpc.json, and answers are as it says', async (t) => {
  await play(async (scene) => {
    const daemon = await scene.daemon()
    const discovered = (await daemon.call('rpc.discover')) as OpenRpc
    t.deepEqual(discovered, JSON.parse(readFileSync(join(import.meta.dirname, '../../../docs/openrpc.json'), 'utf8')))
    t.deepEqual(discovered.methods.map(({ name }) => name).toSorted(), Object.keys(PARAMS).toSorted())

    const tree = join(scene.directory, 'tree')
    mkdirSync(tree)
    writeFileSync(join(tree, 'a file.txt'), 'some bytes')
    const check = async (operation: OperationName, params: object = {}) => {
      const answer = (await daemon.call(operation, params)) as Schema
      const problem = strict(discovered, operation).safeParse(answer).error?.message
      t.is(problem, undefined, operation)
      return answer
    }
    const library = (await check('libraries.create', { name: 'library' })).id
    const { location, job } = await check('locations.add', { library, path: tree, watch: true })
    await daemon.jobDone(String(library), String(job))
    // What is watched is scanned once more, and a library or location that is at work refuses some of these.
    const atRest = () => isWatched(daemon, { library: String(library), location: String(location), root: tree })
    await atRest()
    for (const operation of [
      'core.ping',
      'core.status',
      'core.descriptors',
      'core.reload',
      'libraries.list',
    ] as const) {
      await check(operation)
    }
    for (const operation of [
      'libraries.info',
      'locations.list',
      'jobs.list',
      'libraries.close',
      'libraries.open',
    ] as const) {
      await check(operation, { library })
    }
    await check('jobs.info', { library, job })
    await check('files.get', { library, path: tree })
    await check('files.list', { library, path: tree })
    await check('search.files', { library, query: 'file', limit: 1 })
    await check('locations.update', { library, location, name: 'other' })
    await atRest()
    await check('locations.rescan', { library, location })
  })
})

/** Of the result of an operation, with no other fields than those that are told. */
function strict({ methods, components }: OpenRpc, operation: string) {
  const { schema } = methods.find(({ name }) => name === operation)!.result
  const local = JSON.stringify({ ...schema, $defs: components.schemas }).replaceAll('#/components/schemas/', '#/$defs/')
  return z.fromJSONSchema(JSON.parse(local, closed) as Schema)
}

function closed(_key: string, value: unknown): unknown {
  const schema = value as Schema | null
  const open = schema?.type === 'object' && schema.additionalProperties === undefined && schema.properties !== undefined
  return open ? { ...schema, additionalProperties: false } : value
}
