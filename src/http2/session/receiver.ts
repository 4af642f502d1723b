/**
 * Checks each frame of the peer and calls the session for what it means. RFC 9113,
 * section 6. A violation within one stream resets that stream. A violation of the
 * connection is returned as an error.
 */
import type { Flood } from "../frame/flood.ts"
import { Code, type ConnectionError, connectionError, Flag, Type } from "../frame/frame.ts"
import type { Settings } from "../frame/settings.ts"
import { HpackDecoder } from "../hpack/decoder.ts"
import { HeaderBlocks } from "../hpack/headerBlocks.ts"
import type { Field } from "../hpack/staticTable.ts"
import type { Goaway } from "../Message.ts"
import type { Exchange } from "./exchange.ts"
import { connectionWindow, maxHeaderListSize, maxPaddingBytes } from "./preface.ts"
import type { Streams } from "./streams.ts"

/** At most this much of a GOAWAY's debug data is kept: a whole frame, since a part of it is no valid JSON. */
const maxDebugBytes = 16384

/** A WINDOW_UPDATE by less than this counts as an idle frame. */
const smallUpdateBytes = 1024

/** DATA with less than this count as an idle frame, unless they end the response. */
const smallDataBytes = 32

/** A stream's padding is returned to its window from this size on: while a frame with the most padding still fits. */
const maxHeldPaddingBytes = maxPaddingBytes - 256

const protocolError = (detail: string): ConnectionError => connectionError(Code.protocolError, detail)
const frameSizeError = (detail: string): ConnectionError => connectionError(Code.frameSizeError, detail)

/** What the receiver reads of the session, and what it calls. */
export interface Target {
  readonly options: {
    readonly maxResponseSize: number
  }
  /** The open streams, by id. */
  readonly streams: Pick<Streams, "get" | "has">
  readonly settings: Settings
  /** Whether the peer's first SETTINGS have arrived. */
  readonly isReady: boolean
  /** Whether a stream was never opened. RFC 9113, section 5.1: idle. */
  readonly isIdle: (id: number) => boolean
  /** The peer's settings changed. `windowBefore` is the initial window before the change, in bytes. */
  readonly settingsChanged: (windowBefore: number) => ConnectionError | undefined
  /** The peer's window grew, for a stream or (0) for the connection, in bytes. */
  readonly windowGrew: (id: number, increment: number) => ConnectionError | undefined
  /** Grows the window of this client, for a stream or (0) for the connection, in bytes. */
  readonly giveWindow: (id: number, increment: number) => void
  readonly pinged: (data: Uint8Array) => void
  /** The answer to a PING arrived. Returns whether that PING was sent. */
  readonly ponged: (id: number) => boolean
  /** The response is complete. */
  readonly finish: (exchange: Exchange) => void
  /** The peer reset a stream. */
  readonly wasReset: (exchange: Exchange, code: number) => void
  /** Resets a stream whose response breaks a rule or a limit. */
  readonly reset: (exchange: Exchange, code: number, what: string) => void
  /** The peer sent a GOAWAY, perhaps not its first. */
  readonly goneAway: (goaway: Goaway) => void
}

/** Handles the frames of one connection, in order. */
export class Receiver {
  private readonly session: Target
  private readonly decoder = new HpackDecoder(maxHeaderListSize)
  private readonly blocks = new HeaderBlocks()
  private readonly flood: Flood
  /** How many bytes of bodies the peer may still send, and how many arrived since the last WINDOW_UPDATE. */
  private window = connectionWindow
  private taken = 0

  constructor(session: Target, flood: Flood) {
    this.session = session
    this.flood = flood
  }

