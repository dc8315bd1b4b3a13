// Prometheus' text format 0.0.4, read strictly: anything its grammar does not allow throws.

export interface Family {
  readonly type: string
  readonly help: string
  readonly samples: {
    readonly name: string
    readonly labels: Readonly<Record<string, string>>
    readonly value: number
  }[]
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/
const TYPES = ['counter', 'gauge', 'histogram', 'summary', 'untyped']

/** Families by name, in their order. */
export function parseExposition(text: string): Map<string, Family> {
  if (!text.endsWith('\n')) throw new Error('the last line does not end')
  const families = new Map<string, Family>()
  const lines = text.slice(0, -1).split('\n')
  let at = 0
  while (at < lines.length) at = readFamily(lines, at, families)
  return families
}

function readFamily(lines: readonly string[], from: number, families: Map<string, Family>): number {
  const [, name = '', help = ''] = must(/^# HELP (\S+) (.+)$/.exec(lines[from]!), lines[from]!)
  const [, typed, type = ''] = must(/^# TYPE (\S+) (\S+)$/.exec(lines[from + 1] ?? ''), lines[from + 1])
  if (!NAME.test(name) || typed !== name || !TYPES.includes(type)) throw new Error(`wrong head: ${lines[from + 1]}`)
  if (families.has(name)) throw new Error(`${name} comes twice`)
  const family: Family = { type, help, samples: [] }
  families.set(name, family)
  let at = from + 2
  while (at < lines.length && !lines[at]!.startsWith('#')) family.samples.push(readSample(lines[at++]!))
  checkFamily(name, family)
  return at
}

function readSample(line: string): Family['samples'][number] {
  const [, name = '', labels = '', value = ''] = must(SAMPLE.exec(line), line)
  return { name, labels: readLabels(labels, line), value: readValue(value, line) }
}

function readLabels(text: string, line: string): Record<string, string> {
  const labels: Record<string, string> = {}
  for (let rest = text; rest !== '';) {
    const [whole, name = '', value = ''] = must(LABEL.exec(rest), line)
    if (name in labels) throw new Error(`${name} comes twice: ${line}`)
    labels[name] = value.replace(/\\(.)/g, (_, letter: string) => (letter === 'n' ? '\n' : letter))
    rest = rest.slice(whole.length)
  }
  return labels
}

function readValue(text: string, line: string): number {
  if (text === '+Inf') return Infinity
  if (text === '-Inf') return -Infinity
  if (text === 'NaN') return NaN
  must(/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.exec(text), line)
  return Number(text)
}

function checkFamily(name: string, { type, samples }: Family): void {
  const suffixes = type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
  if (samples.length === 0) throw new Error(`${name} has no sample`)
  const seen = new Set<string>()
  for (const sample of samples) {
    if (!suffixes.some((suffix) => sample.name === name + suffix)) throw new Error(`${sample.name} below ${name}`)
    const key = sample.name + JSON.stringify(Object.entries(sample.labels).sort())
    if (seen.has(key)) throw new Error(`${key} comes twice`)
    seen.add(key)
  }
  if (type === 'counter' && !name.endsWith('_total')) throw new Error(`the counter ${name} does not end in _total`)
  if (type === 'histogram') checkHistogram(name, samples)
}

function checkHistogram(name: string, samples: Family['samples']): void {
  const buckets = samples.filter((sample) => sample.name === `${name}_bucket`)
  const bounds = buckets.map(({ labels }) => readValue(labels['le'] ?? '', name))
  const counts = buckets.map(({ value }) => value)
  const total = samples.find((sample) => sample.name === `${name}_count`)?.value
  const grows = (values: number[]) => values.every((value, at) => at === 0 || value >= values[at - 1]!)
  if (!grows(bounds) || !grows(counts) || bounds.at(-1) !== Infinity || counts.at(-1) !== total)
    throw new Error(`the histogram ${name} does not add up`)
}

function must<T>(found: T | null, line: string | undefined): T {
  if (found === null) throw new Error(`not of the format: ${line}`)
  return found
}
