/**
 * The schema: the migrations that create it, and the check that a file holds
 * exactly what they create.
 *
 * A trigger or a view that another program added would run with the next
 * statement, with the rights of this program. It could change jobs, or never end.
 * So a file is used only if each table and index is as a migration made it.
 *
 * Migrations only go forward. Never change their text: files of every version are
 * compared with it.
 */
import { DatabaseSync } from "node:sqlite"
import { safeName } from "../../internal/text.ts"

/**
 * `state`: 0 ready, 1 delayed, 2 reserved, 3 buried. `due`: the end of a delay or
 * a lease, else null. Each state has its partial index, so that a job is only in
 * the indexes that its state needs. A large body is in the table `large`, and its
 * `small` is empty, so that a change of state does not write the body again.
 * Large bodies that an older version wrote into `small` stay there.
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
  // Pauses and delays of centuries had times that are not safe integers.
  `UPDATE queue SET paused_until = ${Number.MAX_SAFE_INTEGER} WHERE paused_until > ${Number.MAX_SAFE_INTEGER};
   UPDATE job SET due = ${Number.MAX_SAFE_INTEGER} WHERE state IN (1, 2) AND due > ${Number.MAX_SAFE_INTEGER};`,
  // The column gets another name, so that an older backq with the file open fails instead of reading an empty body.
  `ALTER TABLE job RENAME COLUMN body TO small;
   CREATE TABLE large (
     job INTEGER PRIMARY KEY,
     body BLOB NOT NULL
   ) STRICT;`
]

/** The schema version that this code reads and writes. */
export const currentVersion = migrations.length

/** A table, an index, a view or a trigger, as `sqlite_schema` lists it. */
interface Item {
  readonly type: unknown
  readonly name: unknown
  readonly sql: unknown
}

const items = (database: DatabaseSync): Iterable<Item> =>
  database.prepare("SELECT type, name, sql FROM sqlite_schema").iterate() as unknown as Iterable<Item>

// Running ANALYZE creates these tables.
const statistics: ReadonlyArray<Item> = [
  { type: "table", name: "sqlite_stat1", sql: "CREATE TABLE sqlite_stat1(tbl,idx,stat)" },
  { type: "table", name: "sqlite_stat4", sql: "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)" }
]

const madeBy: Array<ReadonlyMap<unknown, Item> | undefined> = []

/** What a file of a version holds. */
const itemsOf = (version: number): ReadonlyMap<unknown, Item> => {
  const known = madeBy[version]
  if (known !== undefined) return known
  const database = new DatabaseSync(":memory:")
  for (const migration of migrations.slice(0, version)) database.exec(migration)
  const made = new Map(Array.from(items(database), (item) => [item.name, item]))
  database.close()
  madeBy[version] = made
  return made
}

/** SQL without quotes and white space, because versions of SQLite write them differently. */
const plain = (sql: unknown): unknown =>
  typeof sql === "string" ? sql.replace(/"(\w+)"/g, "$1").replace(/\s+/g, "") : sql

const isSame = (a: Item, b: Item): boolean => a.type === b.type && (a.sql === b.sql || plain(a.sql) === plain(b.sql))

const nameOf = ({ name, type }: Item): string => `${safeName(String(type))} "${safeName(String(name))}"`

/** The first difference between a file and what the migrations of its version create. `undefined` if there is none. */
export const difference = (database: DatabaseSync, version: number): string | undefined => {
  const missing = new Map(itemsOf(version))
  for (const item of items(database)) {
    const made = missing.get(item.name)
    if (made === undefined) {
      if (statistics.some((known) => known.name === item.name && isSame(known, item))) continue
      return `holds the ${nameOf(item)}, which backq did not create`
    }
    if (!isSame(made, item)) return `holds the ${nameOf(item)} in another form than backq created it`
    missing.delete(item.name)
  }
  for (const item of missing.values()) return `lacks the ${nameOf(item)}`
  return undefined
}