  frame(
    type: number,
    flags: number,
    id: number,
    bytes: Buffer,
    start: number,
    end: number
  ): ConnectionError | undefined {
    if (this.blocks.stream !== 0 && (type !== Type.continuation || id !== this.blocks.stream)) {
      return protocolError("a frame inside a header block")
    }
    // A server that shuts down may start with GOAWAY: it does speak HTTP/2.
    if (!this.session.isReady && type !== Type.goaway && (type !== Type.settings || (flags & Flag.ack) !== 0)) {
      return protocolError("another first frame than SETTINGS")
    }
    switch (type) {
      case Type.headers:
        return this.headers(flags, id, bytes, start, end)
      case Type.data:
        return this.data(flags, id, bytes, start, end)
      case Type.windowUpdate:
        return this.windowUpdate(id, bytes, start, end)
      case Type.rstStream:
        return this.rstStream(id, bytes, start, end)
      case Type.settings:
        return this.settings(flags, id, bytes, start, end)
      case Type.ping:
        return this.ping(flags, id, bytes, start, end)
      case Type.goaway:
        return this.goaway(id, bytes, start, end)
      case Type.continuation:
        return this.continuation(flags, id, bytes, start, end)
      case Type.pushPromise:
        return protocolError("PUSH_PROMISE, which this client disabled")
      case Type.priority:
        return this.priority(id, end - start)
      default:
        return this.flood.idle()
    }
  }

  private headers(
    flags: number,
    id: number,
    bytes: Buffer,
    start: number,
    end: number
  ): ConnectionError | undefined {
    if (this.session.isIdle(id)) return protocolError("HEADERS for an idle stream")
    if ((flags & (Flag.padded | Flag.priority)) !== 0) {
      const padding = (flags & Flag.padded) === 0 ? 0 : start < end ? bytes[start++]! : -1
      if ((flags & Flag.priority) !== 0) start += 5
      if (padding < 0 || start > end) return frameSizeError("HEADERS that are too short for their flags")
      end -= padding
      if (start > end) return protocolError("HEADERS with more padding than payload")
    }
    const isLast = (flags & Flag.endStream) !== 0
    if ((flags & Flag.endHeaders) !== 0) return this.block(id, isLast, bytes, start, end)
    this.blocks.begin(id, isLast)
    return this.blocks.add(bytes, start, end)
  }

  private continuation(
    flags: number,
    id: number,
    bytes: Buffer,
    start: number,
    end: number
  ): ConnectionError | undefined {
    if (this.blocks.stream === 0) return protocolError("CONTINUATION without HEADERS")
    const error = this.blocks.add(bytes, start, end)
    if (error !== undefined || (flags & Flag.endHeaders) === 0) return error
    const block = this.blocks.finish()
    return this.block(id, this.blocks.isLast, block, 0, block.length)
  }

  private block(
    id: number,
    isLast: boolean,
    bytes: Buffer,
    start: number,
    end: number
  ): ConnectionError | undefined {
    const fields: Array<Field> = []
    const wrong = this.decoder.decode(bytes, start, end, fields)
    if (wrong !== undefined) return connectionError(Code.compressionError, wrong)
    const { session } = this
    const exchange = session.streams.get(id)
    // The stream was reset by this client.
    if (exchange === undefined) return this.flood.idle()
    if (this.decoder.isOverLimit) {
      session.reset(exchange, Code.cancel, `headers of more than ${maxHeaderListSize} bytes`)
      return undefined
    }
    const malformed = exchange.headers(fields, isLast, this.decoder.listSize)
    if (malformed !== undefined) {
      session.reset(exchange, Code.protocolError, malformed)
      return undefined
    }
    if (!isLast) return exchange.isAnswered ? undefined : this.flood.idle()
    session.finish(exchange)
    return undefined
  }

  private data(flags: number, id: number, bytes: Buffer, start: number, end: number): ConnectionError | undefined {
    const { session } = this
    if (session.isIdle(id)) return protocolError("DATA for an idle stream")
    const size = end - start
    this.window -= size
    if (this.window < 0) return connectionError(Code.flowControlError, "more DATA than its window allows")
    this.taken += size
    if (this.taken >= connectionWindow / 2) {
      session.giveWindow(0, this.taken)
      this.window += this.taken
      this.taken = 0
    }
    if ((flags & Flag.padded) !== 0) {
      if (size === 0) return frameSizeError("DATA that are too short for their flags")
      end -= bytes[start++]!
      if (start > end) return protocolError("DATA with more padding than payload")
    }
    const isLast = (flags & Flag.endStream) !== 0
    const exchange = session.streams.get(id)
    const isSmall = end - start < smallDataBytes
    if (exchange === undefined) return isSmall ? this.flood.idle() : undefined
    if (!exchange.isAnswered) {
      session.reset(exchange, Code.protocolError, "a body before its headers")
      return undefined
    }
    if (exchange.received + end - start > session.options.maxResponseSize) {
      session.reset(exchange, Code.cancel, `a response of more than ${session.options.maxResponseSize} bytes`)
      return undefined
    }
    if (start < end) {
      if (!exchange.hasBody) {
        session.reset(exchange, Code.protocolError, "a body that its request or status forbids")
        return undefined
      }
      exchange.data(bytes, start, end)
    }
    if (isLast) {
      session.finish(exchange)
      return undefined
    }
    exchange.padding += size - (end - start)
    if (exchange.padding >= maxHeldPaddingBytes) {
      session.giveWindow(id, exchange.padding)
      exchange.padding = 0
    }
    return isSmall ? this.flood.idle() : undefined
  }

