// The tables of a library, as numbered migrations. A migration that was released is never edited; a new one is added.
import { SpacedriveError } from '../base/errors.js'
import type { Connection } from './connection.js'
import { Names } from './names.js'
import { fillFolders } from './folders.js'
import { BUCKETS } from './trigrams.js'

const MIGRATIONS: readonly (string | ((connection: Connection) => void))[] = [
  `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

  -- A directory tree that is indexed. The counts are kept in the transaction that changes the entries.
  CREATE TABLE location (
    id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, name TEXT NOT NULL, path NOT NULL, mode TEXT NOT NULL,
    added_at INTEGER NOT NULL, scanned_at INTEGER, removing INTEGER NOT NULL DEFAULT 0,
    files INTEGER NOT NULL DEFAULT 0, directories INTEGER NOT NULL DEFAULT 0, others INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0
  );

  -- Each distinct name once: 64 a block, each name's bytes and a NUL. The id of a name is its place. Names are only added.
  CREATE TABLE names (block INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
  CREATE TABLE name_hash (hash INTEGER, name INTEGER, PRIMARY KEY (hash, name)) WITHOUT ROWID;
  -- Trigrams of the blocks [first, last], 4,096 buckets each.
  CREATE TABLE segment (id INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL);
  CREATE TABLE posting (segment INTEGER, bucket INTEGER, lists BLOB NOT NULL, PRIMARY KEY (segment, bucket)) WITHOUT ROWID;

  -- kind: 0 file, 1 directory, 2 symlink, 3 other; mtime in microseconds. The root of a location has parent −location.
  CREATE TABLE entry (
    id INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name INTEGER NOT NULL, location INTEGER NOT NULL,
    kind INTEGER NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL, inode INTEGER NOT NULL
  );
  CREATE UNIQUE INDEX entry_place ON entry (parent, name);
  CREATE INDEX entry_name ON entry (name);
  -- entry_inode ON entry (inode) comes after the first scan: see Library.settle.

  -- Entries a scan did not find where they were; at its end they are deleted unless they turned up elsewhere.
  CREATE TABLE missing (entry INTEGER PRIMARY KEY, location INTEGER NOT NULL);

  CREATE TABLE job (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, state TEXT NOT NULL, location TEXT,
    checkpoint TEXT, done INTEGER NOT NULL DEFAULT 0, total INTEGER, fraction REAL,
    failure_count INTEGER NOT NULL DEFAULT 0, failures TEXT NOT NULL DEFAULT '[]',
    created_at INTEGER NOT NULL, started_at INTEGER, finished_at INTEGER, error TEXT
  );
  CREATE INDEX job_state ON job (state);
  `,
  `
  -- What its runs took of descriptors, as JSON.
  ALTER TABLE job ADD COLUMN descriptors TEXT;
  `,
  `
  -- Whether changes on disk are followed.
  ALTER TABLE location ADD COLUMN watch INTEGER NOT NULL DEFAULT 0;
  `,
  `
  -- A tree of tags. One that is being deleted is gone for callers; what it is on goes in slices. Numbers are never used again.
  CREATE TABLE tag (
    id INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE, parent INTEGER, name TEXT NOT NULL,
    aliases TEXT NOT NULL DEFAULT '[]', colour TEXT, description TEXT, created_at INTEGER NOT NULL,
    deleting INTEGER NOT NULL DEFAULT 0, entries INTEGER NOT NULL DEFAULT 0
  );
  -- Its name and aliases, folded: what one tag is called no other one is.
  CREATE TABLE tag_word (word TEXT PRIMARY KEY, tag INTEGER NOT NULL) WITHOUT ROWID;

  CREATE TABLE tagged (entry INTEGER, tag INTEGER, PRIMARY KEY (entry, tag)) WITHOUT ROWID;
  CREATE INDEX tagged_tag ON tagged (tag, entry);
  CREATE TRIGGER tagged_more AFTER INSERT ON tagged BEGIN
    UPDATE tag SET entries = entries + 1 WHERE id = new.tag;
  END;
  CREATE TRIGGER tagged_less AFTER DELETE ON tagged BEGIN
    UPDATE tag SET entries = entries - 1 WHERE id = old.tag;
  END;

  -- Tags of entries that went, the latest last, for what comes to the same path: the bytes of the directory's path and of the name.
  CREATE TABLE tag_kept (
    id INTEGER PRIMARY KEY, directory BLOB NOT NULL, name BLOB NOT NULL, tag INTEGER NOT NULL, is_directory INTEGER NOT NULL
  );
  CREATE UNIQUE INDEX tag_kept_place ON tag_kept (directory, name, tag);
  `,
  `
  -- Of everything below a directory; none where there is nothing.
  CREATE TABLE folder (
    entry INTEGER PRIMARY KEY, bytes INTEGER NOT NULL, files INTEGER NOT NULL, directories INTEGER NOT NULL
  );
  `,
  fillFolders,
  `
  -- What a location leaves out, and how much that was of each at its last scan, as JSON.
  ALTER TABLE location ADD COLUMN rules TEXT;
  ALTER TABLE location ADD COLUMN left_out TEXT;
  ALTER TABLE job ADD COLUMN left_out TEXT;
  -- Of what is missing: it is there, and a rule leaves it out.
  ALTER TABLE missing ADD COLUMN left_out INTEGER NOT NULL DEFAULT 0;
  -- Directories that could not be read: since when, why, and when that was tried last.
  CREATE TABLE unverified (
    entry INTEGER PRIMARY KEY, location INTEGER NOT NULL, since INTEGER NOT NULL, tried_at INTEGER NOT NULL,
    tries INTEGER NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL
  );
  CREATE INDEX unverified_location ON unverified (location, tried_at);
  `,
  `
  -- What files hold. files: how many have it, the names of one file being one; cid: the 64 bits of the content id; kind: its
  -- place in CONTENT_KINDS.
  CREATE TABLE content (
    id INTEGER PRIMARY KEY, cid INTEGER NOT NULL UNIQUE, size INTEGER NOT NULL, files INTEGER NOT NULL,
    kind INTEGER NOT NULL, mime TEXT NOT NULL
  );
  CREATE INDEX content_waste ON content (size * (files - 1), id) WHERE files > 1;
  -- Entries and what they hold; mtime is that of the entry when it was read.
  CREATE TABLE identity (entry INTEGER PRIMARY KEY, content INTEGER NOT NULL, mtime INTEGER NOT NULL);
  CREATE INDEX identity_content ON identity (content);
  -- Files that are to be read, and those that could not be read. due: when they are to be tried again, in milliseconds since the
  -- thread began that wrote it; for another one they are due at once, or in ten minutes at the latest.
  CREATE TABLE unread (location INTEGER, entry INTEGER, PRIMARY KEY (location, entry)) WITHOUT ROWID;
  CREATE TABLE unreadable (
    entry INTEGER PRIMARY KEY, location INTEGER NOT NULL, due INTEGER NOT NULL, tries INTEGER NOT NULL, reason TEXT NOT NULL
  );
  CREATE INDEX unreadable_due ON unreadable (location, due);
  -- Bytes of the files that a job has read.
  ALTER TABLE job ADD COLUMN bytes INTEGER;
  `,
  foldAnew,
  `
  -- Tags of what files hold, by the 64 bits of the content id: also of contents that no file has just now.
  CREATE TABLE tagged_content (cid INTEGER, tag INTEGER, PRIMARY KEY (cid, tag)) WITHOUT ROWID;
  CREATE INDEX tagged_content_tag ON tagged_content (tag, cid);
  ALTER TABLE tag ADD COLUMN contents INTEGER NOT NULL DEFAULT 0;
  CREATE TRIGGER tagged_content_more AFTER INSERT ON tagged_content BEGIN
    UPDATE tag SET contents = contents + 1 WHERE id = new.tag;
  END;
  CREATE TRIGGER tagged_content_less AFTER DELETE ON tagged_content BEGIN
    UPDATE tag SET contents = contents - 1 WHERE id = old.tag;
  END;
  `,
  `
  -- Entries that were compared byte by byte with others of their content. first: the one it is equal to, itself or an earlier
  -- one, 0 where it could not be read; at in milliseconds since 1970.
  CREATE TABLE compared (entry INTEGER PRIMARY KEY, first INTEGER NOT NULL, at INTEGER NOT NULL);
  -- BLAKE3 of all that entries hold; mtime is that of the entry when it was read.
  CREATE TABLE hashed (entry INTEGER PRIMARY KEY, mtime INTEGER NOT NULL, digest BLOB NOT NULL);
  `,
  `
  -- Of what its children were when they were read, see Gathered in src/scan; none, or less than 1, where that is not known.
  ALTER TABLE folder ADD COLUMN print INTEGER;
  `,
  placePostings,
  `
  -- What headers say of pictures, sounds and films; mtime is that of the entry when it was read. All NULL where one says nothing.
  -- ms: how long it takes; taken: by the clock of the camera, as src/scan/media has it.
  CREATE TABLE media (
    entry INTEGER PRIMARY KEY, mtime INTEGER NOT NULL, width INTEGER, height INTEGER, ms INTEGER, taken TEXT
  );
  `,
]

