// Makes a tree to measure with, like what people keep: code with its dependencies, photos, music, documents, a mailbox in one
// directory, and every oddity a file system allows. The same tree at every run; made once, then used again.
//
// node bench/tree.mjs [ENTRIES] [DIRECTORY]    1,000,000 entries below the system's temporary directory unless told otherwise
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'

/** Part of the tree's name: to be raised whenever another tree comes out. */
const VERSION = 2
/** What each kind takes of the whole; documents get the rest. */
const SHARES = { mail: 0.1, code: 0.47, photos: 0.2, music: 0.09 }
const PATH_BYTES_MAX = 4_000

/** The path of a tree of so many entries, the root included; it is made if it is not there. */
export function tree(entries = 1_000_000, parent = tmpdir()) {
  const path = join(parent, `spacedrive-tree-${VERSION}-${entries}`)
  if (fs.existsSync(path)) return path
  const aside = `${path}.${process.pid}`
  fs.mkdirSync(aside, { recursive: true })
  new Maker(aside, entries).make()
  try {
    fs.renameSync(aside, path)
  } catch (error) {
    // Another one was as fast, and made the same.
    if (!fs.existsSync(path)) throw error
    fs.rmSync(aside, { recursive: true })
  }
  return path
}

class Maker {
  #root
  #entries
  /** The root is an entry, too. */
  #made = 1
  #random = seeded(20261124)
  #clock = Date.UTC(2011, 0, 1) / 1000

  constructor(root, entries) {
    this.#root = root
    this.#entries = entries
  }

  make() {
    this.#oddities(this.#directory(this.#root, 'odd'))
    this.#mail(this.#below('mail'))
    this.#code(this.#below('code'))
    this.#photos(this.#below('Photos'))
    this.#music(this.#below('Music'))
    this.#documents(this.#directory(this.#root, 'Documents'), this.#entries)
    if (this.#made !== this.#entries) throw new Error(`made ${this.#made} entries instead of ${this.#entries}`)
  }

  /** A directory of the root, and the number of entries at which its kind ends. */
  #below(name) {
    const end = this.#made + Math.floor(this.#entries * SHARES[name.toLowerCase()])
    return { in: this.#directory(this.#root, name), end: Math.min(end, this.#entries - 1) }
  }

  #has(room, end) {
    return this.#made + room <= end
  }

