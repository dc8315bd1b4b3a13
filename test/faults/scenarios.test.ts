// Every scenario that the daemon is to survive has a test here; and what is done instead of faults that nothing here can bring about.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { ROOT } from '../harness/daemon.js'

const FOLDER = join(ROOT, 'test', 'faults')
const SCENARIOS = Array.from({ length: 52 }, (_, at) => at + 1)

/** Faults that cannot be had as they are, with what stands in for each. */
const STANDS_IN: Readonly<Record<number, string>> = {
  3: 'a hard limit cannot be raised without CAP_SYS_RESOURCE: a preloaded getrlimit tells of one',
  18: 'fs.file-max would hit every process of the machine: its file is covered by one of ours, and system calls say ENFILE',
  20: 'no addon of ours leaks: a preloaded library opens descriptors behind our back',
  30: 'there are no quotas here: system calls say EDQUOT',
  33: 'no disk here fails: system calls say EIO',
  35: 'the power is not cut: files are left as a power cut would leave them',
  40: 'nothing of ours blocks a loop for seconds: code of somebody else in the process does',
  41: 'no packet can be lost here: the process of the peer is stopped, while its kernel goes on acknowledging',
  52: '72 hours are cut to minutes by bench/soak.mjs, and to less by its test',
}

interface Played {
  readonly file: string
  readonly number: number
}

const sources = new Map(
  readdirSync(FOLDER)
    .filter((name) => /\.(test|slow)\.ts$/.test(name) && name !== 'scenarios.test.ts')
    .map((name) => [name, readFileSync(join(FOLDER, name), 'utf8')]),
)
const played = [...sources].flatMap(([file, text]) => playedIn(file, text))

test('each scenario is the title of a test, and no title is of another', (t) => {
  t.deepEqual(
    SCENARIOS.filter((number) => !played.some((each) => each.number === number)),
    [],
    'without a test',
  )
  t.deepEqual(
    played.filter(({ number }) => !SCENARIOS.includes(number)),
    [],
  )
})

test('each scenario ends with a look at what is open, compared with what was open before', (t) => {
  const compared = played.filter(({ file }) => compares(file)).map(({ number }) => number)
  t.deepEqual(
    SCENARIOS.filter((number) => !compared.includes(number)),
    [],
  )
})

test('what stands in for a fault is told of scenarios that have a test', (t) => {
  for (const number of Object.keys(STANDS_IN)) t.true(played.some((each) => each.number === Number(number)))
})

test('a title is found where it is one, and not in what is said beside it', (t) => {
  const numbers = (text: string) => playedIn('some.test.ts', text).map(({ number }) => number)
  t.deepEqual(numbers("test('scenario 5: a cut; scenario 6: a raise', (t) => {"), [5, 6])
  t.deepEqual(numbers('const title = `scenario 13: ${front}: accept`'), [13])
  t.deepEqual(numbers('// scenario 7: is elsewhere\nconsole.log(`not run: scenario 8`)'), [])
})

/** A string that begins with it, or goes on with it after a semicolon. */
function playedIn(file: string, text: string): Played[] {
  const code = text.replace(/^\s*(\/\/|\/?\*).*$/gm, '')
  return [...code.matchAll(/(?:['"`]|; )scenario (\d+): /g)].map(([, number]) => ({ file, number: Number(number) }))
}

/** Itself, or in what it plays from the harness. */
function compares(file: string): boolean {
  const text = sources.get(file)!
  const harness = [...text.matchAll(/from '\.\.\/(harness\/[\w-]+)\.js'/g)].map(([, name]) => name!)
  const played = harness.filter((name) => !/\/(daemon|promise|rest)$/.test(name))
  const texts = [text, ...played.map((name) => readFileSync(join(ROOT, 'test', `${name}.ts`), 'utf8'))]
  return texts.some((each) => /\b(descriptorsAtRest|atRest|backAtRest|keepsPromise)\(/.test(each))
}