  private windowUpdate(id: number, bytes: Buffer, start: number, end: number): ConnectionError | undefined {
    if (end - start !== 4) return frameSizeError("WINDOW_UPDATE with an invalid length")
    if (id !== 0 && this.session.isIdle(id)) return protocolError("WINDOW_UPDATE for an idle stream")
    const increment = bytes.readUInt32BE(start) & 0x7fffffff
    if (increment === 0) {
      if (id === 0) return protocolError("WINDOW_UPDATE by 0")
      const exchange = this.session.streams.get(id)
      if (exchange !== undefined) this.session.reset(exchange, Code.protocolError, "WINDOW_UPDATE by 0")
    }
    const error = this.session.windowGrew(id, increment)
    // The limit of a window bounds large updates, but not those of a closed stream.
    const isIdleFrame = increment < smallUpdateBytes || (id !== 0 && !this.session.streams.has(id))
    return error === undefined && isIdleFrame ? this.flood.idle() : error
  }

  private priority(id: number, size: number): ConnectionError | undefined {
    if (id === 0) return protocolError("PRIORITY for stream 0")
    const exchange = this.session.streams.get(id)
    if (size !== 5 && exchange !== undefined) {
      this.session.reset(exchange, Code.frameSizeError, "PRIORITY with an invalid length")
    }
    return this.flood.idle()
  }

  private rstStream(id: number, bytes: Buffer, start: number, end: number): ConnectionError | undefined {
    if (end - start !== 4) return frameSizeError("RST_STREAM with an invalid length")
    if (this.session.isIdle(id)) return protocolError("RST_STREAM for an idle stream")
    const exchange = this.session.streams.get(id)
    if (exchange === undefined) return this.flood.idle()
    this.session.wasReset(exchange, bytes.readUInt32BE(start))
    return undefined
  }

  private settings(
    flags: number,
    id: number,
    bytes: Buffer,
    start: number,
    end: number
  ): ConnectionError | undefined {
    if (id !== 0) return protocolError("SETTINGS for a stream")
    if ((flags & Flag.ack) !== 0) {
      if (end !== start) return frameSizeError("an acknowledgement of SETTINGS with a payload")
      this.decoder.allow(0)
      return this.flood.idle()
    }
    const { settings } = this.session
    const windowBefore = settings.initialWindowSize
    return settings.read(bytes, start, end) ?? this.session.settingsChanged(windowBefore) ?? this.flood.idle()
  }

  private ping(flags: number, id: number, bytes: Buffer, start: number, end: number): ConnectionError | undefined {
    if (id !== 0) return protocolError("PING for a stream")
    if (end - start !== 8) return frameSizeError("PING with an invalid length")
    if ((flags & Flag.ack) !== 0) {
      return this.session.ponged(bytes.readUInt32BE(start + 4)) ? undefined : this.flood.idle()
    }
    this.session.pinged(bytes.subarray(start, end))
    return this.flood.idle()
  }

  private goaway(id: number, bytes: Buffer, start: number, end: number): ConnectionError | undefined {
    if (id !== 0) return protocolError("GOAWAY for a stream")
    if (end - start < 8) return frameSizeError("GOAWAY with an invalid length")
    this.session.goneAway({
      lastStreamId: bytes.readUInt32BE(start) & 0x7fffffff,
      code: bytes.readUInt32BE(start + 4),
      debug: bytes.toString("utf8", start + 8, Math.min(end, start + 8 + maxDebugBytes))
    })
    return this.flood.idle()
  }
}
