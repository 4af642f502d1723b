/** The other side of a session, frame by frame, without a socket. */
import * as Result from "effect/Result"
import type { Answer, Request } from "../../src/http2/Connection.ts"
import { Code, Flag, preface, Setting, Type } from "../../src/http2/frame/frame.ts"
import { HpackDecoder } from "../../src/http2/hpack/decoder.ts"
import { HpackEncoder } from "../../src/http2/hpack/encoder.ts"
import type { Field } from "../../src/http2/hpack/staticTable.ts"
import { Output } from "../../src/http2/session/output.ts"
import { Session, type SessionEnding, type SessionOptions } from "../../src/http2/session/session.ts"

/** A frame, of any kind and with any flaw. */
export const frame = (type: number, flags: number, stream: number, payload: Uint8Array | string = ""): Buffer => {
  const bytes = Buffer.from(payload)
  const header = Buffer.alloc(9)
  header.writeUIntBE(bytes.length, 0, 3)
  header.writeUInt8(type, 3)
  header.writeUInt8(flags, 4)
  header.writeUInt32BE(stream, 5)
  return Buffer.concat([header, bytes])
}

const uint32 = (...values: ReadonlyArray<number>): Buffer => {
  const bytes = Buffer.alloc(values.length * 4)
  values.forEach((value, i) => bytes.writeUInt32BE(value >>> 0, i * 4))
  return bytes
}

/** SETTINGS of pairs of an identifier and a value. */
export const settings = (...pairs: ReadonlyArray<readonly [number, number]>): Buffer => {
  const payload = Buffer.alloc(pairs.length * 6)
  pairs.forEach(([id, value], i) => {
    payload.writeUInt16BE(id, i * 6)
    payload.writeUInt32BE(value, i * 6 + 2)
  })
  return frame(Type.settings, 0, 0, payload)
}

/** A header block that touches no table. */
export const block = (fields: ReadonlyArray<Field>): Buffer => {
  const out = new Output()
  const encoder = new HpackEncoder()
  for (const [name, value] of fields) encoder.header(out, name, value, false)
  return Buffer.from(out.view())
}

export const headers = (stream: number, fields: ReadonlyArray<Field>, flags = Flag.endHeaders as number): Buffer =>
  frame(Type.headers, flags, stream, block(fields))

/** A whole answer: its status, and its body if there is one. */
export const answer = (stream: number, status = 200, body = ""): Buffer =>
  body === ""
    ? headers(stream, [[":status", String(status)]], Flag.endHeaders | Flag.endStream)
    : Buffer.concat([headers(stream, [[":status", String(status)]]), data(stream, body)])

export const data = (stream: number, body: string | Uint8Array, flags = Flag.endStream as number): Buffer =>
  frame(Type.data, flags, stream, body)

export const rst = (stream: number, code: number): Buffer => frame(Type.rstStream, 0, stream, uint32(code))

export const goaway = (last: number, code: number, debug = ""): Buffer =>
  frame(Type.goaway, 0, 0, Buffer.concat([uint32(last, code), Buffer.from(debug)]))

export const windowUpdate = (stream: number, increment: number): Buffer =>
  frame(Type.windowUpdate, 0, stream, uint32(increment))

export const ping = (flags: number, payload: Uint8Array = Buffer.alloc(8)): Buffer =>
  frame(Type.ping, flags, 0, payload)

const inPieces = block([[":status", "200"], ["apns-id", "x"]])
const end = Flag.endHeaders | Flag.endStream

/** Answers to seven requests: every kind of frame that there is, a table of headers included. */
export const dialogue: ReadonlyArray<Buffer> = [
  settings([Setting.maxConcurrentStreams, 20]),
  headers(1, [[":status", "103"]]),
  frame(
    Type.headers,
    Flag.padded | Flag.priority,
    1,
    Buffer.concat([Buffer.from([2]), Buffer.alloc(5), inPieces.subarray(0, 3), Buffer.alloc(2)])
  ),
  frame(Type.continuation, 0, 1, inPieces.subarray(3, 5)),
  frame(Type.continuation, Flag.endHeaders, 1, inPieces.subarray(5)),
  frame(0x55, 3, 9, "unknown"),
  data(1, "hello", 0),
  data(1, Buffer.concat([Buffer.from([3]), Buffer.from(" world"), Buffer.alloc(3)]), Flag.padded),
  frame(Type.priority, 0, 1, Buffer.alloc(5)),
  windowUpdate(0, 5000),
  windowUpdate(3, 9),
  headers(1, [["x-trailer", "1"]], end),
  ping(0, Buffer.from("12345678")),
  // A field enters the table; the next answer takes it from there; then the table is gone.
  frame(Type.headers, end, 3, Buffer.from([0x88, 0x40, 1, 0x78, 1, 0x31])),
  frame(Type.headers, end, 5, Buffer.from([0x88, 0xbe])),
  frame(Type.settings, Flag.ack, 0),
  frame(Type.headers, end, 7, Buffer.from([0x20, 0x88])),
  rst(9, Code.refusedStream),
  goaway(11, 2, "bye"),
  answer(11, 410, `{"reason":"Unregistered"}`)
]

