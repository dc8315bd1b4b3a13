// The methods of Spacedrive's clients, over POST /rpc of a real daemon with a real library.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { slugOf, thisDevice, uuidOf } from '../../src/compat/device.js'
import { isEnvelope, Malformed, readEnvelope } from '../../src/compat/envelope.js'
import { eventually, startDaemon, type Loose, type TestDaemon } from '../harness/daemon.js'

const folder = mkdtempSync(join(tmpdir(), 'sd-compat-'))
const tree = join(folder, 'tree')
const { slug } = thisDevice(join(folder, 'daemon'))
let daemon: TestDaemon
let library = ''

test.before(async () => {
  mkdirSync(join(tree, 'photos'), { recursive: true })
  for (const [name, text] of [
    ['report.pdf', 'a report'],
    ['notes.txt', 'Hello World'],
    ['.hidden', ''],
    ['photos/one.jpg', Buffer.from([0xff, 0xd8, 0xff, 0xe0, 1])],
    ['photos/two.jpg', Buffer.concat([Buffer.from([0xff, 0xd8, 0xff, 0xe0]), Buffer.alloc(20)])],
  ] as const) {
    writeFileSync(join(tree, name), text)
  }
  daemon = await startDaemon(join(folder, 'daemon'))
  library = (await ok('action:libraries.create.input', { name: 'Theirs', path: null })).library_id
  const path = { Physical: { device_slug: slug, path: tree } }
  const { job_id: job } = await ok('action:locations.add.input', {
    path,
    name: null,
    mode: 'Content',
    job_policies: null,
  })
  await daemon.jobDone(library, job)
  await eventually('files are read', 60_000, async () => {
    const { jobs } = await ok('query:jobs.list', { status: 'completed' })
    return jobs.some(({ name }: Loose) => name === 'content_identification')
  })
})

test.after.always(async () => {
  await daemon?.stop()
  rmSync(folder, { recursive: true })
})

async function say(envelope: unknown): Promise<Loose> {
  const { status, body } = await daemon.ask('/rpc', { method: 'POST', body: JSON.stringify(envelope) })
  if (status !== 200) throw new Error(`HTTP ${status}: ${body}`)
  return JSON.parse(body)
}

async function ok(method: string, payload?: unknown): Promise<Loose> {
  const tag = method.startsWith('action:') ? 'Action' : 'Query'
  const answer = await say({ [tag]: { method, library_id: library || null, payload } })
  if (!('JsonOk' in answer)) throw new Error(`${method}: ${JSON.stringify(answer)}`)
  return answer.JsonOk
}

const physical = (...below: string[]) => ({ Physical: { device_slug: slug, path: join(tree, ...below) } })

test('an envelope is told from JSON-RPC by how it begins', (t) => {
  for (const text of ['"Ping"', ' "Shutdown"\n', '{"Ping":null}', '{ "Query" : {"method":"x","payload":null}}']) {
    t.true(isEnvelope(text), text)
  }
  for (const text of ['"Pong"', '{"jsonrpc":"2.0","method":"Query"}', '[{"Query":1}]', '{"query":{}}', '', '{"Ping"']) {
    t.false(isEnvelope(text), text)
  }
  t.deepEqual(readEnvelope('{"Subscribe":{"event_types":null}}'), { tag: 'Subscribe', types: [], filter: {} })
  for (const text of [
    '{"Query":{}}',
    '{"Ping":1,"Query":{}}',
    '7',
    '"Nope"',
    '{"Subscribe":{"event_types":[1]}}',
    '{',
  ]) {
    t.throws(() => readEnvelope(text), { instanceOf: Malformed }, text)
  }
})

test('a device has the slug, and a content the UUID, that Spacedrive gives it', (t) => {
  t.is(slugOf("Jamie's MacBook Pro!"), 'jamie-s-macbook-pro')
  t.is(uuidOf('a97b8437b726c542'), 'dcf249cf-45db-5dbd-8a2a-e46c17afde7f')
})

