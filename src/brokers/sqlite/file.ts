/**
 * The database file: opening it, and what is in it.
 *
 * A file is backq's by its `application_id`; its `user_version` counts the
 * migrations that it has seen. A file of another program, of a newer backq, or
 * with anything in it that no migration made, is refused before anything is
 * written, and before any statement runs that could run what is in the file.
 *
 * A file is made here and never by SQLite, so that it has its mode from the
 * first moment, and SQLite gives it to the log and the shared memory.
 *
 * Times are whole microseconds since the epoch.
 */
import { closeSync, openSync, readlinkSync, realpathSync, type Stats, statSync } from "node:fs"
import { basename, dirname, isAbsolute, join, resolve } from "node:path"
import { DatabaseSync, type DatabaseSyncOptions } from "node:sqlite"
import { pathToFileURL } from "node:url"
import { FileUnusable } from "./failure.ts"
import { currentVersion, difference, migrations } from "./schema.ts"

/** "bckq" */
export const applicationId = 0x62636b71

/** Bytes of the largest body that can be in a file. */
export const largestBody = 64 * 1024 * 1024

const pragma = (database: DatabaseSync, name: string): unknown =>
  Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0]

const versionOf = (database: DatabaseSync, path: string): number => {
  const application = pragma(database, "application_id")
  const version = Number(pragma(database, "user_version"))
  if (application !== applicationId) {
    const isEmpty = application === 0 && version === 0
      && database.prepare("SELECT 1 FROM sqlite_schema LIMIT 1").get() === undefined
    if (isEmpty) return 0
    const isCopy = application === 0 && difference(database, currentVersion) === undefined
    throw new FileUnusable({
      path,
      problem: "OtherProgram",
      detail: isCopy
        ? "is a copy by \".dump\" or \".clone\" of the sqlite3 program, which leaves out whose file it is: copy with " +
          `".backup" or VACUUM INTO, or run "PRAGMA application_id = ${applicationId}; PRAGMA user_version = ` +
          `${currentVersion}" in it`
        : "is a database of another program: give another path"
    })
  }
  if (version > currentVersion) {
    throw new FileUnusable({
      path,
      problem: "Newer",
      detail: `was written by a newer backq (schema ${version}, this one knows ${currentVersion}): use that one`
    })
  }
  const foreign = version < 0 ? `has a schema version that is none (${version})` : difference(database, version)
  if (foreign !== undefined) {
    throw new FileUnusable({
      path,
      problem: "Foreign",
      detail: `${foreign}: somebody else changed the file, and it may do harm; take out what is not backq's with the ` +
        "sqlite3 program if you know what it is, or give another path"
    })
  }
  return version
}

/** The version, as of one moment: others may migrate the file meanwhile. */
const inspect = (database: DatabaseSync, path: string): number => {
  database.exec("BEGIN")
  const version = versionOf(database, path)
  database.exec("COMMIT")
  return version
}

