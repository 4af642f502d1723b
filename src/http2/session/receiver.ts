/**
 * Understands the frames of the peer: checks each, and tells the session what
 * it means. RFC 9113, section 6. What breaks the rules for one stream resets
 * that stream; what breaks those of the connection is returned.
 */
import { connectionWindow, maxHeaderListSize, maxPadding } from "../dial/preface.ts"
import type { Flood } from "../frame/flood.ts"
import { Code, type ConnectionError, connectionError, Flag, Type } from "../frame/frame.ts"
import type { Settings } from "../frame/settings.ts"
import { HpackDecoder } from "../hpack/decoder.ts"
import { HeaderBlocks } from "../hpack/headerBlocks.ts"
import type { Field } from "../hpack/staticTable.ts"
import type { Goaway } from "../Message.ts"
import type { Exchange } from "./exchange.ts"

/** The most of a GOAWAY's debug data that is kept, in bytes: all of a frame. Cut short it would be no JSON any more. */
const maxDebugSize = 16384

/** A WINDOW_UPDATE by less than this is small, in bytes. */
const smallUpdate = 1024

/** DATA with less than this that are not the last of their answer bring it no further, in bytes. */
const smallData = 32

/** So much padding of a stream is given back: before a frame with the most of it does not fit any more. */
const paddingToGive = maxPadding - 256

const protocolError = (detail: string): ConnectionError => connectionError(Code.protocolError, detail)
const frameSizeError = (detail: string): ConnectionError => connectionError(Code.frameSizeError, detail)

/** What the receiver knows of the connection, and what it tells. */
export interface Target {
  readonly options: {
    /** In bytes. */
    readonly maxResponseSize: number
  }
  /** Those that are open, by their id. */
  readonly streams: ReadonlyMap<number, Exchange>
  readonly settings: Settings
  /** Have the peer's first SETTINGS come? */
  readonly isReady: boolean
  /** Was there never such a stream? RFC 9113, section 5.1: idle. */
  readonly isIdle: (id: number) => boolean
  /** The peer's settings have changed; `windowBefore` is the initial window that held until now. */
  readonly settingsChanged: (windowBefore: number) => ConnectionError | undefined
  /** The peer takes so many bytes more, on a stream or (0) on all together. */
  readonly windowGrew: (id: number, increment: number) => ConnectionError | undefined
  /** We take so many bytes more. */
  readonly giveWindow: (id: number, increment: number) => void
  readonly pinged: (data: Uint8Array) => void
  /** A PING of ours came back. Says whether it was one. */
  readonly ponged: (id: number) => boolean
  /** The answer is complete. */
  readonly finish: (exchange: Exchange) => void
  /** The peer has reset a stream. */
  readonly wasReset: (exchange: Exchange, code: number) => void
  /** The answer can't be taken: the stream is to be reset. */
  readonly reset: (exchange: Exchange, code: number, what: string) => void
  /** The peer takes no more requests, and says so perhaps not for the first time. */
  readonly goneAway: (goaway: Goaway) => void
}