test('the unit requests are understood bare and as objects', async (t) => {
  t.is(await say('Ping'), 'Pong')
  t.is(await say({ Ping: null }), 'Pong')
  t.is(await say({ Ping: {} }), 'Pong')
})

test('what cannot be answered is told in their words', async (t) => {
  const query = (method: string, payload: unknown, library_id: string | null = null) =>
    say({ Query: { method, library_id, payload } })
  t.deepEqual(await query('query:nope', null), { Error: { OperationFailed: 'Unknown method: query:nope' } })
  t.regex((await query('query:locations.list', null)).Error.OperationFailed, /Library ID required for library query/)
  t.regex((await query('query:jobs.info', { job_id: 'x' }, 'none')).Error.OperationFailed, /LIBRARY_NOT_FOUND/)
  t.regex((await query('query:jobs.info', {}, library)).Error.OperationFailed, /job_id/)
  t.regex((await query('query:toString', null)).Error.OperationFailed, /Unknown method/)
  t.regex((await query('action:network.pair.generate.input', {})).Error.OperationFailed, /not enabled/)
  t.regex((await query('action:core.reset.input', { confirm: true })).Error.OperationFailed, /not reset/)
  t.regex((await say({ Query: { payload: 1 } })).Error.SerializationError, /missing field `method`/)
  for (const stays of [{ Subscribe: { event_types: [] } }, { SubscribeLogs: {} }])
    t.regex((await say(stays)).Error.OperationFailed, /line protocol/)
  const elsewhere = { path: { Physical: { device_slug: 'another', path: '/' } } }
  t.regex((await query('query:files.directory_listing', elsewhere, library)).Error.OperationFailed, /not another/)
})

test('without the token nothing is answered', async (t) => {
  const asking = { method: 'POST', body: '"Ping"', token: null }
  t.is((await daemon.ask('/rpc', asking)).status, 401)
})

test('a payload of null, of nothing and of an empty object are the same', async (t) => {
  for (const method of [
    'core.status',
    'locations.list',
    'spaces.list',
    'libraries.info',
    'jobs.active',
    'libraries.list',
  ]) {
    const [first, ...others] = await Promise.all([null, undefined, {}].map((payload) => ok(`query:${method}`, payload)))
    for (const other of others) t.deepEqual(Object.keys(other), Object.keys(first), method)
  }
})

test('what the interface asks for first is answered', async (t) => {
  t.is((await ok('query:config.app.get', null)).preferences.theme, 'system')
  const [listed] = await ok('query:libraries.list', { include_stats: true })
  t.like(listed, { id: library, name: 'Theirs' })
  t.is(listed.stats.total_files, 5)
  const { spaces } = await ok('query:spaces.list', null)
  const layout = await ok('query:spaces.get_layout', { space_id: spaces[0].id })
  t.is(layout.id, spaces[0].id)
  t.deepEqual(
    layout.groups.map(({ group }: Loose) => group.group_type),
    ['Locations', 'Tags'],
  )
  const [device] = await ok('query:devices.list', { include_offline: true, include_details: false })
  t.is(device.slug, slug)
  t.deepEqual(await ok('query:volumes.list', { filter: 'TrackedOnly' }), { volumes: [] })
  t.is((await ok('query:libraries.info', null)).statistics.location_count, 1)
  t.deepEqual(await ok('query:jobs.remote.all_devices', {}), { jobs_by_device: {} })
  t.false((await ok('query:network.status', null)).running)
  t.true((await ok('query:core.status', null)).library_count >= 1)
  t.is((await ok('query:test.ping', { message: 'x' })).echo, 'x')
})

test('a location has its place, its counts and its state', async (t) => {
  const location = await eventually('its scan has ended', 60_000, async () => {
    const { locations } = await ok('query:locations.list', null)
    return locations.length === 1 && locations[0].scan_state === 'Completed' && locations[0]
  })
  t.like(location, { sd_path: physical(), index_mode: 'Content', file_count: 5 })
})

