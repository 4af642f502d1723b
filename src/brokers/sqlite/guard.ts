/**
 * Checks that the open file is still the file at its path.
 *
 * A database is three files: itself, its log (`-wal`) and its shared memory
 * (`-shm`). SQLite keeps using the files that it opened, whatever happens to
 * their names. What it writes to a removed or replaced file is lost. So the guard
 * checks before every commit and every read.
 *
 * Creating, moving or removing a file changes the time of its folder. So if the
 * folder has not changed for a while, one look at the folder is enough, and takes
 * a microsecond. Otherwise the guard looks at each file.
 *
 * Limit: a mount over a single file does not change the folder. {@link
 * Guard.inspect} notices it.
 */
import { type BigIntStats, lstatSync, realpathSync, type Stats, statSync } from "node:fs"
import { dirname } from "node:path"
import { FileUnusable } from "./failure.ts"

/** What is at the path of an open file. */
export type Standing =
  /** The three files that were opened. */
  | "Here"
  /** Nothing. */
  | "Gone"
  /** Another file. */
  | "Other"
  /** The file, but not its log or not its shared memory. */
  | "Torn"

type Found = Stats | BigIntStats | undefined

// Numbers cost a third of what bigints do. But the numbers of files have 64 bits on some file systems.
const narrow = { bigint: false, throwIfNoEntry: false } as const
const wide = { bigint: true, throwIfNoEntry: false } as const

type How = typeof narrow | typeof wide

// A file that can't be looked at counts as missing.

/** What is at a path. A link at its end is not followed. */
const find = (path: string, how: How): Found => {
  try {
    return how.bigint ? lstatSync(path, wide) : lstatSync(path, narrow)
  } catch {
    return undefined
  }
}

/** What is at a path. Links are followed. */
const follow = (path: string, how: How): Found => {
  try {
    return how.bigint ? statSync(path, wide) : statSync(path, narrow)
  } catch {
    return undefined
  }
}

const isSame = (a: Found, b: Found): boolean => a !== undefined && b !== undefined && a.ino === b.ino && a.dev === b.dev

/** When it changed last. A folder changes when a file in it is created, moved or removed. */
const changedAt = (found: Found): number | bigint | undefined =>
  found !== undefined && "ctimeNs" in found ? found.ctimeNs : found?.ctimeMs

/**
 * After this many looks without a change a folder counts as left alone. The looks are a second apart, which is longer
 * than the resolution of any file system's time.
 */
const quietLooks = 3

const isExact = (found: Found): boolean => found === undefined || Number.isSafeInteger(found.ino)

const moved = (path: string, detail: string) => new FileUnusable({ path, problem: "Moved", detail })

/** The error if the file was replaced by one that can't be used. */
export const movedTo = (path: string, why: string): FileUnusable =>
  moved(path, `was removed or replaced while it was open, and its replacement can't be used: ${why}`)

const advice = "put it back, or restart this program"

const details: Record<Exclude<Standing, "Here">, string> = {
  Gone: `was removed or replaced while it was open: ${advice}`,
  Other: `was removed or replaced while it was open: ${advice}`,
  Torn: `has lost a part: its -wal or -shm was removed or replaced while it was open: ${advice}`
}

/** Checks the three files of one session. */
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
  /** The number of looks since the folder changed or a file was missing. */
  private quietFor = 0

  /** Call it right after opening `path`. `place` is the real path. Throws if the files are gone already. */
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

  /** The number of hard links to the file. */
  get names(): number {
    return Number(this.file?.nlink ?? 1)
  }

  /** What is at the path, in a microsecond if the folder has been left alone. */
  look(): Standing {
    return this.isLeftAlone() ? "Here" : this.lookAtEach()
  }

  /** What is at the path, by a look at each file. Call it about every second. */
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

  /** Whether the files are at their real paths, wherever the links of the path lead. */
  isInPlace(): boolean {
    return isSame(this.find(this.place), this.file) && isSame(this.find(this.logPath), this.log)
      && isSame(this.find(this.memoryPath), this.memory)
  }

  /** Throws if the files are not at the path. */
  check(): void {
    const standing = this.look()
    if (standing !== "Here") throw this.error(standing)
  }

  /** The error for what is at the path. */
  error(standing: Exclude<Standing, "Here">): FileUnusable {
    return moved(this.path, details[standing])
  }

  /** Whether both sessions have the same file open. */
  isOfSame(other: Guard): boolean {
    const [a, b] = [this.file!, other.file!]
    return BigInt(a.ino) === BigInt(b.ino) && BigInt(a.dev) === BigInt(b.dev)
  }

  /** Throws if the log of this file is beside another file: SQLite would apply it to that file. */
  checkLogIsGone(): void {
    if (!isSame(this.find(this.logPath), this.log) || isSame(this.find(this.place), this.file)) return
    throw moved(
      this.path,
      "was removed or replaced while it was open, and its log was left behind: " +
        `${this.place}-wal holds the last jobs of the file that was moved; move the log to that file`
    )
  }

  /** Throws if other processes use the file with another shared memory: neither side would see the other's writes. */
  checkIsAlone(): void {
    const memory = this.find(`${realpathSync(this.path)}-shm`)
    if (memory === undefined || isSame(memory, this.memory)) return
    throw moved(
      this.path,
      "was opened by another program after its -wal or -shm was removed, or after it was moved without them: end all " +
        "programs that use it, and start them again"
    )
  }

  /** Whether other processes can't find the log. */
  get isLogLost(): boolean {
    return !isSame(this.find(this.place), this.file) || !isSame(this.find(this.logPath), this.log)
  }
}