/** Takes the frames of one connection, in order. */
export class Receiver {
  private readonly session: Target
  private readonly decoder = new HpackDecoder(maxHeaderListSize)
  private readonly blocks = new HeaderBlocks()
  private readonly flood: Flood
  /** What we may still be sent in bodies, and what we have taken since we last said so. */
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
      return protocolError("a frame amid a header block")
    }
    // A server that is going may say so first of all: that is no other protocol.
    if (!this.session.isReady && type !== Type.goaway && (type !== Type.settings || (flags & Flag.ack) !== 0)) {
      return protocolError("a first frame that is not SETTINGS")
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
        return protocolError("PUSH_PROMISE, which was turned off")
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
    if (this.session.isIdle(id)) return protocolError("HEADERS of a stream that is not open")
    if ((flags & (Flag.padded | Flag.priority)) !== 0) {
      const padding = (flags & Flag.padded) === 0 ? 0 : start < end ? bytes[start++]! : -1
      if ((flags & Flag.priority) !== 0) start += 5
      if (padding < 0 || start > end) return frameSizeError("HEADERS that are too short")
      end -= padding
      if (start > end) return protocolError("more padding than HEADERS")
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
    if (this.blocks.stream === 0) return protocolError("CONTINUATION of nothing")
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
    // Of a stream that we gave up.
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
    if (session.isIdle(id)) return protocolError("DATA of a stream that is not open")
    const size = end - start
    this.window -= size
    if (this.window < 0) return connectionError(Code.flowControlError, "more DATA than its window")
    this.taken += size
    if (this.taken >= connectionWindow / 2) {
      session.giveWindow(0, this.taken)
      this.window += this.taken
      this.taken = 0
    }
    if ((flags & Flag.padded) !== 0) {
      if (size === 0) return frameSizeError("DATA that are too short")
      end -= bytes[start++]!
      if (start > end) return protocolError("more padding than DATA")
    }
    const isLast = (flags & Flag.endStream) !== 0
    const exchange = session.streams.get(id)
    const isSmall = end - start < smallData
    if (exchange === undefined) return isSmall ? this.flood.idle() : undefined
    if (!exchange.isAnswered) {
      session.reset(exchange, Code.protocolError, "a body before its headers")
      return undefined
    }
    if (exchange.received + end - start > session.options.maxResponseSize) {
      session.reset(exchange, Code.cancel, `an answer of more than ${session.options.maxResponseSize} bytes`)
      return undefined
    }
    if (start < end) {
      if (!exchange.hasBody) {
        session.reset(exchange, Code.protocolError, "a body where there can't be one")
        return undefined
      }
      exchange.data(bytes, start, end)
    }
    if (isLast) {
      session.finish(exchange)
      return undefined
    }
    exchange.padding += size - (end - start)
    if (exchange.padding >= paddingToGive) {
      session.giveWindow(id, exchange.padding)
      exchange.padding = 0
    }
    return isSmall ? this.flood.idle() : undefined
  }

  private windowUpdate(id: number, bytes: Buffer, start: number, end: number): ConnectionError | undefined {
    if (end - start !== 4) return frameSizeError("WINDOW_UPDATE of a length that is none")
    if (id !== 0 && this.session.isIdle(id)) return protocolError("WINDOW_UPDATE of a stream that is not open")
    const increment = bytes.readUInt32BE(start) & 0x7fffffff
    if (increment === 0) {
      if (id === 0) return protocolError("WINDOW_UPDATE by 0")
      const exchange = this.session.streams.get(id)
      if (exchange !== undefined) this.session.reset(exchange, Code.protocolError, "WINDOW_UPDATE by 0")
    }
    const error = this.session.windowGrew(id, increment)
    // Large ones can't be many: the window has a limit. That of a stream that is closed has none.
    const isForNothing = increment < smallUpdate || (id !== 0 && !this.session.streams.has(id))
    return error === undefined && isForNothing ? this.flood.idle() : error
  }

  private priority(id: number, size: number): ConnectionError | undefined {
    if (id === 0) return protocolError("PRIORITY of no stream")
    const exchange = this.session.streams.get(id)
    if (size !== 5 && exchange !== undefined) {
      this.session.reset(exchange, Code.frameSizeError, "PRIORITY of a length that is none")
    }
    return this.flood.idle()
  }

  private rstStream(id: number, bytes: Buffer, start: number, end: number): ConnectionError | undefined {
    if (end - start !== 4) return frameSizeError("RST_STREAM of a length that is none")
    if (this.session.isIdle(id)) return protocolError("RST_STREAM of a stream that is not open")
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
    if (id !== 0) return protocolError("SETTINGS of a stream")
    if ((flags & Flag.ack) !== 0) {
      if (end !== start) return frameSizeError("an acknowledgement of SETTINGS that is not empty")
      this.decoder.allow(0)
      return this.flood.idle()
    }
    const { settings } = this.session
    const windowBefore = settings.initialWindowSize
    return settings.read(bytes, start, end) ?? this.session.settingsChanged(windowBefore) ?? this.flood.idle()
  }

  private ping(flags: number, id: number, bytes: Buffer, start: number, end: number): ConnectionError | undefined {
    if (id !== 0) return protocolError("PING of a stream")
    if (end - start !== 8) return frameSizeError("PING of a length that is none")
    if ((flags & Flag.ack) !== 0) {
      return this.session.ponged(bytes.readUInt32BE(start + 4)) ? undefined : this.flood.idle()
    }
    this.session.pinged(bytes.subarray(start, end))
    return this.flood.idle()
  }

  private goaway(id: number, bytes: Buffer, start: number, end: number): ConnectionError | undefined {
    if (id !== 0) return protocolError("GOAWAY of a stream")
    if (end - start < 8) return frameSizeError("GOAWAY of a length that is none")
    this.session.goneAway({
      lastStreamId: bytes.readUInt32BE(start) & 0x7fffffff,
      code: bytes.readUInt32BE(start + 4),
      debug: bytes.toString("utf8", start + 8, Math.min(end, start + 8 + maxDebugSize))
    })
    return this.flood.idle()
  }
}
