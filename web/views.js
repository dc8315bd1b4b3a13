// One function for each section: asks the daemon, and returns what is shown. `again` are the events after which it is shown
// anew, by how their names begin; `isOfDaemon` does not ask which library is shown.
import { address, bytes, el, facts, link, notice, number, span, table, time } from './page.js'

const PAGE = 100

async function status({ call }) {
  const [now, { holders, unaccounted }] = await Promise.all([call('core.status'), call('core.descriptors')])
  const { descriptors: held, connections, limit, libraries, jobs, shards } = now
  const ofShards = (key) => number(shards.reduce((sum, shard) => sum + shard[key], 0))
  const pressure = el('span', { class: held.level }, `${held.level} (${Math.round(100 * held.pressure)} %)`)
  const classes = Object.entries(held.classes).map(([name, use]) => [
    name,
    number(use.used),
    number(use.floor),
    number(use.ceiling),
    number(use.peak),
    number(use.refused),
  ])
  return [
    el('h1', {}, 'Status'),
    facts([
      ['Pressure', [pressure, ` ${held.reason}`]],
      ...Object.entries(now.pressure)
        .filter(([, { level, refused }]) => level !== 'normal' || refused > 0)
        .map(([cause, { level, reason, refused }]) => [
          `of ${cause}`,
          [el('span', { class: level }, level), ` ${reason}, ${number(refused)} refused`],
        ]),
      ['Descriptors', `${number(held.open)} open of ${number(limit.soft)}, ${number(held.unaccounted)} unaccounted`],
      [
        'Connections',
        `${number(connections.current)} of ${number(connections.max)}, ${number(connections.refused)} refused`,
      ],
      ['Libraries', `${number(libraries.known)} known, ${number(libraries.open)} open`],
      ['Requests', `${ofShards('inFlight')} in flight, ${ofShards('overloaded')} refused as too many`],
      ['Jobs', `${number(jobs.running)} running, ${number(jobs.queued)} queued`],
      ['Watching', `${number(now.watching.locations)} locations, ${number(now.watching.live)} directories live`],
      ['Daemon', `${now.version}, pid ${now.pid}, ${now.state}, up ${span(now.uptimeMs)}, front ${now.front}`],
    ]),
    el('h2', {}, 'Budget'),
    table(
      [
        ['Class'],
        ['Used', 'number'],
        ['Guaranteed', 'number'],
        ['At most', 'number'],
        ['Peak', 'number'],
        ['Refused', 'number'],
      ],
      classes,
      '',
    ),
    el('h2', {}, 'Who holds what'),
    table(
      [['Class'], ['Holder'], ['Descriptors', 'number'], ['Oldest', 'number'], ['Such as', 'long']],
      heldBy(holders),
      'Nobody.',
    ),
    unaccounted.length > 0 ? el('h2', {}, 'Unaccounted') : null,
    unaccounted.length > 0
      ? table(
          [
            ['Number', 'number'],
            ['Target', 'long'],
            ['Age', 'number'],
          ],
          unaccounted.map((one) => [String(one.fd), one.target, span(one.ageMs)]),
          '',
        )
      : null,
  ]
}

function heldBy(holders) {
  const groups = new Map()
  for (const { class: name, holder, detail, ageMs } of holders) {
    const key = `${name} ${holder}`
    const group = groups.get(key) ?? { name, holder, count: 0, ageMs: 0, detail }
    group.count += 1
    group.ageMs = Math.max(group.ageMs, ageMs)
    groups.set(key, group)
  }
  const rows = [...groups.values()].sort((one, other) => one.name.localeCompare(other.name) || other.count - one.count)
  return rows.map(({ name, holder, count, ageMs, detail }) => [name, holder, number(count), span(ageMs), detail])
}

async function libraries({ call, library }) {
  const known = await call('libraries.list')
  const rows = known.map((one) => [
    one.name,
    one.open ? 'open' : (one.problem?.code ?? 'closed'),
    el('span', { class: 'path' }, one.path),
  ])
  const shown = [
    el('h1', {}, 'Libraries'),
    table([['Name'], ['State'], ['Folder', 'long']], rows, 'There is no library yet: spacedrive library create NAME'),
  ]
  if (!library) return shown
  const one = await call('libraries.info', { library })
  const locations = one.locations.map((each) => [
    link('browse', { path: each.path }, each.name),
    each.path,
    each.mode,
    each.watch ? (each.watched?.state ?? 'watched') : 'not watched',
    time(each.scannedAt) || 'never',
    each.unverified ? `${number(each.unverified.count)} directories could not be read` : '',
  ])
  return [
    ...shown,
    el('h2', {}, one.name),
    facts([
      ['Entries', `${number(one.entries)}: ${number(one.files)} files, ${number(one.directories)} directories`],
      ['Bytes', bytes(one.bytes)],
      ['Database', bytes(one.databaseBytes)],
    ]),
    el('h2', {}, 'Locations'),
    table(
      [['Name'], ['Path', 'long'], ['Mode'], ['Watched'], ['Scanned', 'time'], ['']],
      locations,
      'It has no location yet: spacedrive location add PATH',
    ),
  ]
}

