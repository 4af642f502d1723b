/**
 * Is what is open still what stands at its path?
 *
 * A database is three files: itself, its log (`-wal`) and its shared memory
 * (`-shm`). SQLite goes on with those that it opened, whatever becomes of their
 * names: what it writes to one that was removed or replaced is lost to all who
 * come after. So this is asked before every commit and every read.
 *
 * Nothing is made, moved or removed in a folder without a change of the folder's
 * own time. So where a folder has been left alone for a while, one look at it
 * says that all is in place, in a microsecond; else it takes a look at each file.
 * A mount over a single file does not change the folder: that is noticed by the
 * next look of {@link Guard.inspect}.
 */
import { type BigIntStats, lstatSync, realpathSync, type Stats, statSync } from "node:fs"
import { dirname } from "node:path"
import { FileUnusable } from "./failure.ts"

/**
 * How the files stand: as they were opened; nothing is at the path; another file is; or the file is there, and its log
 * or its shared memory is not.
 */
export type Standing = "Here" | "Gone" | "Other" | "Torn"

type Found = Stats | BigIntStats | undefined

// Numbers cost a third of what bigints do; but some file systems count their files by 64 bits.
const narrow = { bigint: false, throwIfNoEntry: false } as const
const wide = { bigint: true, throwIfNoEntry: false } as const

type How = typeof narrow | typeof wide

// Who can't look can't know that it is still there.

/** What is at a path, where the last name of it is no link. */
const find = (path: string, how: How): Found => {
  try {
    return how.bigint ? lstatSync(path, wide) : lstatSync(path, narrow)
  } catch {
    return undefined
  }
}

/** What a path leads to. */
const follow = (path: string, how: How): Found => {
  try {
    return how.bigint ? statSync(path, wide) : statSync(path, narrow)
  } catch {
    return undefined
  }
}

const isSame = (a: Found, b: Found): boolean => a !== undefined && b !== undefined && a.ino === b.ino && a.dev === b.dev

/** When it was changed: of a folder, when something in it was made, moved or removed. */
const changedAt = (found: Found): number | bigint | undefined =>
  found !== undefined && "ctimeNs" in found ? found.ctimeNs : found?.ctimeMs

/** For how many looks a folder is the same before it counts as left alone: longer than the steps of any file system's time. */
const quietLooks = 3

const isExact = (found: Found): boolean => found === undefined || Number.isSafeInteger(found.ino)

const moved = (path: string, detail: string) => new FileUnusable({ path, problem: "Moved", detail })

/** What stands at the path now is of no use. */
export const movedTo = (path: string, why: string): FileUnusable =>
  moved(path, `was removed or replaced while it was open, and what is there now can't be used: ${why}`)

const advice = "put it back, or restart this program"

const details: Record<Exclude<Standing, "Here">, string> = {
  Gone: `was removed or replaced while it was open: ${advice}`,
  Other: `was removed or replaced while it was open: ${advice}`,
  Torn: `has lost what belongs to it: its -wal or -shm was removed or replaced while it was open: ${advice}`
}

/** Looks after one opening. */
export class Guard {
  private readonly path: string
  private readonly place: string
  private readonly how: How
  private readonly logPath: string
  private readonly memoryPath: string
  private readonly folderPath: string
  private readonly file: Found
  private readonly log: Found
  private readonly memory: Found
  private folder: Found
  /** For how many looks the folder was the same, and all in it in place. */
  private quietFor = 0

  /** Of what was just opened by a path, and really is at a place. Throws when it is not there any more. */
  constructor(path: string, place: string) {
    this.path = path
    this.place = place
    this.logPath = `${place}-wal`
    this.memoryPath = `${place}-shm`
    this.folderPath = dirname(place)
    this.how = [place, this.logPath, this.memoryPath].every((path) => isExact(find(path, narrow))) ? narrow : wide
    this.file = this.find(place)
    this.log = this.find(this.logPath)
    this.memory = this.find(this.memoryPath)
    this.check()
  }

  private find(path: string): Found {
    return find(path, this.how)
  }

  /** How many names the file has. */
  get names(): number {
    return Number(this.file?.nlink ?? 1)
  }

  /** How the files stand. */
  look(): Standing {
    return this.isLeftAlone() ? "Here" : this.lookAtEach()
  }

  /** How each of the files stands. To be called every second or so. */
  inspect(): Standing {
    const folder = follow(this.folderPath, this.how)
    const standing = this.lookAtEach()
    this.quietFor = standing === "Here" && this.isUnchanged(folder) ? this.quietFor + 1 : 0
    this.folder = folder
    return standing
  }

  private isLeftAlone(): boolean {
    if (this.quietFor < quietLooks) return false
    const isUnchanged = this.isUnchanged(follow(this.folderPath, this.how))
    if (!isUnchanged) this.quietFor = 0
    return isUnchanged && (this.path === this.place || isSame(follow(this.path, this.how), this.file))
  }

  private isUnchanged(folder: Found): boolean {
    return isSame(folder, this.folder) && changedAt(folder) === changedAt(this.folder)
  }

  private lookAtEach(): Standing {
    const isInPlace = this.isInPlace()
    if (isInPlace && this.path === this.place) return "Here"
    const found = follow(this.path, this.how)
    if (!isSame(found, this.file)) return found === undefined ? "Gone" : "Other"
    return isInPlace ? "Here" : "Torn"
  }

  /** Are the files where they were, whatever the path leads to? */
  isInPlace(): boolean {
    return isSame(this.find(this.place), this.file) && isSame(this.find(this.logPath), this.log)
      && isSame(this.find(this.memoryPath), this.memory)
  }

  /** Throws when the files do not stand as they were opened. */
  check(): void {
    const standing = this.look()
    if (standing !== "Here") throw this.error(standing)
  }

  /** What is wrong. */
  error(standing: Exclude<Standing, "Here">): FileUnusable {
    return moved(this.path, details[standing])
  }

  /** Is another opening of the same file? */
  isOfSame(other: Guard): boolean {
    const [a, b] = [this.file!, other.file!]
    return BigInt(a.ino) === BigInt(b.ino) && BigInt(a.dev) === BigInt(b.dev)
  }

  /** Throws where the log that lies beside another file is this one's: SQLite would take it for that file's. */
  checkLogIsGone(): void {
    if (!isSame(this.find(this.logPath), this.log) || isSame(this.find(this.place), this.file)) return
    throw moved(
      this.path,
      "was removed or replaced while it was open, and its log was left: the log beside what is there now " +
        `(${this.place}-wal) belongs to the file that was, and holds its last jobs; move it there`
    )
  }

  /** Throws where others use the file with a shared memory of their own: neither knows what the other writes. */
  checkIsAlone(): void {
    const memory = this.find(`${realpathSync(this.path)}-shm`)
    if (memory === undefined || isSame(memory, this.memory)) return
    throw moved(
      this.path,
      "has been opened by others after its -wal or -shm was removed, or it was moved without them: end all programs " +
        "that use it, and start them again"
    )
  }

  /** Is the log not where others would find it? */
  get isLogLost(): boolean {
    return !isSame(this.find(this.place), this.file) || !isSame(this.find(this.logPath), this.log)
  }
}
