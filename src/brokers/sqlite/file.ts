/**
 * Opens, checks and creates the database file.
 *
 * The `application_id` marks a file as backq's. Its `user_version` counts the
 * migrations that were applied. A file of another program, of a newer backq, or
 * with anything that no migration made is refused. That happens before anything
 * is written, and before any statement that could run code in the file.
 *
 * This module creates the file, and SQLite never does. So the file has its mode
 * from the first moment, and SQLite copies the mode to the log and the shared
 * memory.
 */
import { closeSync, openSync, readlinkSync, realpathSync, type Stats, statSync } from "node:fs"
import { basename, dirname, isAbsolute, join, resolve } from "node:path"
import { DatabaseSync, type DatabaseSyncOptions } from "node:sqlite"
import { pathToFileURL } from "node:url"
import { FileUnusable } from "./failure.ts"
import { currentVersion, difference, migrations } from "./schema.ts"

/** "bckq" */
export const applicationId = 0x62636b71

/** The largest body that a file can hold. */
export const maxBodyBytes = 64 * 1024 * 1024

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
        ? "is a copy by \".dump\" or \".clone\" of the sqlite3 program, which drop the mark of a backq file: copy with " +
          `".backup" or VACUUM INTO, or run "PRAGMA application_id = ${applicationId}; PRAGMA user_version = ` +
          `${currentVersion}" in it`
        : "is a database of another program: give another path"
    })
  }
  if (version > currentVersion) {
    throw new FileUnusable({
      path,
      problem: "Newer",
      detail:
        `was written by a newer backq (schema ${version}, this one reads up to ${currentVersion}): use the newer one`
    })
  }
  const foreign = version < 0 ? `has an invalid schema version (${version})` : difference(database, version)
  if (foreign !== undefined) {
    throw new FileUnusable({
      path,
      problem: "Foreign",
      detail: `${foreign}: another program changed the file, and it may do harm; remove the change with the sqlite3 ` +
        "program if you know what it is, or give another path"
    })
  }
  return version
}

/** Reads the version in one transaction, because another process may migrate the file meanwhile. */
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
 * Makes a path absolute. The parent of a folder depends on where the folder really is, so links before the last `..`
 * are resolved. If there is no such folder, the `..` stays.
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

/** Linux follows at most this many links (path_resolution(7)). */
const maxLinks = 40

/** Where a file would be created: at the end of the links, which may lead nowhere. */
const targetOf = (path: string, links = 0): string => {
  let link: string
  try {
    link = readlinkSync(path)
  } catch {
    return path
  }
  return links === maxLinks ? path : targetOf(isAbsolute(link) ? link : `${dirname(path)}/${link}`, links + 1)
}

/** What is at a path. If it can't be read, SQLite reports the reason later. */
const find = (path: string): Stats | undefined => {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch {
    return undefined
  }
}

const sizeOf = (path: string): number => find(path)?.size ?? 0

const checkLog = (path: string, target: string): void => {
  // The order matters: when another process creates the file, the file has content before its log has.
  if (sizeOf(`${target}-wal`) > 0 && sizeOf(target) === 0) {
    throw new FileUnusable({
      path,
      problem: "StrayLog",
      detail:
        `is missing, but its log ${target}-wal is there and may hold jobs: put the file back, or move the log away too`
    })
  }
}

/** SQLite accepts no longer path. */
const maxPathBytes = 504

/** File systems accept names of 255 bytes, and SQLite appends `-journal`. */
const maxNameBytes = 247

const checkPath = (path: string, place: string, target: string): void => {
  const unusable = (detail: string) =>
    new FileUnusable({ path, problem: "NotADatabase", detail: `can't be opened: ${detail}` })
  if (Buffer.byteLength(target) > maxPathBytes || Buffer.byteLength(basename(target)) > maxNameBytes) {
    throw unusable(
      `the path must have at most ${maxPathBytes} bytes, and the file name ${maxNameBytes}: use a shorter one`
    )
  }
  if (place.split("/").includes("..")) throw unusable("check that its folder exists")
  const found = find(target)
  if (found === undefined || found.isFile()) return
  throw unusable(`it is ${found.isDirectory() ? "a folder" : "a device, a pipe or a socket"}: give the path of a file`)
}

/** Creates a missing file. Only its owner and group may read it, as the umask allows, because jobs may be private. */
const create = (target: string): void => {
  try {
    closeSync(openSync(target, "wx", 0o660))
  } catch (cause) {
    // The file exists, or SQLite reports why it can't be created.
    if (!(cause instanceof Error && "errno" in cause)) throw cause
  }
}

/** The URL by which SQLite opens an existing file, whatever characters are in its path. */
export const urlOf = (path: string): URL => {
  const url = pathToFileURL(path)
  url.search = "?mode=rw"
  return url
}

/** The options of a connection that trusts nothing in the file. */
const careful: DatabaseSyncOptions = {
  timeout: 0,
  allowExtension: false,
  defensive: true,
  // A row holds more than its body.
  limits: { length: maxBodyBytes + 1024 * 1024 }
}

/**
 * Opens a file. A missing file is created if `mayCreate`. If the file can't be used, throws and does not change it. If
 * another connection has locked it, throws SQLite's error at once and does not wait.
 *
 * A path that looks like a URL is still a path. Afterwards `location()` is the real path of the file, whatever happens
 * to links and to the working directory.
 */
export const open = (path: string, mayCreate = true): DatabaseSync => {
  const noLog = () =>
    new FileUnusable({ path, problem: "NoWal", detail: "can't have a write-ahead log where it is: use a local disk" })
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
    // SQLite accepts this only for a file without tables.
    if (version === 0) database.exec("PRAGMA auto_vacuum = INCREMENTAL")
    if (pragma(database, "journal_mode = WAL") !== "wal") throw noLog()
    database.exec("PRAGMA synchronous = NORMAL")
    if (version < currentVersion) migrate(database, path)
    // A copy that was made without a log gets one by its first read.
    database.exec("SELECT 1 FROM sqlite_schema LIMIT 1")
    isOpen = true
    return database
  } finally {
    if (!isOpen) database.close()
  }
}

/** The real path of an open file. Its log is beside it. */
export const placeOf = (database: DatabaseSync): string => database.location()!
