// What the daemon has, in the shapes of Spacedrive's clients. What it does not keep is null or empty, never invented.
import type { FileItem, JobItem, LibraryInfo, LibraryItem, LocationItem, TagItem } from '../protocol/messages.js'
import { uuidOf, type Device } from './device.js'
import { isObject, wrong } from './envelope.js'

export type Shape = Record<string, unknown>

export function sdPath(path: string, { slug }: Device): Shape {
  return { Physical: { device_slug: slug, path } }
}

/**
 * The path of an `SdPath`, or of the bare string that stands for one.
 *
 * @throws BAD_REQUEST for what lies on another device, in a cloud, or has no path
 */
export function pathIn(value: unknown, { slug }: Device): string {
  if (typeof value === 'string') return value
  const physical = isObject(value) ? value['Physical'] : undefined
  if (!isObject(physical) || typeof physical['path'] !== 'string') {
    throw wrong('only paths of this machine are known: {"Physical":{"device_slug":…,"path":…}}')
  }
  const named = physical['device_slug'] ?? slug
  if (named !== slug && named !== '' && named !== 'local') throw wrong(`this device is ${slug}, not ${String(named)}`)
  return physical['path']
}

const KINDS = { file: 'File', directory: 'Directory', symlink: 'Symlink', other: 'File' } as const

/** @param tags those of the file, where they are known */
export function fileShape(file: FileItem, device: Device, tags: readonly TagItem[] = []): Shape {
  const { id, name, path, kind, size, total, modifiedAt, contentKind = 'unknown' } = file
  return {
    id,
    sd_path: sdPath(path, device),
    kind: KINDS[kind],
    name,
    extension: kind === 'directory' ? null : extensionOf(name),
    size: kind === 'directory' ? (total?.bytes ?? 0) : size,
    content_identity: contentShape(file),
    alternate_paths: [],
    tags: tags.map((tag) => tagShape(tag, device)),
    sidecars: [],
    image_media_data: null,
    video_media_data: null,
    audio_media_data: null,
    // The index keeps no other time.
    created_at: modifiedAt,
    modified_at: modifiedAt,
    accessed_at: null,
    content_kind: contentKind,
    is_local: true,
    duration_seconds: file.media?.durationMs === undefined ? null : file.media.durationMs / 1_000,
  }
}

function contentShape({ contentId, contentKind = 'unknown', size, modifiedAt }: FileItem): Shape | null {
  if (contentId === undefined) return null
  return {
    uuid: uuidOf(contentId),
    kind: contentKind,
    content_hash: contentId,
    integrity_hash: null,
    mime_type_id: null,
    text_content: null,
    total_size: size,
    entry_count: 1,
    first_seen_at: modifiedAt,
    last_verified_at: modifiedAt,
  }
}

function extensionOf(name: string): string | null {
  const dot = name.lastIndexOf('.')
  return dot > 0 && dot < name.length - 1 ? name.slice(dot + 1) : null
}

export function tagShape(tag: TagItem, { id: device }: Device): Shape {
  return {
    id: tag.id,
    canonical_name: tag.name,
    display_name: null,
    formal_name: null,
    abbreviation: null,
    aliases: tag.aliases,
    namespace: tag.path.length > 1 ? tag.path.slice(0, -1).join('/') : null,
    tag_type: 'Standard',
    color: tag.colour ?? null,
    icon: null,
    description: tag.description ?? null,
    is_organizational_anchor: false,
    privacy_level: 'Normal',
    search_weight: 100,
    attributes: {},
    composition_rules: [],
    created_at: tag.createdAt,
    updated_at: tag.createdAt,
    created_by_device: device,
  }
}

/** @param total of the root, where it is indexed @param job that reads it now */
export function locationShape(
  location: LocationItem,
  total: FileItem['total'],
  job: JobItem | undefined,
  device: Device,
): Shape {
  const { id, library, path, name, mode, addedAt, scannedAt = null } = location
  return {
    id,
    library_id: library,
    sd_path: sdPath(path, device),
    name,
    index_mode: mode.charAt(0).toUpperCase() + mode.slice(1),
    scan_interval: null,
    total_size: total?.bytes ?? 0,
    file_count: total?.files ?? 0,
    directory_count: total?.directories ?? 0,
    scan_state: job ? { Scanning: { progress: Math.round(100 * progressOf(job)) } } : scannedAt ? 'Completed' : 'Idle',
    created_at: addedAt,
    updated_at: scannedAt ?? addedAt,
    last_scan_at: scannedAt,
    is_available: location.watched?.state !== 'absent',
    ignore_patterns: location.rules?.reject ?? [],
    job_policies: {},
  }
}

const STATES = {
  queued: 'queued',
  running: 'running',
  paused: 'paused',
  done: 'completed',
  failed: 'failed',
  cancelled: 'cancelled',
} as const

/** Their names, for kinds of job that they have too. */
export function jobName(kind: string): string {
  return kind === 'index' ? 'indexer' : kind === 'identify' ? 'content_identification' : kind
}

export function jobStatus({ state }: JobItem): string {
  return STATES[state]
}

export function progressOf({ state, progress: { done, total, fraction } }: JobItem): number {
  if (state === 'done') return 1
  return fraction ?? (total ? Math.min(1, done / total) : 0)
}

export function jobShape(job: JobItem, device: Device): Shape {
  return {
    id: job.id,
    name: jobName(job.kind),
    device_id: device.id,
    status: jobStatus(job),
    progress: progressOf(job),
    action_type: null,
    action_context: null,
    created_at: job.createdAt,
    started_at: job.startedAt ?? null,
    completed_at: job.finishedAt ?? null,
    error_message: job.error?.message ?? null,
  }
}

export function statisticsShape(library: LibraryInfo, tags: number): Shape {
  const scans = library.locations.flatMap(({ scannedAt }) => scannedAt ?? []).sort()
  const latest = scans.at(-1) ?? null
  return {
    total_files: library.files,
    total_size: library.bytes,
    location_count: library.locations.length,
    tag_count: tags,
    device_count: 1,
    unique_content_count: 0,
    total_capacity: 0,
    available_capacity: 0,
    thumbnail_count: 0,
    database_size: library.databaseBytes,
    sidecar_count: 0,
    sidecar_size: 0,
    last_indexed: latest,
    updated_at: latest ?? EPOCH,
  }
}

/** Of what has no time. */
export const EPOCH = '1970-01-01T00:00:00.000Z'

export function libraryShape({ id, name, path }: LibraryItem, stats: Shape | null): Shape {
  return { id, name, path, stats }
}

export const LIBRARY_SETTINGS = {
  generate_thumbnails: false,
  thumbnail_quality: 0,
  enable_ai_tagging: false,
  sync_enabled: false,
  encryption_enabled: false,
  thumbnail_sizes: [],
  ignored_extensions: [],
  max_file_size: null,
  auto_track_system_volumes: false,
  auto_track_external_volumes: false,
  indexer: {
    no_system_files: false,
    no_git: false,
    no_dev_dirs: false,
    no_hidden: false,
    gitignore: false,
    only_images: false,
  },
} as const