const migrate = (database: DatabaseSync, path: string): void => {
  database.exec("BEGIN IMMEDIATE")
  for (const migration of migrations.slice(versionOf(database, path))) database.exec(migration)
  database.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${currentVersion}; COMMIT`)
}

/**
 * An absolute path. What is up from a folder depends on where that really is, so links before the last `..` are
 * followed; where there is no such folder, the `..` stays.
 */
export const absolute = (path: string): string => {
  const names = path.split("/")
  const end = names.lastIndexOf("..") + 1
  if (end === 0) return resolve(path)
  try {
    return join(realpathSync.native(names.slice(0, end).join("/")), ...names.slice(end))
  } catch {
    return isAbsolute(path) ? path : `${process.cwd()}/${path}`
  }
}

/** How many links lead to a file at most, as the operating system has it. */
const mostLinks = 40

/** Where a file would come to be: at the end of the links, which may lead to nothing. */
const targetOf = (path: string, links = 0): string => {
  let link: string
  try {
    link = readlinkSync(path)
  } catch {
    return path
  }
  return links === mostLinks ? path : targetOf(isAbsolute(link) ? link : `${dirname(path)}/${link}`, links + 1)
}

/** What is at a path. Of one that can't be looked at SQLite says why. */
const find = (path: string): Stats | undefined => {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch {
    return undefined
  }
}

const sizeOf = (path: string): number => find(path)?.size ?? 0

const checkLog = (path: string, target: string): void => {
  // In this order: while somebody else makes the file, it is not empty any more when its log is not.
  if (sizeOf(`${target}-wal`) > 0 && sizeOf(target) === 0) {
    throw new FileUnusable({
      path,
      problem: "StrayLog",
      detail:
        `is not there, but its log ${target}-wal is, and may hold jobs: put the file back, or move the log away too`
    })
  }
}

/** Bytes of the longest path that SQLite takes. */
const longestPath = 504

/** Bytes of the longest name that file systems take, with `-journal` at its end. */
const longestName = 247

const checkPath = (path: string, place: string, target: string): void => {
  const unusable = (detail: string) =>
    new FileUnusable({ path, problem: "NotADatabase", detail: `can't be opened: ${detail}` })
  if (Buffer.byteLength(target) > longestPath || Buffer.byteLength(basename(target)) > longestName) {
    throw unusable(`a path must have at most ${longestPath} bytes, and its last name ${longestName}: use a shorter one`)
  }
  if (place.split("/").includes("..")) throw unusable("check that its folder exists")
  const found = find(target)
  if (found === undefined || found.isFile()) return
  throw unusable(`it is ${found.isDirectory() ? "a folder" : "a device, a pipe or a socket"}: give the path of a file`)
}

/**
 * Makes the file where there is none. It is its owner's and the group's, as the umask allows: what is in a service's
 * jobs is for nobody else.
 */
const create = (target: string): void => {
  try {
    closeSync(openSync(target, "wx", 0o660))
  } catch (cause) {
    // it is there, or SQLite says why it can't be
    if (!(cause instanceof Error && "errno" in cause)) throw cause
  }
}

/** A file as SQLite is told of it: one that is there, whatever its name looks like. */
export const urlOf = (path: string): URL => {
  const url = pathToFileURL(path)
  url.search = "?mode=rw"
  return url
}

/** Of a connection that trusts nothing that is in the file. */
const careful: DatabaseSyncOptions = {
  timeout: 0,
  allowExtension: false,
  defensive: true,
  // a row has more than its body
  limits: { length: largestBody + 1024 * 1024 }
}

/**
 * Opens a file, which is made where there is none if it may be, or throws and leaves it as it is. Lock conflicts are SQLite's error, at once: nothing waits here.
 *
 * A path is a path: one that looks like a URL is not read as one. Where the file is then says `location()`, whatever
 * becomes of links and of the working directory.
 */
export const open = (path: string, mayCreate = true): DatabaseSync => {
  const noLog = () =>
    new FileUnusable({ path, problem: "NoWal", detail: "can't have a write-ahead log there: use a local disk" })
  if (path === ":memory:") throw noLog()
  const place = absolute(path)
  const target = targetOf(place)
  checkPath(path, place, target)
  checkLog(path, target)
  if (mayCreate) create(target)
  const database = new DatabaseSync(urlOf(place), careful)
  let isOpen = false
  try {
    database.exec("PRAGMA trusted_schema = OFF")
    const version = inspect(database, path)
    // only a file without tables can be told to
    if (version === 0) database.exec("PRAGMA auto_vacuum = INCREMENTAL")
    if (pragma(database, "journal_mode = WAL") !== "wal") throw noLog()
    database.exec("PRAGMA synchronous = NORMAL")
    if (version < currentVersion) migrate(database, path)
    // a copy that was made without a log has one from its first read on
    database.exec("SELECT 1 FROM sqlite_schema LIMIT 1")
    isOpen = true
    return database
  } finally {
    if (!isOpen) database.close()
  }
}

/** Where an open file is: its real path, which is also that of its log. */
export const placeOf = (database: DatabaseSync): string => database.location()!