export const SCHEMA_VERSION = MIGRATIONS.length

/**
 * Brings a database to the current version, or to the one wanted, each step in a transaction of its own.
 *
 * @throws LIBRARY_NEWER, and the database is left as it was
 */
export function migrate(connection: Connection, name: string, wanted = SCHEMA_VERSION): void {
  const version = versionOf(connection)
  requireKnown(name, version)
  for (let next = version; next < wanted; next++) {
    connection.transaction(() => {
      const step = MIGRATIONS[next]!
      if (typeof step === 'string') connection.exec(step)
      else step(connection)
      connection.pragma(`user_version = ${next + 1}`)
    })()
  }
}

/** @throws LIBRARY_NEWER */
export function requireKnown(name: string, version: number): void {
  if (version <= SCHEMA_VERSION) return
  const known = `this version of spacedrive knows up to ${SCHEMA_VERSION}`
  throw new SpacedriveError('LIBRARY_NEWER', `library "${name}" has schema version ${version}, ${known}`)
}

/** 0 of a database without tables. */
export function versionOf(connection: Connection): number {
  return Number(connection.pragma('user_version', { simple: true }))
}

/** Letters like "ß" and "ø" are found by "ss" and "o" since then: the trigrams of names are made of what is compared, at the last step. */
function foldAnew(connection: Connection): void {
  connection.exec('DELETE FROM posting; DELETE FROM segment')
}

/** Lists lie in the leaves of a table since then: of an index all that is longer than a quarter of a page had pages of its own. */
function placePostings(connection: Connection): void {
  connection.exec(`
    ALTER TABLE posting RENAME TO posting_before;
    -- place: segment × 4,096 + bucket.
    CREATE TABLE posting (place INTEGER PRIMARY KEY, lists BLOB NOT NULL);
    INSERT INTO posting SELECT segment * ${BUCKETS} + bucket, lists FROM posting_before ORDER BY segment, bucket;
    DROP TABLE posting_before;
  `)
  new Names(connection).seal()
}
