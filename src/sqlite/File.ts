/**
 * The database file: opening it, and what is in it.
 *
 * A file is backq's by its `application_id`; its `user_version` counts the
 * migrations that it has seen. Migrations only go forward. A file of another
 * program, or of a newer backq, is refused before anything is written.
 *
 * Times are whole microseconds since the epoch.
 */
import { closeSync, openSync, statSync } from "node:fs"
import { resolve } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { FileUnusable } from "./failure.ts"

/** "bckq" */
export const applicationId = 0x62636b71

/**
 * `state`: 0 ready, 1 delayed, 2 reserved, 3 buried. `due`: when a delay or a
 * lease ends, null otherwise. A partial index for each state, so that a job is
 * only in those that its state needs. A large body is in a table of its own, and
 * `small` is empty, so that a change of state does not write it again; one that
 * an older version has stored stays where it is.
 */
export const migrations: ReadonlyArray<string> = [
  `CREATE TABLE queue (
     id INTEGER PRIMARY KEY,
     name TEXT NOT NULL UNIQUE,
     total INTEGER NOT NULL DEFAULT 0,
     paused_until INTEGER NOT NULL DEFAULT 0
   ) STRICT;
   CREATE TABLE process (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     pid INTEGER NOT NULL,
     started TEXT,
     world TEXT
   ) STRICT;
   CREATE TABLE waiting (
     process INTEGER NOT NULL,
     queue TEXT NOT NULL,
     workers INTEGER NOT NULL,
     PRIMARY KEY (queue, process)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE job (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     queue INTEGER NOT NULL,
     state INTEGER NOT NULL,
     priority INTEGER NOT NULL,
     due INTEGER,
     burial INTEGER,
     holder INTEGER,
     put_at INTEGER NOT NULL,
     ttr INTEGER NOT NULL,
     deliveries INTEGER NOT NULL DEFAULT 0,
     forgiven INTEGER NOT NULL DEFAULT 0,
     lost INTEGER NOT NULL DEFAULT 0,
     buries INTEGER NOT NULL DEFAULT 0,
     reason TEXT,
     body BLOB NOT NULL
   ) STRICT;
   CREATE INDEX job_ready ON job (queue, priority, id) WHERE state = 0;
   CREATE INDEX job_delayed ON job (queue, due, id) WHERE state = 1;
   CREATE INDEX job_buried ON job (queue, burial) WHERE state = 3;
   CREATE INDEX job_due ON job (state, due, queue) WHERE due IS NOT NULL;`,
  `ALTER TABLE job ADD COLUMN failure_tag TEXT;
   ALTER TABLE job ADD COLUMN failure_message TEXT;
   ALTER TABLE job ADD COLUMN failure_at INTEGER;`,
  `CREATE TABLE done (
     seq INTEGER PRIMARY KEY,
     job INTEGER NOT NULL,
     queue TEXT NOT NULL,
     finished_at INTEGER NOT NULL,
     keep_until INTEGER NOT NULL,
     priority INTEGER NOT NULL,
     put_at INTEGER NOT NULL,
     ttr INTEGER NOT NULL,
     deliveries INTEGER NOT NULL,
     forgiven INTEGER NOT NULL,
     lost INTEGER NOT NULL,
     buries INTEGER NOT NULL,
     reason TEXT,
     failure_tag TEXT,
     failure_message TEXT,
     failure_at INTEGER,
     body BLOB NOT NULL
   ) STRICT;
   CREATE INDEX done_listed ON done (queue, seq);
   CREATE INDEX done_over ON done (keep_until);`,
  // times that no number can be, of pauses and delays of centuries
  `UPDATE queue SET paused_until = ${Number.MAX_SAFE_INTEGER} WHERE paused_until > ${Number.MAX_SAFE_INTEGER};
   UPDATE job SET due = ${Number.MAX_SAFE_INTEGER} WHERE state IN (1, 2) AND due > ${Number.MAX_SAFE_INTEGER};`,
  // The column has another name, so that an older backq that has the file open fails instead of taking an empty body.
  `ALTER TABLE job RENAME COLUMN body TO small;
   CREATE TABLE large (
     job INTEGER PRIMARY KEY,
     body BLOB NOT NULL
   ) STRICT;`
]

/** Bytes of the largest body that can be in a file. */
export const largestBody = 64 * 1024 * 1024

/** The schema version that this code reads and writes. */
export const currentVersion = migrations.length

const pragma = (database: DatabaseSync, name: string): unknown =>
  Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0]

const versionOf = (database: DatabaseSync, path: string): number => {
  const application = pragma(database, "application_id")
  const version = Number(pragma(database, "user_version"))
  if (application !== applicationId) {
    const isEmpty = application === 0 && version === 0
      && database.prepare("SELECT 1 FROM sqlite_schema LIMIT 1").get() === undefined
    if (isEmpty) return 0
    throw new FileUnusable({
      path,
      problem: "OtherProgram",
      detail: "is a database of another program: give another path"
    })
  }
  if (version > currentVersion) {
    throw new FileUnusable({
      path,
      problem: "Newer",
      detail: `was written by a newer backq (schema ${version}, this one knows ${currentVersion}): use that one`
    })
  }
  return version
}

const migrate = (database: DatabaseSync, path: string): void => {
  database.exec("BEGIN IMMEDIATE")
  for (const migration of migrations.slice(versionOf(database, path))) database.exec(migration)
  database.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${currentVersion}; COMMIT`)
}

/** A new file is its owner's and the group's, as the umask allows: what is in a service's jobs is for nobody else. */
const create = (path: string): void => {
  try {
    closeSync(openSync(path, "wx", 0o660))
  } catch {
    // it is there, or SQLite says why it can't be
  }
}

/**
 * Opens a file, or throws and leaves it as it is. Lock conflicts are SQLite's error, at once: nothing waits here.
 *
 * A path is a path: one that looks like a URL is not read as one. Where the file is then says `location()`, whatever
 * becomes of links and of the working directory.
 */
export const open = (path: string): DatabaseSync => {
  const isFile = path !== ":memory:"
  if (isFile) create(path)
  const database = new DatabaseSync(isFile ? resolve(path) : path, { timeout: 0 })
  let isOpen = false
  try {
    const version = versionOf(database, path)
    // only a file without tables can be told to
    if (version === 0) database.exec("PRAGMA auto_vacuum = INCREMENTAL")
    if (pragma(database, "journal_mode = WAL") !== "wal") {
      throw new FileUnusable({ path, problem: "NoWal", detail: "can't have a write-ahead log there: use a local disk" })
    }
    database.exec("PRAGMA synchronous = NORMAL")
    if (version < currentVersion) migrate(database, path)
    isOpen = true
    return database
  } finally {
    if (!isOpen) database.close()
  }
}

const identity = (path: string): string | undefined => {
  const file = statSync(path, { bigint: true, throwIfNoEntry: false })
  return file === undefined ? undefined : `${file.dev}:${file.ino}`
}

/** Where an open file is: its real path, which is also that of its log. */
export const placeOf = (database: DatabaseSync): string => database.location()!

/**
 * Guards against a file that is removed or replaced while it is open: SQLite would go on writing to what nobody can
 * open any more. What this returns throws when the file is not where it was.
 */
export const guard = (place: string): () => void => {
  const opened = identity(place)
  return () => {
    if (identity(place) === opened) return
    throw new FileUnusable({
      path: place,
      problem: "Moved",
      detail: "was removed or replaced while it was open: put it back, or restart this program"
    })
  }
}
