/**
 * The replies of beanstalkd's protocol, and an incremental parser for them.
 *
 * A reply does not name its command: replies come in the order of the commands.
 * So after one invalid byte all later bytes are meaningless. The parser stops for
 * good at the first violation, and its caller must close the connection.
 *
 * The parser takes linear time, however the bytes are split into chunks.
 *
 * Source: beanstalkd's doc/protocol.txt, version 1.12.
 */
import { clip, safeLine } from "../../internal/text.ts"
import { maxUint32 } from "../../internal/uint32.ts"

/** One reply. */
export type Reply =
  | { readonly _tag: "Inserted"; readonly id: string }
  /** With an id it is a reply to `put`. */
  | { readonly _tag: "Buried"; readonly id: string | undefined }
  | { readonly _tag: "Reserved"; readonly id: string; readonly body: Uint8Array }
  | { readonly _tag: "Found"; readonly id: string; readonly body: Uint8Array }
  | { readonly _tag: "Ok"; readonly body: Uint8Array }
  | { readonly _tag: "Using"; readonly tube: string }
  | { readonly _tag: "Watching"; readonly count: number }
  /** With a count it is a reply to `kick`, without one to `kick-job`. */
  | { readonly _tag: "Kicked"; readonly count: number | undefined }
  | Word

/** A reply that is one word. */
export interface Word {
  readonly _tag:
    | "Deleted"
    | "Released"
    | "Touched"
    | "Paused"
    | "DeadlineSoon"
    | "TimedOut"
    | "NotFound"
    | "NotIgnored"
    | "ExpectedCrlf"
    | "JobTooBig"
    | "Draining"
    | "OutOfMemory"
    | "InternalError"
    | "BadFormat"
    | "UnknownCommand"
}

const words = new Map<string, Reply>([
  ["DELETED", { _tag: "Deleted" }],
  ["RELEASED", { _tag: "Released" }],
  ["BURIED", { _tag: "Buried", id: undefined }],
  ["TOUCHED", { _tag: "Touched" }],
  ["KICKED", { _tag: "Kicked", count: undefined }],
  ["PAUSED", { _tag: "Paused" }],
  ["DEADLINE_SOON", { _tag: "DeadlineSoon" }],
  ["TIMED_OUT", { _tag: "TimedOut" }],
  ["NOT_FOUND", { _tag: "NotFound" }],
  ["NOT_IGNORED", { _tag: "NotIgnored" }],
  ["EXPECTED_CRLF", { _tag: "ExpectedCrlf" }],
  ["JOB_TOO_BIG", { _tag: "JobTooBig" }],
  ["DRAINING", { _tag: "Draining" }],
  ["OUT_OF_MEMORY", { _tag: "OutOfMemory" }],
  ["INTERNAL_ERROR", { _tag: "InternalError" }],
  ["BAD_FORMAT", { _tag: "BadFormat" }],
  ["UNKNOWN_COMMAND", { _tag: "UnknownCommand" }]
])

/** The line before a body. */
export interface BodyHead {
  readonly _tag: "BodyHead"
  readonly kind: "Reserved" | "Found" | "Ok"
  readonly id: string
  readonly size: number
}

/** Received bytes that break the protocol. `detail` says what they look like. */
export interface Violation {
  readonly _tag: "Violation"
  readonly detail: string
}

/** A longer line breaks the protocol. Real ones have at most 207 bytes. */
const maxLineBytes = 1024
/** beanstalkd's limit for `-z`. */
const maxBodyBytes = 1073741824
const maxUint64 = "18446744073709551615"

const isDigits = (text: string, from: number, to: number): boolean => {
  if (to <= from) return false
  for (let i = from; i < to; i++) {
    const code = text.charCodeAt(i)
    if (code < 48 || code > 57) return false
  }
  return true
}

/** Whether it is an integer as the server writes it: without a sign or leading zeros. */
const isInteger = (text: string, from: number, to: number): boolean =>
  isDigits(text, from, to) && (to - from === 1 || text.charCodeAt(from) !== 48)

/** Whether it is an unsigned 64-bit integer. */
const isId = (text: string, from: number, to: number): boolean =>
  isInteger(text, from, to) && (to - from < 20 || (to - from === 20 && text.slice(from, to) <= maxUint64))

