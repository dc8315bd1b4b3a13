// The console's files: served to anybody, kept by a browser as long as they are the same, and with nothing in them from elsewhere.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { readConsole } from '../../src/console.js'
import { ROOT } from '../harness/daemon.js'
import { kinds, withStage } from './stage.js'

const available = await kinds()
const files = readConsole()
const pathOf = (name: string) => (name === 'index.html' ? '/' : `/console/${name}`)
const names = readdirSync(join(ROOT, 'web'))

test('every file of the console is served, and what one asks for is there', (t) => {
  t.deepEqual([...files.keys()].sort(), names.map(pathOf).sort())
  for (const name of names) {
    const text = readFileSync(join(ROOT, 'web', name), 'utf8')
    for (const [, target = ''] of text.matchAll(/(?:from '\.|src="|href=")(\/[^"']+)["']/g)) {
      t.true(files.has(target.startsWith('/console/') ? target : `/console${target}`), `${name}: ${target}`)
    }
  }
})

test('nothing stands in the page that its policy forbids, and nothing becomes markup', (t) => {
  const page = files.get('/')!.body
  t.notRegex(page, /<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=/)
  for (const name of names.filter((each) => each.endsWith('.js'))) {
    const text = readFileSync(join(ROOT, 'web', name), 'utf8')
    t.notRegex(
      text,
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?:\/\/(?!www\.w3)/,
      name,
    )
  }
})

for (const kind of available) {
  test(`${kind}: the console needs no token, and may do nothing but ask its own daemon`, (t) =>
    withStage(kind, { console: files }, async ({ ask }) => {
      for (const [path, { type, body }] of files) {
        const answer = await ask({ path, token: null })
        t.is(answer.status, 200)
        t.is(answer.body, body)
        t.is(answer.headers['content-type'], type)
        t.is(answer.headers['x-content-type-options'], 'nosniff')
        t.regex(answer.headers['content-security-policy'] as string, /default-src 'none'; script-src 'self';/)
        t.regex(answer.headers['content-security-policy'] as string, /frame-ancestors 'none'/)
      }
      t.is((await ask({ path: '/console/none.js' })).status, 404)
      t.is((await ask({ path: '/console/none.js', token: null })).status, 401)
      t.is((await ask({ path: '/', method: 'POST', token: null })).status, 405)
      t.is((await ask({ path: '/', headers: { host: 'evil.example' }, token: null })).status, 403)
      t.is((await ask({ path: '/', headers: { origin: 'http://evil.example' }, token: null })).status, 403)
    }))

  test(`${kind}: a browser that has it is told that it is still the same`, (t) =>
    withStage(kind, { console: files }, async ({ ask }) => {
      const first = await ask({ token: null })
      t.is(first.headers['cache-control'], 'no-cache')
      for (const tag of [first.headers.etag!, `W/${first.headers.etag}`, `"other", ${first.headers.etag}`]) {
        const again = await ask({ headers: { 'if-none-match': tag }, token: null })
        t.is(again.status, 304)
        t.is(again.body, '')
        t.is(again.headers.etag, first.headers.etag)
      }
      t.is((await ask({ headers: { 'if-none-match': '"other"' }, token: null })).status, 200)
    }))
}
