// Making elements and words: whatever comes from the daemon becomes text, never markup.

export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value)
    else element.setAttribute(key, value === true ? '' : String(value))
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false))
  return element
}

/** @param columns title, and `number` or `long` for how its cells look */
export function table(columns, rows, empty) {
  if (rows.length === 0) return el('p', { class: 'faint' }, empty)
  const head = columns.map(([title, look]) => el('th', { scope: 'col', class: look }, title))
  const body = rows.map((cells) =>
    el(
      'tr',
      {},
      cells.map((cell, at) => el('td', { class: columns[at][1] }, cell ?? '')),
    ),
  )
  return el('div', { class: 'table' }, el('table', {}, el('thead', {}, el('tr', {}, head)), el('tbody', {}, body)))
}

export function facts(pairs) {
  return el(
    'dl',
    {},
    pairs.filter(Boolean).flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]),
  )
}

export function notice(error) {
  return el(
    'div',
    { class: 'notice', role: 'alert' },
    el('div', { class: 'bad' }, error.code ? `${error.code}: ${error.message}` : error.message),
    error.hint ? el('div', { class: 'faint' }, error.hint) : null,
    error.again ? el('div', { class: 'faint' }, `It was asked ${error.again + 1} times.`) : null,
  )
}

const NUMBERS = new Intl.NumberFormat('en')

export function number(value) {
  return NUMBERS.format(value)
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

export function bytes(value) {
  let at = 0
  let left = value
  while (left >= 1024 && at < UNITS.length - 1) {
    left /= 1024
    at += 1
  }
  return `${at === 0 ? left : left.toFixed(1)} ${UNITS[at]}`
}

export function time(iso) {
  return iso ? iso.slice(0, 16).replace('T', ' ') : ''
}

export function span(ms) {
  const seconds = Math.round(ms / 1000)
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`
}

export function link(route, params, ...children) {
  return el('a', { href: address(route, params) }, children)
}

export function address(route, params = {}) {
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value)).toString()
  return `#/${route}${query ? `?${query}` : ''}`
}