/** A number of at most `max`, or -1. */
const parseNumber = (text: string, from: number, max: number): number => {
  if (text.length - from > 10 || !isInteger(text, from, text.length)) return -1
  const number = Number(text.slice(from))
  return number <= max ? number : -1
}

/** Names the server that a line seems to come from, if it is not beanstalkd's. */
export const describeStranger = (text: string): string => {
  if (/^(HTTP\/|<!doctype|<html)/i.test(text)) return "an HTTP server answers on this port"
  if (text.startsWith("SSH-")) return "an SSH server answers on this port"
  if (/^[\x14-\x17]\x03/.test(text)) {
    return "the server speaks TLS: use the tls option, or a URL that begins with beanstalks://"
  }
  if (/^220[ -]/.test(text)) return "a mail or FTP server answers on this port"
  if (/^-ERR|^\+OK/.test(text)) return "a Redis or POP3 server answers on this port"
  return `it answered "${safeLine(clip(text, 60))}"`
}

const violation = (detail: string): Violation => ({ _tag: "Violation", detail })

const bodyHead = (kind: BodyHead["kind"], text: string, idAt: number): BodyHead | Violation => {
  const sizeAt = kind === "Ok" ? idAt : text.indexOf(" ", idAt) + 1
  const size = sizeAt === 0 ? -1 : parseNumber(text, sizeAt, maxBodyBytes)
  return size < 0 || (kind !== "Ok" && !isId(text, idAt, sizeAt - 1))
    ? violation(describeStranger(text))
    : { _tag: "BodyHead", kind, id: kind === "Ok" ? "" : text.slice(idAt, sizeAt - 1), size }
}

/** Parses one line, without its CRLF. */
export const parseLine = (text: string): Reply | BodyHead | Violation => {
  if (text.startsWith("RESERVED ")) return bodyHead("Reserved", text, 9)
  const word = words.get(text)
  if (word !== undefined) return word
  if (text.startsWith("INSERTED ") && isId(text, 9, text.length)) return { _tag: "Inserted", id: text.slice(9) }
  if (text.startsWith("OK ")) return bodyHead("Ok", text, 3)
  if (text.startsWith("FOUND ")) return bodyHead("Found", text, 6)
  if (text.startsWith("USING ") && text.length > 6) return { _tag: "Using", tube: text.slice(6) }
  if (text.startsWith("WATCHING ")) {
    const count = parseNumber(text, 9, maxUint32)
    if (count > 0) return { _tag: "Watching", count }
  }
  if (text.startsWith("KICKED ")) {
    const count = parseNumber(text, 7, maxUint32)
    if (count >= 0) return { _tag: "Kicked", count }
  }
  if (text.startsWith("BURIED ") && isId(text, 7, text.length)) return { _tag: "Buried", id: text.slice(7) }
  return violation(describeStranger(text))
}

/** The reply of a line and the body after it. */
const withBody = (head: BodyHead, body: Uint8Array): Reply =>
  head.kind === "Ok" ? { _tag: "Ok", body } : { _tag: head.kind, id: head.id, body }

const noBytes = Buffer.alloc(0)
/** A part of a body is kept in its own buffer from this size on. */
const largePartBytes = 4096
const roomBytes = 65_536

const CR = 13
const LF = 10

/** Where the parser puts replies, for example an array. */
export interface Replies {
  readonly push: (reply: Reply) => unknown
}

const asBuffer = (chunk: Uint8Array): Buffer =>
  Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)

/**
 * Turns chunks of bytes into replies. Bodies are copies, because the buffer of a
 * chunk is reused, and a small job must not keep a large chunk in memory.
 */
export class Parser {
  /** The limit of the body after a line, in bytes. */
  private readonly limitOf: (head: BodyHead) => number
  private readonly line = Buffer.allocUnsafeSlow(maxLineBytes)
  private lineLength = 0
  private head: BodyHead | undefined
  private missing = 0
  /** The parts so far of a body that arrives in several chunks. */
  private parts: Array<Buffer> = []
  /** A buffer for small parts, and the bytes of it in use. */
  private room = noBytes
  private used = 0
  private failed: Violation | undefined