function crumbs(path) {
  const parts = path.split('/').filter(Boolean)
  const links = parts.map((part, at) => [
    el('span', { class: 'faint' }, '/'),
    link('browse', { path: `/${parts.slice(0, at + 1).join('/')}` }, part),
  ])
  return el('nav', { class: 'path', 'aria-label': 'Path' }, links.flat())
}

async function browse({ call, library, params }) {
  const path = params.get('path')
  const sort = params.get('sort') ?? 'name'
  const title = el('h1', {}, 'Files')
  if (!path) {
    const roots = await call('locations.list', { library })
    return [
      title,
      table(
        [['Location'], ['Path', 'long']],
        roots.map((one) => [link('browse', { path: one.path }, one.name), one.path]),
        'There is no location yet.',
      ),
    ]
  }
  const list = (cursor) => call('files.list', { library, path, sort, limit: PAGE, ...(cursor ? { cursor } : {}) })
  const sorts = ['name', 'size', 'modified'].map((name) =>
    name === sort ? el('strong', {}, `${name} `) : [link('browse', { path, sort: name }, name), ' '],
  )
  return [
    title,
    crumbs(path),
    el('p', { class: 'faint' }, 'by ', sorts.flat()),
    paged(await list(), list, (items) => files(items, library, call), 'Nothing is in it.'),
  ]
}

function files(items, library, call, withPath = false) {
  const rows = items.map((one) => [
    one.kind === 'directory'
      ? link('browse', { path: one.path }, `${one.name}/`)
      : el(
          'button',
          { type: 'button', class: 'plain', onclick: ({ target }) => details(target, one, library, call) },
          one.name,
        ),
    withPath ? one.path : (one.contentKind ?? one.kind),
    bytes(one.kind === 'directory' ? (one.total?.bytes ?? 0) : one.size),
    time(one.modifiedAt),
  ])
  return table(
    [
      ['Name', 'long'],
      [withPath ? 'Path' : 'Kind', 'long'],
      ['Size', 'number'],
      ['Modified', 'time'],
    ],
    rows,
    'Nothing was found.',
  )
}

/** What is known of a file, below it; the same button takes it away. */
async function details(button, { id, path }, library, call) {
  const row = button.closest('tr')
  const open = row.nextElementSibling?.classList.contains('details')
  if (open) return row.nextElementSibling.remove()
  const cell = el('td', { colspan: '4' })
  row.after(el('tr', { class: 'details' }, cell))
  try {
    const one = await call('files.get', { library, id })
    cell.append(
      facts([
        ['Path', one.path],
        ['Kind', `${one.kind}${one.mime ? `, ${one.mime}` : ''}`],
        one.contentId ? ['Content id', one.contentId] : null,
        one.tags ? ['Tags', one.tags.map((tag) => el('span', { class: 'chip' }, tag))] : null,
      ]),
    )
  } catch (error) {
    cell.append(notice(error), path)
  }
}

/** A page, and a button for the next below it. */
function paged(first, next, show, empty) {
  const box = el('div')
  const put = ({ items, cursor }) => {
    box.append(items.length > 0 ? show(items) : el('p', { class: 'faint' }, empty))
    if (!cursor) return
    const more = el('button', { type: 'button', onclick: () => load() }, 'More')
    const load = async () => {
      more.disabled = true
      try {
        const page = await next(cursor)
        more.remove()
        put(page)
      } catch (error) {
        more.disabled = false
        more.before(notice(error))
      }
    }
    box.append(more)
  }
  put(first)
  return box
}

