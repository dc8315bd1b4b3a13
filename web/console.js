// The console: one page, one connection, a section at a time, by the part of the address behind `#`.
import { address, el, notice } from './page.js'
import { VIEWS } from './views.js'
import { Wire } from './wire.js'

const TOKEN = 'spacedrive.token'
const LIBRARY = 'spacedrive.library'
/** Events that come together are shown together. */
const GATHER_MS = 250
const CONNECTED = 'connected'

const main = document.querySelector('#main')
const nav = document.querySelector('#nav')
const state = document.querySelector('#link')
const select = document.querySelector('#library')
const leave = document.querySelector('#leave')

let wire = null
let library = sessionStorage.getItem(LIBRARY)
/** Once the libraries are known, or why they are not. */
let listed = Promise.resolve(null)
/** What is shown now: an answer that comes later than the next one is left out. */
let shown = 0
let timer = 0

function route() {
  const [name, query] = location.hash.replace(/^#\//, '').split('?')
  const view = Object.hasOwn(VIEWS, name) ? name : 'status'
  return { view, params: new URLSearchParams(query) }
}

function begin(token) {
  wire?.close()
  wire = new Wire(token, (what, event) => {
    if (what === 'open') opened(token)
    if (what === 'lost') state.textContent = 'no connection, trying again'
    if (what === 'denied') ask('The daemon does not know this token.')
    if (what === 'busy') state.textContent = busy(event)
    if (what === 'calm') state.textContent = CONNECTED
    if (what === 'event') happened(event)
  })
}

function busy({ waitMs, again, most }) {
  return `the daemon is busy, asking again in ${Math.ceil(waitMs / 1000)} s (${again} of ${most})`
}

function ask(problem) {
  wire?.close()
  wire = null
  sessionStorage.removeItem(TOKEN)
  clearTimeout(timer)
  shown += 1
  nav.hidden = leave.hidden = true
  select.disabled = true
  state.textContent = ''
  const field = el('input', {
    type: 'password',
    autocomplete: 'off',
    required: true,
    'aria-label': 'Token',
    'data-first': true,
  })
  const enter = (event) => {
    event.preventDefault()
    begin(field.value.trim())
  }
  main.replaceChildren(
    el('h1', {}, 'Token'),
    el('p', {}, 'It lies in the file "token" of the data directory, and is kept until this tab is closed.'),
    el('form', { class: 'row', onsubmit: enter }, field, el('button', { class: 'main' }, 'Open')),
    problem ? notice(new Error(problem)) : '',
  )
  field.focus()
}

async function opened(token) {
  sessionStorage.setItem(TOKEN, token)
  state.textContent = CONNECTED
  // The form has done its work, whenever the section comes.
  if (nav.hidden) main.replaceChildren()
  nav.hidden = leave.hidden = false
  listed = libraries()
  await show()
}

/** Where they cannot be had those that were known stay. @returns why not, or null */
async function libraries() {
  const mine = wire
  let known
  try {
    known = await mine.call('libraries.list', {}, () => mine === wire)
  } catch (error) {
    return error
  }
  if (mine !== wire) return null
  if (!known.some(({ id }) => id === library)) library = known[0]?.id ?? null
  select.replaceChildren(...known.map(({ id, name }) => el('option', { value: id, selected: id === library }, name)))
  select.disabled = known.length === 0
  return null
}

function mark(current) {
  nav.replaceChildren(
    ...Object.entries(VIEWS).map(([name, { title }]) =>
      el('a', { href: address(name), 'aria-current': name === current ? 'page' : null }, title),
    ),
  )
}

/** @param quietly what is shown is only brought up to date: the focus and what is typed stay */
async function show(quietly = false) {
  if (!wire) return
  const { view, params } = route()
  const { show: ask, title, everyMs, needsLibrary, isOfDaemon } = VIEWS[view]
  const mine = ++shown
  clearTimeout(timer)
  if (!quietly) mark(view)
  document.title = `${title} – Spacedrive`
  const go = (hash) => (location.hash === hash ? show() : (location.hash = hash))
  const act = (method, given) =>
    wire.call(method, given).then(
      () => show(true),
      (error) => main.prepend(notice(error)),
    )
  const tryAgain = () => {
    listed = libraries()
    void show()
  }
  let content
  try {
    const problem = isOfDaemon ? null : await listed
    if (mine !== shown) return
    const isMissing = needsLibrary && !library
    if (isMissing && problem) throw problem
    content = isMissing
      ? [el('h1', {}, title), el('p', {}, 'There is no library yet: spacedrive library create NAME')]
      : await ask({ call: (method, given) => wire.call(method, given, () => mine === shown), library, params, go, act })
  } catch (error) {
    content = [el('h1', {}, title), notice(error), el('button', { type: 'button', onclick: tryAgain }, 'Try again')]
  }
  if (mine !== shown) return
  const before = quietly ? focusOf() : -1
  main.replaceChildren(...content.filter(Boolean))
  if (before >= 0) main.querySelectorAll(FOCUSABLE)[before]?.focus()
  else main.querySelector('[data-first]')?.focus()
  if (everyMs) timer = setTimeout(() => show(true), everyMs)
}

const FOCUSABLE = 'a[href], button, input, select'

function focusOf() {
  return [...main.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement)
}

function happened({ type, library: where }) {
  if (type === 'library.copying') return
  if (type.startsWith('library.')) listed = libraries()
  const { again = [] } = VIEWS[route().view]
  const concerns =
    again.some((prefix) => type.startsWith(prefix)) && (!where || where === library || type.startsWith('library.'))
  if (!concerns) return
  clearTimeout(timer)
  timer = setTimeout(() => show(true), GATHER_MS)
}

select.addEventListener('change', () => {
  library = select.value
  sessionStorage.setItem(LIBRARY, library)
  if (route().view === 'browse' && route().params.has('path')) location.hash = address('browse')
  else void show()
})
leave.addEventListener('click', () => ask(''))
addEventListener('hashchange', () => show())

const kept = sessionStorage.getItem(TOKEN)
if (kept) begin(kept)
else ask('')