test('a directory is listed as it is asked for', async (t) => {
  const names = async (more: object) => {
    const { files } = await ok('query:files.directory_listing', { path: physical(), ...more })
    return files.map(({ name }: Loose) => name)
  }
  t.deepEqual(await names({}), ['notes.txt', 'photos', 'report.pdf'])
  t.deepEqual(await names({ include_hidden: true }), ['.hidden', 'notes.txt', 'photos', 'report.pdf'])
  t.deepEqual(await names({ folders_first: true }), ['photos', 'notes.txt', 'report.pdf'])
  t.deepEqual(await names({ sort_by: 'type' }), ['photos', 'notes.txt', 'report.pdf'])
  t.deepEqual(await names({ sort_direction: 'Desc' }), ['report.pdf', 'photos', 'notes.txt'])
  t.deepEqual(await names({ path: physical('photos'), sort_by: 'size' }), ['two.jpg', 'one.jpg'])
  t.deepEqual(await names({ path: physical('photos'), sort_by: 'size', sort_direction: 'Asc' }), ['one.jpg', 'two.jpg'])
  const first = await ok('query:files.directory_listing', { path: physical(), limit: 2 })
  t.deepEqual([first.files.length, first.has_more, first.total_count], [2, true, 3])
})

test('a file is told by its id, its path, and what it holds', async (t) => {
  const file = await ok('query:files.by_path', { path: join(tree, 'notes.txt') })
  t.like(file, { name: 'notes.txt', extension: 'txt', kind: 'File', size: 11, content_kind: 'text', is_local: true })
  t.deepEqual(file.sd_path, physical('notes.txt'))
  t.is(file.content_identity.content_hash, 'a97b8437b726c542')
  t.is(file.content_identity.uuid, 'dcf249cf-45db-5dbd-8a2a-e46c17afde7f')
  t.deepEqual(await ok('query:files.by_id', { file_id: file.id }), file)
})

test('a search keeps to its scope, its filters and its page', async (t) => {
  const search = (more: object) =>
    ok('query:search.files', {
      query: '',
      scope: 'Library',
      mode: 'Normal',
      pagination: { limit: 50, offset: 0 },
      ...more,
    })
  const names = async (more: object) => (await search(more)).files.map(({ name }: Loose) => name)
  t.deepEqual(await names({ query: 'report.pdf' }), ['report.pdf'])
  const sorted = { sort: { field: 'Name', direction: 'Asc' } }
  t.deepEqual(await names({ filters: { file_types: ['.jpg'], tags: null }, ...sorted }), ['one.jpg', 'two.jpg'])
  t.deepEqual(await names({ filters: { file_types: ['jpg'], size_range: { min: 10, max: null } } }), ['two.jpg'])
  t.deepEqual(await names({ query: 'jpg', scope: { Path: { path: physical('photos') } }, ...sorted }), [
    'one.jpg',
    'two.jpg',
  ])
  const second = await search({ query: 'jpg', ...sorted, pagination: { limit: 1, offset: 1 } })
  t.like(second, { total_found: 2, pagination: { current_page: 2, has_next: false, has_previous: true } })
  t.deepEqual(
    second.results.map(({ file }: Loose) => file.name),
    ['two.jpg'],
  )
  t.deepEqual(await names({ filters: { content_types: ['image'] }, ...sorted }), ['one.jpg', 'two.jpg'])
  await t.throwsAsync(search({ filters: { content_types: ['dream'] } }), { message: /contentKinds/ })
  await t.throwsAsync(search({ filters: { at_risk: true } }), { message: /the filter at_risk/ })
})

test('pictures are listed of a directory, or of all that lies below it', async (t) => {
  const names = async (more: object) => {
    const { files, has_more: isMore } = await ok('query:files.media_listing', { sort_by: 'name', ...more })
    return [...files.map(({ name }: Loose) => name), ...(isMore ? ['…'] : [])]
  }
  t.deepEqual(await names({ path: physical('photos') }), ['one.jpg', 'two.jpg'])
  t.deepEqual(await names({ path: physical() }), [])
  t.deepEqual(await names({ path: physical(), include_descendants: true }), ['one.jpg', 'two.jpg'])
  t.deepEqual(await names({ path: physical('photos'), sort_by: 'size' }), ['two.jpg', 'one.jpg'])
  t.deepEqual(await names({ path: physical('photos'), limit: 1 }), ['one.jpg', '…'])
  t.deepEqual(await names({ path: physical('photos'), media_types: ['audio'] }), [])
})