  constructor(limitOf: (head: BodyHead) => number = () => maxBodyBytes) {
    this.limitOf = limitOf
  }

  /** The part of a line that has arrived. */
  get unfinishedLine(): string {
    return this.line.toString("latin1", 0, this.lineLength)
  }

  /** Whether a part of a reply has arrived. */
  get isInside(): boolean {
    return this.head !== undefined || this.lineLength > 0
  }

  /** Adds the replies that the chunk completes to `out`. Returns the violation, if there was one. */
  feed(chunk: Uint8Array, out: Replies): Violation | undefined {
    if (this.failed === undefined) this.failed = this.run(asBuffer(chunk), out)
    return this.failed
  }

  private run(chunk: Buffer, out: Replies): Violation | undefined {
    let at = 0
    while (at < chunk.length) {
      if (this.head === undefined) {
        const lf = chunk.indexOf(LF, at)
        const end = lf === -1 ? chunk.length : lf + 1
        if (this.lineLength + end - at > maxLineBytes) {
          const text = this.unfinishedLine + chunk.toString("latin1", at, Math.min(end, at + maxLineBytes))
          return violation(`a line has no end; ${describeStranger(text)}`)
        }
        if (lf === -1 || this.lineLength > 0) {
          chunk.copy(this.line, this.lineLength, at, end)
          this.lineLength += end - at
          at = end
          if (lf === -1) return undefined
          const length = this.lineLength
          this.lineLength = 0
          const bad = this.endOfLine(this.line, 0, length, out)
          if (bad !== undefined) return bad
        } else {
          const bad = this.endOfLine(chunk, at, end, out)
          if (bad !== undefined) return bad
          at = end
        }
      } else {
        const end = Math.min(chunk.length, at + this.missing)
        const part = chunk.subarray(at, end)
        this.missing -= end - at
        at = end
        if (this.missing > 0) {
          this.keep(part)
          return undefined
        }
        const bad = this.endOfBody(this.head, part, out)
        if (bad !== undefined) return bad
      }
    }
    return undefined
  }

  private endOfLine(bytes: Buffer, start: number, end: number, out: Replies): Violation | undefined {
    if (end - start < 2 || bytes[end - 2] !== CR) {
      return violation(describeStranger(bytes.toString("latin1", start, end)))
    }
    const parsed = parseLine(bytes.toString("latin1", start, end - 2))
    if (parsed._tag === "Violation") return parsed
    if (parsed._tag === "BodyHead") {
      const limit = this.limitOf(parsed)
      if (parsed.size > limit) {
        return violation(`it announced a body of ${parsed.size} bytes, but at most ${limit} are possible`)
      }
      this.head = parsed
      this.missing = parsed.size + 2
    } else {
      out.push(parsed)
    }
    return undefined
  }

  /** Keeps a part of a body. Small parts share a buffer: a buffer for each would take far more memory than its bytes. */
  private keep(part: Buffer): void {
    if (part.length >= largePartBytes) {
      this.endRoom()
      this.parts.push(Buffer.from(part))
      return
    }
    if (this.room.length - this.used < part.length) {
      this.endRoom()
      this.room = Buffer.allocUnsafeSlow(Math.min(roomBytes, part.length + this.missing))
    }
    part.copy(this.room, this.used)
    this.used += part.length
  }

  private endRoom(): void {
    if (this.used === 0) return
    this.parts.push(this.room.subarray(0, this.used))
    this.room = this.room.subarray(this.used)
    this.used = 0
  }

  private endOfBody(head: BodyHead, last: Buffer, out: Replies): Violation | undefined {
    let whole = last
    if (this.parts.length > 0 || this.used > 0) {
      this.keep(last)
      this.endRoom()
      whole = Buffer.concat(this.parts)
      this.parts = []
    }
    this.head = undefined
    if (whole[head.size] !== CR || whole[head.size + 1] !== LF) {
      return violation(`a body of ${head.size} bytes is not followed by an end of line`)
    }
    const body = whole.subarray(0, head.size)
    out.push(withBody(head, whole === last ? Buffer.from(body) : body))
    return undefined
  }
}
