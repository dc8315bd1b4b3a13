// The console's files: served to anybody, kept by a browser as long as they are the same, and with nothing in them from elsewhere.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { WebSocket } from 'ws'
import { SpacedriveError, toWire } from '../../src/base/errors.js'
import { readConsole } from '../../src/console.js'
import type { Dispatch } from '../../src/protocol/messages.js'
import { ROOT } from '../harness/daemon.js'
import { kinds, TOKEN, until, withStage } from './stage.js'

const available = await kinds()

/** The console's own connection, on the little of a browser that it needs. */
interface Wire {
  readonly isOpen: boolean
  call(method: string, params?: object, isWanted?: () => boolean): Promise<unknown>
  close(): void
}
type Told = (what: string, more?: { waitMs: number; again: number; most: number }) => void
const { Wire } = (await import(pathToFileURL(join(ROOT, 'web/wire.js')).href)) as {
  Wire: new (token: string, told: Told) => Wire
}
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

async function withWire(port: number, told: Told, play: (wire: Wire) => Promise<void>): Promise<void> {
  Object.assign(globalThis, { WebSocket, location: new URL(`http://127.0.0.1:${port}/`) })
  const wire = new Wire(TOKEN, told)
  try {
    await until(() => wire.isOpen, 'it is connected')
    await play(wire)
  } finally {
    wire.close()
  }
}

/** Refuses as often as is said, and counts how often it was asked. */
function busyFor(refusals: number): { asked: number; dispatch: Dispatch } {
  const busy = {
    asked: 0,
    dispatch: ((request, answer) => {
      busy.asked += 1
      const late = request.operation === 'jobs.list' ? 'TIMEOUT' : 'OVERLOADED'
      if (busy.asked > refusals) answer({ ok: true, json: '[]' })
      else answer({ ok: false, error: toWire(new SpacedriveError(late, 'too much', { retryAfterMs: 10 })) })
    }) satisfies Dispatch,
  }
  return busy
}

for (const kind of available) {
  test.serial(`${kind}: the console asks again what was refused for the moment, and tells that it does`, (t) => {
    const busy = busyFor(2)
    const told: unknown[] = []
    return withStage(kind, busy, ({ port }) =>
      withWire(
        port,
        (what, more) => what !== 'open' && told.push(more ? [what, more.again] : what),
        async (wire) => {
          t.deepEqual(await wire.call('libraries.list'), [])
          t.is(busy.asked, 3)
          t.deepEqual(told, [['busy', 1], 'calm', ['busy', 2], 'calm'])
        },
      ),
    )
  })

  test.serial(
    `${kind}: the console asks a few times, and neither what nobody wants any more nor what may have begun`,
    (t) => {
      const busy = busyFor(Infinity)
      let most = 0
      return withStage(kind, busy, ({ port }) =>
        withWire(
          port,
          (_, more) => (most = more?.most ?? most),
          async (wire) => {
            await t.throwsAsync(wire.call('libraries.list'), { code: 'OVERLOADED' })
            t.is(busy.asked, most + 1)
            t.true(most > 0 && most < 10)
            busy.asked = 0
            await t.throwsAsync(
              wire.call('libraries.list', {}, () => busy.asked < 2),
              { code: 'OVERLOADED' },
            )
            t.is(busy.asked, 2)
            busy.asked = 0
            await t.throwsAsync(wire.call('jobs.list', { library: 'a' }), { code: 'TIMEOUT' })
            t.is(busy.asked, 1)
          },
        ),
      )
    },
  )

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
