// `spacedrive show`: what the index knows of one file or directory.
import type { Command } from 'commander'
import type { FileItem, Media } from '../protocol/messages.js'
import type { Desk } from './desk.js'
import { findCovered } from './ls.js'
import { bytes, duration, grouped, minute, plural, safe } from './text.js'

export function addShow(program: Command, desk: Desk): void {
  program
    .command('show')
    .description('say what the index knows of a file or directory')
    .argument('<PATH>')
    .option('--library <LIBRARY>', 'name or id of the library; without it the one that covers PATH')
    .action((path: string, options: { library?: string }) => show(desk, path, options.library))
}

async function show(desk: Desk, given: string, library: string | undefined): Promise<void> {
  const found = await findCovered(desk.client, given, library)
  const file = await desk.client.call<FileItem>('files.get', found)
  await desk.answer(file, () => [safe(file.path), ...lines(file).map((line) => `  ${line}`)])
}

function lines({
  id,
  kind,
  size,
  total,
  modifiedAt,
  mime,
  contentKind,
  media,
  contentId,
  hash,
  tags,
}: FileItem): string[] {
  const below = total && `${bytes(total.bytes)} in ${plural(total.files, 'file')} and ${directories(total.directories)}`
  return [
    [kind, kind === 'file' ? bytes(size) : below, `modified ${minute(modifiedAt)}`].filter(Boolean).join(', '),
    ...(mime === undefined ? [] : [`${safe(mime)} (${contentKind ?? 'unknown'})`]),
    ...(media ? [mediaWords(media)] : []),
    ...(contentId === undefined ? [] : [`content id ${contentId}`]),
    ...(hash === undefined ? [] : [`hash ${hash}`]),
    ...(tags ? [`tags ${tags.map(safe).join(', ')}`] : []),
    `id ${id}`,
  ]
}

function directories(count: number): string {
  return plural(count, 'directory', 'directories')
}

/** `4,032 × 3,024, 1 min 5 s, taken 2026-07-01 12:34:56` */
function mediaWords({ width, height, durationMs, takenAt }: Media): string {
  return [
    ...(width === undefined || height === undefined ? [] : [`${grouped(width)} × ${grouped(height)}`]),
    ...(durationMs === undefined ? [] : [duration(durationMs)]),
    ...(takenAt === undefined ? [] : [`taken ${safe(takenAt.replace('T', ' '))}`]),
  ].join(', ')
}
