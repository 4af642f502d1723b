/**
 * The frames of HTTP/2. RFC 9113, sections 4 and 6.
 *
 * `FrameReader` splits a stream of bytes into frames, however the network cut the
 * bytes. The functions below it write whole frames to an `Output`.
 */
import { Output } from "../session/output.ts"

/** The first bytes of a client. RFC 9113, section 3.4. */
export const preface: Uint8Array = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

export const headerSize = 9
/** The largest payload of a frame, in bytes, by default. This client never announces another. */
export const maxFrameSize = 16384
/** The initial flow-control window of streams and connections, in bytes. */
export const initialWindow = 65535
export const maxWindow = 0x7fffffff

/** The frame types. */
export const Type = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9
} as const

/** The frame flags. */
export const Flag = { ack: 0x1, endStream: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const

/** The settings, by the names of RFC 9113, section 6.5.2. */
export const Setting = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6
} as const

/** The error codes. RFC 9113, section 7. */
export const Code = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  flowControlError: 3,
  settingsTimeout: 4,
  streamClosed: 5,
  frameSizeError: 6,
  refusedStream: 7,
  cancel: 8,
  compressionError: 9,
  connectError: 10,
  enhanceYourCalm: 11,
  inadequateSecurity: 12,
  http11Required: 13
} as const

const codeNames = [
  "NO_ERROR",
  "PROTOCOL_ERROR",
  "INTERNAL_ERROR",
  "FLOW_CONTROL_ERROR",
  "SETTINGS_TIMEOUT",
  "STREAM_CLOSED",
  "FRAME_SIZE_ERROR",
  "REFUSED_STREAM",
  "CANCEL",
  "COMPRESSION_ERROR",
  "CONNECT_ERROR",
  "ENHANCE_YOUR_CALM",
  "INADEQUATE_SECURITY",
  "HTTP_1_1_REQUIRED"
]

/** The name of an error code, for messages. */
export const codeName = (code: number): string => codeNames[code] ?? `error ${code}`

/** A violation of the protocol that ends the connection. RFC 9113, section 5.4.1. */
export interface ConnectionError {
  readonly code: number
  readonly detail: string
}

/** Makes a {@link ConnectionError}. */
export const connectionError = (code: number, detail: string): ConnectionError => ({ code, detail })

/** Handles a frame. Its payload is `bytes` from `start` to `end`, valid until the handler returns. */
export type FrameHandler = (
  type: number,
  flags: number,
  stream: number,
  bytes: Buffer,
  start: number,
  end: number
) => ConnectionError | undefined

/** Splits bytes into frames. */
export class FrameReader {
  /** The first bytes of an incomplete frame. */
  private readonly partial = Buffer.allocUnsafe(headerSize + maxFrameSize)
  private held = 0
  private readonly handle: FrameHandler

  constructor(handle: FrameHandler) {
    this.handle = handle
  }

  /** Takes the next bytes. Do not call it again after an error. */
  feed(chunk: Uint8Array): ConnectionError | undefined {
    const bytes = chunk instanceof Buffer ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
    let at = 0
    if (this.held > 0) {
      at = this.complete(bytes)
      if (this.held < headerSize) return undefined
      const length = this.partial.readUIntBE(0, 3)
      if (length > maxFrameSize) return tooLarge(length)
      if (this.held < headerSize + length) return undefined
      this.held = 0
      const error = this.frame(this.partial, 0, length)
      if (error !== undefined) return error
    }
    while (bytes.length - at >= headerSize) {
      const length = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!
      if (length > maxFrameSize) return tooLarge(length)
      if (bytes.length - at < headerSize + length) break
      const error = this.frame(bytes, at, length)
      if (error !== undefined) return error
      at += headerSize + length
    }
    this.partial.set(bytes.subarray(at))
    this.held = bytes.length - at
    return undefined
  }

  /** Adds bytes to the incomplete frame, at most to its end. Returns how many it used. */
  private complete(bytes: Buffer): number {
    let taken = 0
    if (this.held < headerSize) {
      taken = this.hold(bytes, 0, headerSize)
      if (this.held < headerSize) return taken
    }
    const length = Math.min(this.partial.readUIntBE(0, 3), maxFrameSize)
    return taken + this.hold(bytes, taken, headerSize + length)
  }

