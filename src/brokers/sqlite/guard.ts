/**
 * Is what is open still what stands at its path?
 *
 * A database is three files: itself, its log (`-wal`) and its shared memory
 * (`-shm`). SQLite goes on with those that it opened, whatever becomes of their
 * names: what it writes to one that was removed or replaced is lost to all who
 * come after. So this is asked before every commit and every read; it takes
 * about three microseconds.
 */
import { type BigIntStats, type Stats, statSync } from "node:fs"
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

const find = (path: string, how: typeof narrow | typeof wide): Found => {
  try {
    return how.bigint ? statSync(path, wide) : statSync(path, narrow)
  } catch {
    // who can't look can't know that it is still there
    return undefined
  }
}

const isSame = (a: Found, b: Found): boolean => a !== undefined && b !== undefined && a.ino === b.ino && a.dev === b.dev

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
  private readonly how: typeof narrow | typeof wide
  private readonly logPath: string
  private readonly memoryPath: string
  private readonly file: Found
  private readonly log: Found
  private readonly memory: Found

  /** Of what was just opened by a path, and really is at a place. Throws when it is not there any more. */
  constructor(path: string, place: string) {
    this.path = path
    this.place = place
    this.logPath = `${place}-wal`
    this.memoryPath = `${place}-shm`
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
    const found = this.find(this.path)
    if (!isSame(found, this.file)) return found === undefined ? "Gone" : "Other"
    const isInPlace = this.path === this.place ? this.isWhole() : this.isInPlace()
    return isInPlace ? "Here" : "Torn"
  }

  /** Are the files where they were, whatever the path leads to? */
  isInPlace(): boolean {
    return isSame(this.find(this.place), this.file) && this.isWhole()
  }

  private isWhole(): boolean {
    return isSame(this.find(this.logPath), this.log) && isSame(this.find(this.memoryPath), this.memory)
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
    const memory = this.find(this.memoryPath)
    if (memory === undefined || isSame(memory, this.memory)) return
    throw moved(
      this.path,
      "has been opened by others after its -shm was removed: end all programs that use it, and start them again"
    )
  }

  /** Is the log not where others would find it? */
  get isLogLost(): boolean {
    return !isSame(this.find(this.logPath), this.log)
  }
}