  #mail({ in: mail, end }) {
    const inbox = this.#directory(mail, 'cur')
    for (let number = 1; this.#has(1, end); number++) {
      const at = 1_300_000_000 + number * 3_607
      this.#file(
        inbox,
        `${at}.M${this.#int(1e6)}P${this.#int(32768)}.${this.#pick(HOSTS)},S=${this.#int(90_000)}:2,S`,
        18,
      )
    }
  }

  #code({ in: code, end }) {
    for (let number = 0; this.#has(60, end); number++) {
      const project = this.#directory(code, `${this.#pick(WORDS)}-${this.#pick(WORDS)}${number}`)
      for (const name of ['package.json', 'README.md', 'tsconfig.json', '.gitignore', 'LICENSE'])
        this.#file(project, name, 11)
      this.#sources(this.#directory(project, 'src'), 3, Math.min(end, this.#made + 60))
      const modules = this.#directory(project, 'node_modules')
      const most = Math.min(end - 1, this.#made + 400 + this.#int(3_000))
      while (this.#has(25, most)) this.#package(modules, 3, most)
    }
    while (this.#has(1, end)) this.#file(code, `notes-${this.#made}.txt`, 9)
  }

  #package(modules, depth, end) {
    const name = `${this.#pick(WORDS)}-${this.#pick(WORDS)}`
    if (fs.existsSync(join(modules, name))) return this.#link(modules, `${name}-${this.#made}`, name)
    const home = this.#directory(modules, name)
    for (const each of ['package.json', 'index.js', 'index.d.ts', 'README.md', 'LICENSE']) this.#file(home, each, 10)
    this.#sources(
      this.#directory(home, this.#pick(['lib', 'dist', 'src', 'build'])),
      2,
      Math.min(end, this.#made + 12 + this.#int(30)),
    )
    if (depth === 0 || this.#int(4) > 0 || !this.#has(30, end)) return
    const nested = this.#directory(home, 'node_modules')
    for (let count = 1 + this.#int(3); count > 0 && this.#has(25, end); count--) this.#package(nested, depth - 1, end)
  }

  #sources(directory, depth, end) {
    const taken = new Set()
    for (let count = 3 + this.#int(9); count > 0 && this.#has(2, end); count--) {
      const stem = this.#int(3) === 0 ? `${this.#pick(WORDS)}-${this.#pick(WORDS)}` : this.#pick(WORDS)
      if (taken.has(stem)) continue
      taken.add(stem)
      if (depth > 0 && this.#int(4) === 0) this.#sources(this.#directory(directory, stem), depth - 1, end)
      else this.#file(directory, `${stem}.${this.#pick(['js', 'ts', 'js.map', 'd.ts', 'c', 'h', 'py', 'test.js'])}`, 12)
    }
  }

  #photos({ in: photos, end }) {
    for (let year = 2001; this.#has(4, end); year = year === 2026 ? 2001 : year + 1) {
      const event = `${year}-${two(1 + this.#int(12))}-${two(1 + this.#int(28))} ${this.#title(2)} ${this.#made}`
      const album = this.#directory(this.#directoryOnce(photos, String(year)), event)
      const camera = this.#pick(CAMERAS)
      for (let first = this.#int(9_000), count = 20 + this.#int(120); count > 0 && this.#has(2, end); count--) {
        const shot = camera(first++, year, this.#random)
        this.#file(album, `${shot}.${this.#pick(['JPG', 'jpg', 'CR2', 'HEIC', 'MP4'])}`, 22)
        if (this.#int(4) === 0) this.#file(album, `${shot}.xmp`, 12)
      }
    }
    while (this.#has(1, end)) this.#file(photos, `scan ${this.#made}.tif`, 23)
  }

  #music({ in: music, end }) {
    while (this.#has(4, end)) {
      const artist = this.#directory(music, `${this.#title(2)} ${this.#made}`)
      const album = this.#directory(artist, `${this.#title(3)} (${1960 + this.#int(66)})`)
      for (let track = 1, count = 6 + this.#int(12); track <= count && this.#has(1, end); track++)
        this.#file(album, `${two(track)} - ${this.#title(1 + this.#int(2))}.${this.#pick(['mp3', 'flac', 'm4a'])}`, 23)
    }
    while (this.#has(1, end)) this.#file(music, `playlist ${this.#made}.m3u`, 10)
  }

  #documents(documents, end) {
    while (this.#has(3, end)) {
      const folder = this.#directory(
        this.#directoryOnce(documents, this.#pick(OFFICES)),
        `${this.#title(2)} ${this.#made}`,
      )
      for (let number = 1, count = 5 + this.#int(60); number <= count && this.#has(1, end); number++) {
        const about = this.#int(3) === 0 ? `${2005 + this.#int(21)}-${two(1 + this.#int(12))}` : this.#title(1)
        this.#file(folder, `${this.#pick(PAPERS)} ${about} ${number}.${this.#pick(PAPER_ENDINGS)}`, 17)
      }
    }
    while (this.#has(1, end)) this.#file(documents, `letter ${this.#made}.odt`, 14)
  }

  #oddities(odd) {
    for (const name of ODD_NAMES) this.#file(odd, name, 8)
    for (const bytes of ODD_BYTES) this.#file(odd, bytes, 8)
    this.#file(this.#directory(odd, Buffer.from('dir\xff\xfe', 'latin1')), 'inside.txt', 8)
    this.#file(odd, 'x'.repeat(255), 8)
    this.#link(odd, 'to a file', 'plain')
    this.#link(odd, 'to nothing', 'nothing')
    this.#link(odd, 'to itself', 'to itself')
    this.#link(odd, 'to above', '..')
    this.#link(odd, 'out of the tree', '/usr')
    const linked = this.#file(odd, 'linked', 16)
    for (let number = 1; number <= 5; number++) this.#hardLink(odd, `linked ${number}`, linked)
    fs.truncateSync(this.#file(odd, 'sparse', 4), 10 * 2 ** 30)
    fs.utimesSync(this.#file(odd, 'before 1970', 4), -1e6, -1e6)
    fs.utimesSync(this.#file(odd, 'of the future', 4), 4_102_444_800, 4_102_444_800)
    if (spawnSync('mkfifo', [join(odd, 'pipe')]).status === 0) this.#made += 1
    this.#directory(odd, 'empty')
    this.#deep(this.#directory(odd, 'deep'))
  }

  /** As long as a path may be, with something at its end. */
  #deep(directory) {
    let path = directory
    for (let level = 1; Buffer.byteLength(path) + 210 < PATH_BYTES_MAX; level++)
      path = this.#directory(path, `${level} ${'long '.repeat(40)}`.slice(0, 200))
    this.#file(path, 'bottom', 8)
  }

  #directory(parent, name) {
    const path = pathOf(parent, name)
    fs.mkdirSync(path)
    this.#made += 1
    return path
  }

  #directoryOnce(parent, name) {
    const path = join(parent, name)
    return fs.existsSync(path) ? path : this.#directory(parent, name)
  }

  /** @param scale two to the power of it is the most bytes it has; nothing is written but the length */
  #file(parent, name, scale) {
    const path = pathOf(parent, name)
    const file = fs.openSync(path, 'wx')
    fs.ftruncateSync(file, Math.floor(2 ** (this.#random() * scale)))
    this.#clock += this.#int(900)
    fs.futimesSync(file, this.#clock, this.#clock)
    fs.closeSync(file)
    this.#made += 1
    return path
  }

  #link(parent, name, target) {
    fs.symlinkSync(target, pathOf(parent, name))
    this.#made += 1
  }

  #hardLink(parent, name, of) {
    fs.linkSync(of, pathOf(parent, name))
    this.#made += 1
  }

  #title(words) {
    return Array.from({ length: words }, () => this.#pick(TITLES)).join(' ')
  }

  #pick(from) {
    // The first of a list are the usual ones, as in any language.
    return from[Math.floor(this.#random() ** 1.6 * from.length)]
  }

  #int(below) {
    return Math.floor(this.#random() * below)
  }
}

function pathOf(parent, name) {
  if (typeof parent === 'string' && typeof name === 'string') return `${parent}/${name}`
  return Buffer.concat([Buffer.from(parent), Buffer.from('/'), Buffer.from(name)])
}

function two(number) {
  return String(number).padStart(2, '0')
}

/** Mulberry32: small, quick, and the same everywhere. */
function seeded(seed) {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const HOSTS = ['mail', 'mx1', 'post']
const CAMERAS = [
  (number) => `IMG_${String(number % 10_000).padStart(4, '0')}`,
  (number) => `DSC${String(number % 100_000).padStart(5, '0')}`,
  (number) => `P10${String(number % 10_000).padStart(5, '0')}`,
  (number, year, random) =>
    `${year}${two(1 + Math.floor(random() * 12))}${two(1 + Math.floor(random() * 28))}_${String(number * 7 + 100_000)}`,
]
const OFFICES = ['Invoices', 'Contracts', 'Tax', 'School', 'Insurance', 'Travel', 'Recipes', 'Übersetzungen', '家族']
const PAPERS = [
  'Invoice',
  'Rechnung',
  'Letter',
  'Contract',
  'Report',
  'Minutes',
  'Offer',
  'Draft',
  'Scan',
  'Zeugnis',
  'Plan',
]
const PAPER_ENDINGS = ['pdf', 'docx', 'odt', 'xlsx', 'txt', 'md', 'pptx', 'tex', 'zip']
const WORDS = (
  'index util core parse stream buffer node test config event http json path file async queue cache client server router schema ' +
  'types error log format color glob match merge object array string date time crypto hash key token auth session cookie proxy ' +
  'socket worker thread pool loader plugin rule visitor scope tree walk graph edge vertex matrix vector render paint style ' +
  'theme layout grid flex table form input button modal menu icon image audio video codec frame sample filter query search ' +
  'sort page cursor batch chunk block segment entry record field column row view model store state action reducer effect hook ' +
  'context signal observer watcher timer clock retry backoff limit quota budget lease lock mutex channel pipe relay bridge ' +
  'adapter driver engine kernel shell prompt command option argument flag setup build bundle minify compile transform emit ' +
  'source target origin branch commit diff patch apply revert rebase stage deploy release version semver range locale unicode ' +
  'ascii base64 hex binary octet varint protobuf thrift avro parquet arrow delta snapshot journal ledger replica shard quorum'
).split(' ')
const TITLES = (
  'Summer Winter Garden Berlin Lisbon Wedding Birthday Island Mountain River Harbour Kitchen Family Grandma Class Party Marathon ' +
  'Concert Museum Market Snow Sunrise Night Rain Forest Bridge Castle Station Journey Letter Blue Golden Silent Broken Electric ' +
  'Paper Glass Velvet Northern Distant Hidden Café Müller Ærø Zürich Señor Łódź Noël Ångström Smørrebrød Ωmega Москва 東京 ' +
  'Acme Globex Initech Umbrella Stark Wayne Wonka Tyrell Cyberdyne Hooli Vandelay Dunder Sterling Prestige Bluth Soylent'
).split(' ')
const ODD_NAMES = [
  'plain',
  ' leading space',
  'trailing space ',
  'two\nlines',
  'tab\there',
  '-rf',
  '...',
  '.hidden',
  'back\\slash',
  '"quoted" \'twice\'',
  '$HOME `id`',
  '%2e%2e%2f',
  'é as one',
  'e\u0301 as two',
  'UPPER',
  'upper',
  '😀 emoji',
  'ﬁ ligature',
  '\u202eright to left',
  '日本語.txt',
  'a.tar.gz',
  'no extension.',
  '*?[a-z]',
]
const ODD_BYTES = ['\xff\xfe', 'caf\xe9.txt', '\x80', 'half \xc3', '\xed\xa0\x80 surrogate'].map((each) =>
  Buffer.from(each, 'latin1'),
)

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const begun = performance.now()
  const path = tree(Number(process.argv[2] ?? 1_000_000), process.argv[3] ?? tmpdir())
  console.log(`${basename(path)} is there after ${((performance.now() - begun) / 1000).toFixed(1)} s`)
  console.log(path)
}
