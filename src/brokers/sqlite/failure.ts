/** Turns errors of SQLite and of the file into `BrokerError`s that say what to do. */
import * as Schema from "effect/Schema"
import { type BrokerError, make as brokerError, OutOfMemory, Unavailable } from "../../BrokerError.ts"
import { safeLine } from "../../internal/text.ts"
import { messageOfThrown } from "../../internal/thrown.ts"

/** The file can't be used as a broker, and was not changed. It is the `cause` of an `Unavailable`. */
export class FileUnusable extends Schema.TaggedError<FileUnusable>()("FileUnusable", {
  path: Schema.String,
  problem: Schema.Literals([
    "NotADatabase",
    "OtherProgram",
    "Newer",
    "Foreign",
    "StrayLog",
    "NoWal",
    "Moved"
  ]),
  detail: Schema.String
}) {
  override get message() {
    return `${this.path} ${this.detail}`
  }
}

/** Something in the file is not as backq writes it. Another program or the disk changed it. */
export class Damaged extends Schema.TaggedError<Damaged>()("Damaged", { detail: Schema.String }) {
  override get message() {
    return this.detail
  }
}

// Primary result codes, https://sqlite.org/rescode.html
const busy = 5
const locked = 6
const readOnly = 8
const ioError = 10
const corrupt = 11
const full = 13
const cantOpen = 14
const tooBig = 18
const constraint = 19
const notADatabase = 26

const damaged = "the file is damaged: restore a copy, or run \".recover\" of the sqlite3 program to save what is left"

const advice: Record<number, string> = {
  [readOnly]: "the file or its folder is read-only: allow this user to write both",
  [ioError]: "the disk failed, or the folder is on a file system without shared memory: use a local disk",
  [corrupt]: damaged,
  [constraint]: damaged,
  [tooBig]: "the file holds more in one place than backq ever writes: another program changed it; restore a copy",
  [cantOpen]: "the file can't be opened: check that its folder exists and that this user may write to it",
  [notADatabase]: "the file is not a SQLite database: give another path"
}

/** SQLite's primary result code, if the error is SQLite's. */
const resultCode = (cause: unknown): number | undefined =>
  cause instanceof Error && "errcode" in cause && typeof cause.errcode === "number" ? cause.errcode & 0xff : undefined

/** Whether another connection holds a lock, so that a retry helps. */
export const isBusy = (cause: unknown): boolean => {
  const code = resultCode(cause)
  return code === busy || code === locked
}

/** Whether a row is not as backq writes it, or holds a number too large for JavaScript. */
const isDamage = (cause: unknown): cause is Error =>
  cause instanceof Damaged || cause instanceof RangeError && "code" in cause && cause.code === "ERR_OUT_OF_RANGE"

/** Whether the error is SQLite's or about the file. Otherwise the arguments of one operation caused it. */
export const isOfSqlite = (cause: unknown): boolean =>
  cause instanceof FileUnusable || isDamage(cause) || resultCode(cause) !== undefined

/** Whether the operation did nothing because the file was moved. */
export const isMoved = ({ reason }: BrokerError): boolean =>
  reason._tag === "Unavailable" && reason.cause instanceof FileUnusable && reason.cause.problem === "Moved"

/** Whether the disk is full. */
export const isFull = (cause: unknown): boolean => resultCode(cause) === full

const detailOf = (cause: unknown): string => {
  if (cause instanceof FileUnusable) return cause.message
  if (isBusy(cause)) return "another program has locked the file for longer than busyTimeout: end it, or wait for it"
  const text = safeLine(messageOfThrown(cause))
  if (isDamage(cause)) return `${damaged} (${text})`
  const code = resultCode(cause)
  return code !== undefined && advice[code] !== undefined ? `${advice[code]} (${text})` : text
}

/** The `BrokerError` for an error of SQLite or of the file. */
export const failure = (broker: string, cause: unknown, fate: Unavailable["fate"] = "NotSent"): BrokerError =>
  isFull(cause)
    ? brokerError(new OutOfMemory({ broker }))
    : brokerError(new Unavailable({ broker, fate, detail: detailOf(cause), cause }))

/** The disk failed to write what it had accepted. */
export const diskFailed = (broker: string, cause: unknown, fate: Unavailable["fate"]): BrokerError =>
  brokerError(
    new Unavailable({
      broker,
      fate,
      detail: `the disk failed to write (${safeLine(messageOfThrown(cause))}). The broker accepts nothing until it ` +
        "has written all of the log to the file: check the disk",
      cause
    })
  )
