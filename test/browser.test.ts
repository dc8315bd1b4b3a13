// connect() as a browser gets it: what it loads is nothing of Node's, and the example page works in a real Chromium.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import test from 'ava'
import { eventually, ROOT } from './harness/daemon.js'
import { play, type Scene } from './harness/scene.js'

const BUILT = join(import.meta.dirname, '../src')
const PAGE = join(ROOT, 'examples/page')
const ENTRY = 'browser.js'
/** Where Linux distributions have it; the page is opened where there is one. */
const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find((path) => existsSync(path))

test('what a browser loads is files of ours alone', (t) => {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  t.is(join(ROOT, exports['.'].browser.default), join(BUILT, ENTRY))
  t.is(Object.keys(exports['.'])[0], 'browser', 'the first condition that holds is taken')
  const files = new Set([join(BUILT, ENTRY)])
  for (const file of files) {
    const text = readFileSync(file, 'utf8')
    for (const [, target = ''] of text.matchAll(/(?:\bfrom\s|\bimport\s|\bimport\()\s*['"]([^'"]+)['"]/g)) {
      t.regex(target, /^\.\.?\//, file)
      files.add(join(dirname(file), target))
    }
    t.notRegex(text, /\b(?:process\.|Buffer\b|require\()/, file)
  }
  t.is(files.size, 4)
})

if (CHROMIUM !== undefined) {
  test('the example page shows libraries in Chromium as they come', async (t) => {
    await play(async (scene) => {
      let said = ''
      const at = await servePage(scene, (text) => (said = text))
      const daemon = await scene.daemon({ args: ['--allow-host', at] })
      const token = readFileSync(join(scene.dataDir, 'token'), 'utf8').trim()
      await daemon.call('libraries.create', { name: 'größe' })
      browse(scene, `http://${at}/index.html#${daemon.ready.http},${token}`)
      await eventually('the page shows one', 120_000, () => said.includes('1 libraries'))
      t.regex(said, /größe/)
      await daemon.call('libraries.create', { name: '三' })
      await eventually('the page shows both', 60_000, () => said.includes('2 libraries') && said.includes('三'))
    })
  })
}

/** Serves the page and the package, and hears what the page shows. @returns HOST:PORT */
async function servePage(scene: Scene, hear: (text: string) => void): Promise<string> {
  const report = `<script>
    new MutationObserver(() => fetch('/said', { method: 'POST', body: document.body.innerText }))
      .observe(document, { subtree: true, childList: true })
  </script>`
  const server = createServer(async (req, res) => {
    const path = req.url ?? '/'
    if (path === '/said') {
      const parts: Buffer[] = []
      for await (const part of req) parts.push(part as Buffer)
      hear(Buffer.concat(parts).toString('utf8'))
      return res.end()
    }
    const file = path.startsWith('/spacedrive/') ? join(BUILT, path.slice('/spacedrive/'.length)) : join(PAGE, path)
    if (!existsSync(file)) return res.writeHead(404).end()
    const isPage = file.endsWith('.html')
    res.setHeader('content-type', isPage ? 'text/html' : 'text/javascript')
    res.end(readFileSync(file, 'utf8').replace('</html>', isPage ? `${report}</html>` : '</html>'))
  })
  scene.atEnd(() => (server.close(), server.closeAllConnections()))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Its own group, so that its children end with it. */
function browse(scene: Scene, url: string): void {
  const child = spawn(
    CHROMIUM!,
    [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--no-first-run',
      '--disable-breakpad',
      `--user-data-dir=${scene.path('browser')}`,
      url,
    ],
    { detached: true, stdio: 'ignore' },
  )
  const over = once(child, 'exit')
  scene.atEnd(async () => {
    process.kill(-child.pid!, 'SIGKILL')
    await over
  })
}