test('tags are made, put on files, found and taken off', async (t) => {
  const { id } = await ok('query:files.by_path', { path: join(tree, 'report.pdf') })
  const made = await ok('action:tags.create.input', {
    canonical_name: 'Work',
    aliases: ['job'],
    color: '#ff0000',
    apply_to: { type: 'EntryUuid', ids: [id] },
  })
  const { tags } = await ok('query:tags.search', { query: '' })
  t.like(tags[0].tag, { id: made.tag_id, canonical_name: 'Work', aliases: ['job'], color: '#ff0000' })
  t.is((await ok('query:tags.by_id', { tag_id: made.tag_id })).tag.canonical_name, 'Work')
  const { files } = await ok('query:files.by_tag', { tag_id: made.tag_id, include_children: true, min_confidence: 0 })
  t.deepEqual(
    files.map(({ name }: Loose) => name),
    ['report.pdf'],
  )
  t.is((await ok('query:files.by_id', { file_id: id })).tags[0].id, made.tag_id)
  const again = { targets: { type: 'EntryUuid', ids: [id, '999999'] }, tag_ids: [made.tag_id] }
  t.like(await ok('action:tags.apply.input', again), { entries_affected: 1, warnings: ['no entry 999999'] })
  t.is((await ok('action:tags.unapply.input', { entry_ids: [id], tag_ids: [made.tag_id] })).entries_affected, 1)
  t.deepEqual(await ok('query:tags.children', { tag_id: made.tag_id }), { children: [] })
  t.deepEqual(await ok('query:tags.ancestors', { tag_id: made.tag_id }), { ancestors: [] })
  t.true((await ok('action:tags.delete.input', { tag_id: made.tag_id })).deleted)
})

test('libraries, locations and jobs are worked with by their methods', async (t) => {
  const { library_id: other } = await ok('action:libraries.create.input', { name: 'Second' })
  const inOther = async (tag: string, method: string, payload: unknown) => {
    const answer = await say({ [tag]: { method, library_id: other, payload } })
    if (!answer.JsonOk) throw new Error(JSON.stringify(answer))
    return answer.JsonOk
  }
  const renamed = await inOther('Action', 'action:libraries.rename.input', { library_id: other, new_name: 'Third' })
  t.like(renamed, { old_name: 'Second', new_name: 'Third' })
  const { location_id: location, job_id: job } = await inOther('Action', 'action:locations.add.input', {
    path: physical(),
  })
  await daemon.jobDone(other, job)
  t.like(await inOther('Query', 'query:jobs.info', { job_id: job }), {
    name: 'indexer',
    status: 'completed',
    progress: 1,
  })
  t.deepEqual(await inOther('Action', 'action:locations.update.input', { id: location, name: 'Here' }), {
    id: location,
  })
  // To follow it from now on, it is read once more, and not by two at a time.
  const again = await eventually('it is read again', 60_000, () =>
    inOther('Action', 'action:locations.rescan.input', { location_id: location, full_rescan: true }).catch(
      (error: Error) => {
        if (error.message.includes('JOB_STATE')) return null
        throw error
      },
    ),
  )
  t.is(again.location_path, tree)
  await daemon.jobDone(other, again.job_id)
  const removed = await inOther('Action', 'action:locations.remove.input', { location_id: location })
  t.deepEqual(removed, { location_id: location, path: tree })
  const { path } = (await ok('query:libraries.list')).find(({ id }: Loose) => id === other)
  t.is((await ok('action:libraries.open.input', { path })).library_id, other)
  t.like(await ok('action:libraries.delete.input', { library_id: other, delete_data: true }), { name: 'Third' })
})