  private hold(bytes: Buffer, from: number, upTo: number): number {
    const taken = Math.min(upTo - this.held, bytes.length - from)
    bytes.copy(this.partial, this.held, from, from + taken)
    this.held += taken
    return taken
  }

  private frame(bytes: Buffer, at: number, length: number): ConnectionError | undefined {
    const stream = bytes.readUInt32BE(at + 5) & 0x7fffffff
    const start = at + headerSize
    return this.handle(bytes[at + 3]!, bytes[at + 4]!, stream, bytes, start, start + length)
  }
}

const tooLarge = (length: number): ConnectionError =>
  connectionError(Code.frameSizeError, `a frame of ${length} bytes; at most ${maxFrameSize} are allowed`)

/** Writes the header of a frame. */
export const putHeader = (out: Output, length: number, type: number, flags: number, stream: number): void => {
  out.reserve(headerSize)
  const { bytes, size } = out
  bytes[size] = length >>> 16
  bytes[size + 1] = length >>> 8
  bytes[size + 2] = length
  bytes[size + 3] = type
  bytes[size + 4] = flags
  bytes[size + 5] = stream >>> 24
  bytes[size + 6] = stream >>> 16
  bytes[size + 7] = stream >>> 8
  bytes[size + 8] = stream
  out.size = size + headerSize
}

const putUint32 = (out: Output, value: number): void => {
  out.reserve(4)
  out.size = out.bytes.writeUInt32BE(value, out.size)
}

/** Writes SETTINGS from pairs of a `Setting` and its value. */
export const putSettings = (out: Output, settings: ReadonlyArray<readonly [setting: number, value: number]>): void => {
  putHeader(out, settings.length * 6, Type.settings, 0, 0)
  for (const [setting, value] of settings) {
    out.reserve(2)
    out.size = out.bytes.writeUInt16BE(setting, out.size)
    putUint32(out, value)
  }
}

export const putSettingsAck = (out: Output): void => putHeader(out, 0, Type.settings, Flag.ack, 0)

/** Writes a PING with 8 bytes of data. */
export const putPing = (out: Output, flags: number, data: Uint8Array): void => {
  putHeader(out, 8, Type.ping, flags, 0)
  out.append(data)
}

export const putWindowUpdate = (out: Output, stream: number, increment: number): void => {
  putHeader(out, 4, Type.windowUpdate, 0, stream)
  putUint32(out, increment)
}

export const putRstStream = (out: Output, stream: number, code: number): void => {
  putHeader(out, 4, Type.rstStream, 0, stream)
  putUint32(out, code)
}

/** Writes a GOAWAY. A client processes no streams of a server, so the last stream is 0. */
export const putGoaway = (out: Output, code: number, debug: string): void => {
  const bytes = Buffer.from(debug)
  putHeader(out, 8 + bytes.length, Type.goaway, 0, 0)
  putUint32(out, 0)
  putUint32(out, code)
  out.append(bytes)
}

/** Writes a part of a body as DATA. */
export const putData = (
  out: Output,
  stream: number,
  body: Uint8Array,
  from: number,
  to: number,
  flags: number
): void => {
  putHeader(out, to - from, Type.data, flags, stream)
  out.append(from === 0 && to === body.length ? body : body.subarray(from, to))
}

/**
 * Turns a written header block into HEADERS, with CONTINUATION if the block is too
 * large for one frame. The block has space for a frame header before it, at `start`.
 */
export const closeHeaders = (out: Output, start: number, stream: number, flags: number, maxSize: number): void => {
  const end = out.size
  const length = end - start - headerSize
  const whole = length <= maxSize
  const block = whole ? undefined : Uint8Array.from(out.bytes.subarray(start + headerSize, end))
  out.size = start
  if (block === undefined) {
    putHeader(out, length, Type.headers, flags | Flag.endHeaders, stream)
    out.size = end
    return
  }
  for (let at = 0; at < length; at += maxSize) {
    const next = Math.min(at + maxSize, length)
    const last = next === length ? Flag.endHeaders : 0
    if (at === 0) putHeader(out, next, Type.headers, flags | last, stream)
    else putHeader(out, next - at, Type.continuation, last, stream)
    out.append(block.subarray(at, next))
  }
}