async function search({ call, library, params, go }) {
  const query = params.get('q') ?? ''
  const field = el('input', {
    type: 'search',
    name: 'q',
    value: query,
    'aria-label': 'Query',
    placeholder: 'invoice ext:pdf size:>1M modified:<30d',
    'data-first': true,
  })
  const submit = (event) => {
    event.preventDefault()
    go(address('search', { q: field.value }))
  }
  const form = el(
    'form',
    { class: 'row', role: 'search', onsubmit: submit },
    field,
    el('button', { class: 'main' }, 'Search'),
  )
  const shown = [el('h1', {}, 'Search'), form]
  if (query === '') return shown
  const find = (cursor) =>
    call('search.files', { library, query, syntax: 'filters', limit: PAGE, ...(cursor ? { cursor } : {}) })
  try {
    const first = await find()
    return [
      ...shown,
      el('p', { role: 'status' }, `${number(first.total)} found`),
      paged(first, find, (items) => files(items, library, call, true), 'Nothing was found.'),
    ]
  } catch (error) {
    const caret =
      error.position === undefined
        ? null
        : el('pre', { class: 'caret bad' }, `${query}\n${' '.repeat(error.position)}^`)
    return [...shown, caret, notice(error)]
  }
}

const ENDED = new Set(['done', 'failed', 'cancelled'])

async function jobs({ call, library, act }) {
  const { items } = await call('jobs.list', { library, limit: PAGE })
  const rows = items.map((job) => {
    const { done, total, fraction, unit } = job.progress
    const part = job.state === 'done' ? 1 : (fraction ?? (total ? done / total : undefined))
    const steer = (verb) =>
      el('button', { type: 'button', onclick: () => act(`jobs.${verb}`, { library, job: job.id }) }, verb)
    const verbs = ENDED.has(job.state) ? [] : job.state === 'paused' ? ['resume', 'cancel'] : ['pause', 'cancel']
    return [
      job.kind,
      job.state,
      el('progress', { max: 1, value: part, 'aria-label': `progress of ${job.kind}` }),
      `${number(done)} ${unit}`,
      time(job.createdAt),
      job.error?.message ??
        job.waiting?.message ??
        job.unwritten?.message ??
        (job.failureCount > 0 ? `${number(job.failureCount)} failures` : ''),
      verbs.map(steer),
    ]
  })
  return [
    el('h1', {}, 'Jobs'),
    table(
      [['Kind'], ['State'], ['Progress'], ['Done', 'number'], ['Begun', 'time'], ['', 'long'], ['']],
      rows,
      'There was no job yet.',
    ),
  ]
}

async function duplicates({ call, library }) {
  const list = (cursor) => call('duplicates.list', { library, limit: 25, ...(cursor ? { cursor } : {}) })
  const first = await list()
  const show = (groups) =>
    el(
      'div',
      {},
      groups.map((group) => [
        el('h2', {}, `${bytes(group.waste)} wasted: ${number(group.files)} files of ${bytes(group.size)}`),
        el(
          'ul',
          {},
          group.items.map((one) => el('li', { class: 'path' }, one.path)),
        ),
      ]),
    )
  const sum = first.total === undefined ? '' : `${number(first.total)} groups waste ${bytes(first.waste ?? 0)}.`
  const note = ' Known are files of locations with the mode content or deep; of large ones samples are compared.'
  return [
    el('h1', {}, 'Duplicates'),
    el('p', { class: 'faint' }, sum + note),
    paged(first, list, show, 'No two files are known to hold the same.'),
  ]
}

async function tags({ call, library }) {
  const list = (cursor) => call('tags.list', { library, limit: PAGE, ...(cursor ? { cursor } : {}) })
  const show = (items) =>
    table(
      [['Tag'], ['Aliases', 'long'], ['Entries', 'number'], ['Contents', 'number'], ['', 'long']],
      items.map((tag) => [
        link('search', { q: `tag:"${tag.name}"` }, tag.path.join(' › ')),
        tag.aliases.join(', '),
        number(tag.entries),
        number(tag.contents),
        tag.description ?? '',
      ]),
      '',
    )
  return [el('h1', {}, 'Tags'), paged(await list(), list, show, 'There is no tag yet: spacedrive tag create NAME')]
}

export const VIEWS = {
  status: { title: 'Status', show: status, everyMs: 2_000, isOfDaemon: true },
  libraries: { title: 'Libraries', show: libraries, again: ['library.', 'location.'] },
  browse: { title: 'Files', show: browse, needsLibrary: true },
  search: { title: 'Search', show: search, needsLibrary: true },
  jobs: { title: 'Jobs', show: jobs, needsLibrary: true, again: ['job.'] },
  duplicates: { title: 'Duplicates', show: duplicates, needsLibrary: true },
  tags: { title: 'Tags', show: tags, needsLibrary: true, again: ['tags.'] },
}