/** A frame that the session sent. */
export interface Sent {
  readonly type: string
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

const typeNames = Object.fromEntries(Object.entries(Type).map(([name, type]) => [type, name]))

/** How a request ended, in one word, with its status or error code. */
export const brief = (answer: Answer | undefined): string => {
  if (answer === undefined) return "open"
  if (Result.isSuccess(answer)) return String(answer.success.status)
  const { reason } = answer.failure
  const code = "code" in reason && reason.code !== undefined ? ` ${reason.code}` : ""
  return reason._tag === "Timeout" ? `Timeout ${reason.sent ? "sent" : "waiting"}` : `${reason._tag}${code}`
}

/** A session that is played with: a clock that stands still, requests by their number, frames that it sent. */
export class Play {
  now = 1000
  ending: SessionEnding | undefined
  rooms = 0
  readonly answers: Array<Answer | undefined> = []
  readonly session: Session
  private readonly decoder = new HpackDecoder(65536)
  private isFirst = true

  constructor(options: Partial<SessionOptions> = {}) {
    this.session = new Session({
      server: "https://test",
      authority: "test",
      now: () => this.now,
      requestTimeout: 30_000,
      pingTimeout: 10_000,
      idlePing: 60_000,
      maxStreams: 1000,
      maxResponseSize: 100_000,
      ...options
    })
    this.session.onEnd = (ending) => this.ending = ending
    this.session.onRoom = () => this.rooms++
  }

  /** A session that has seen SETTINGS, and whose own opening was already read. */
  static ready(options: Partial<SessionOptions> = {}, ...pairs: ReadonlyArray<readonly [number, number]>): Play {
    const play = new Play(options)
    play.feed(settings(...pairs))
    play.sent()
    return play
  }

  /** Submits requests; each ends in `answers` at its number. */
  submit(count: number, request: Partial<Request> = {}, timeout?: number) {
    return Array.from({ length: count }, () => {
      const i = this.answers.push(undefined) - 1
      return this.session.submit({ method: "POST", path: `/${i}`, ...request }, (answer) => {
        if (this.answers[i] !== undefined) throw new Error(`request ${i} was settled twice`)
        this.answers[i] = answer
      }, timeout)
    })
  }

  feed(...frames: ReadonlyArray<Uint8Array>): void {
    for (const bytes of frames) this.session.feed(bytes)
  }

  /** Flushes, and gives the frames that leave. */
  sent(): Array<Sent> {
    this.session.flush()
    let bytes = this.session.take()
    if (bytes === undefined) return []
    if (this.isFirst) {
      if (!Buffer.from(bytes).subarray(0, preface.length).equals(preface)) throw new Error("no preface")
      bytes = bytes.subarray(preface.length)
      this.isFirst = false
    }
    // Frames of any size: a peer may allow more than `FrameReader` takes.
    const frames: Array<Sent> = []
    const all = Buffer.from(bytes)
    for (let at = 0; at < all.length;) {
      const end = at + 9 + all.readUIntBE(at, 3)
      const type = typeNames[all[at + 3]!]!
      frames.push({ type, flags: all[at + 4]!, stream: all.readUInt32BE(at + 5), payload: all.subarray(at + 9, end) })
      at = end
    }
    return frames
  }

  /** As `sent`, in words: "headers 1", "data 1", "rstStream 3". */
  words(): Array<string> {
    return this.sent().map(({ stream, type }) => stream === 0 ? type : `${type} ${stream}`)
  }

  /** The fields of a header block that was sent; to be called for each, in order. */
  fields(sent: Sent): Array<Field> {
    const fields: Array<Field> = []
    const wrong = this.decoder.decode(sent.payload, 0, sent.payload.length, fields)
    if (wrong !== undefined) throw new Error(wrong)
    return fields
  }

  get hasEnded(): boolean {
    return this.ending !== undefined
  }

  brief(): Array<string> {
    return this.answers.map(brief)
  }

  /** The code of the GOAWAY with which it left, or undefined. */
  left(): number | undefined {
    return this.sent().findLast(({ type }) => type === "goaway")?.payload.readUInt32BE(4)
  }
}
