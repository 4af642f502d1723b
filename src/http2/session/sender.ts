/**
 * Writes requests: their header blocks, and as much of their bodies as the peer's
 * flow control allows. RFC 9113, sections 5.2 and 8.1.
 */
import * as Frame from "../frame/frame.ts"
import type { Settings } from "../frame/settings.ts"
import { HpackEncoder } from "../hpack/encoder.ts"
import type { Header } from "../Message.ts"
import type { Exchange } from "./exchange.ts"
import type { Output } from "./output.ts"

const windowOverflow = Frame.connectionError(Frame.Code.flowControlError, "a window above 2^31-1")

/** A frame carries at most this much, even if the peer accepts more, because other requests wait behind it. */
const maxDataBytes = 65536

/** Whether it is a token: RFC 9110, section 5.6.2. CONNECT, which has no path, is not supported. */
const isMethod = (method: string): boolean => /^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/.test(method) && method !== "CONNECT"

/** Whether it starts with "/", or is the "*" of OPTIONS. RFC 9113, section 8.3.1. The encoder checks its characters. */
const isPath = (path: string, method: string): boolean =>
  path.charCodeAt(0) === 47 || (path === "*" && method === "OPTIONS")

/** Writes the requests of one connection. */
export class Sender {
  /** The peer's window for all streams together, in bytes. */
  window: number = Frame.initialWindow

  private readonly authority: string
  private readonly settings: Settings
  private readonly encoder = new HpackEncoder()
  private readonly prefixes = new Map<string, ReadonlyArray<Header>>()
  /** The exchanges whose body waits for the peer's window, or for the next write. */
  private blocked: Array<Exchange> = []

  constructor(authority: string, settings: Settings) {
    this.authority = authority
    this.settings = settings
  }

  get isBlocked(): boolean {
    return this.blocked.length > 0
  }

  /**
   * Opens a stream, and writes its body until `out` holds `limit` bytes. Returns the
   * fault if the request is invalid; nothing is written then.
   */
  open(out: Output, exchange: Exchange, id: number, limit: number): string | undefined {
    const { encoder } = this
    const { headers, method, path, shared } = exchange.request
    const start = out.size
    out.reserve(Frame.headerSize)
    out.size += Frame.headerSize
    encoder.begin(out, exchange.body.length)
    const wrong = this.prefix(out, method) ??
      (isPath(path, method) && encoder.path(out, path) ? undefined : `the path ${JSON.stringify(path)} is invalid`) ??
      (shared === undefined ? undefined : encoder.sharedHeaders(out, shared)) ??
      (headers === undefined ? undefined : encoder.headers(out, headers))
    if (wrong !== undefined) {
      out.size = start
      encoder.reset()
      return wrong
    }
    exchange.id = id
    exchange.window = this.settings.initialWindowSize
    const flags = exchange.body.length === 0 ? Frame.Flag.endStream : 0
    Frame.closeHeaders(out, start, id, flags, this.settings.maxFrameSize)
    if (flags === 0) this.body(out, exchange, limit)
    return undefined
  }

  private prefix(out: Output, method: string): string | undefined {
    let prefix = this.prefixes.get(method)
    if (prefix === undefined) {
      if (!isMethod(method)) return `the method ${JSON.stringify(method)} is invalid`
      prefix = [
        { name: ":method", value: method, index: true },
        { name: ":scheme", value: "https", index: true },
        { name: ":authority", value: this.authority, index: true }
      ]
      this.prefixes.set(method, prefix)
    }
    return this.encoder.sharedHeaders(out, prefix, true)
  }

  private body(out: Output, exchange: Exchange, limit: number): void {
    const { body, id } = exchange
    const maxSize = Math.min(this.settings.maxFrameSize, maxDataBytes)
    while (exchange.sent < body.length) {
      const size = Math.min(body.length - exchange.sent, this.window, exchange.window, maxSize)
      if (size <= 0 || out.size >= limit) {
        if (!exchange.isBlocked) this.blocked.push(exchange)
        exchange.isBlocked = true
        return
      }
      const next = exchange.sent + size
      Frame.putData(out, id, body, exchange.sent, next, next === body.length ? Frame.Flag.endStream : 0)
      exchange.sent = next
      exchange.window -= size
      this.window -= size
    }
    exchange.isBlocked = false
  }

  /** Continues the bodies that wait, until `out` holds `limit` bytes. */
  resume(out: Output, limit: number): void {
    for (const exchange of this.blocked) if (!exchange.isSettled) this.body(out, exchange, limit)
    this.blocked = this.blocked.filter((exchange) => exchange.isBlocked && !exchange.isSettled)
  }

  /** The peer's window for all streams together grew, in bytes. */
  grew(increment: number): Frame.ConnectionError | undefined {
    this.window += increment
    return this.window > Frame.maxWindow ? windowOverflow : undefined
  }

  /** The peer's settings changed. `windowBefore` is the initial window before the change. RFC 9113, section 6.9.2. */
  settingsChanged(windowBefore: number, exchanges: Iterable<Exchange>): Frame.ConnectionError | undefined {
    const { headerTableSize, smallestTableSize } = this.settings
    if (smallestTableSize < headerTableSize) this.encoder.setTableSize(smallestTableSize)
    this.encoder.setTableSize(headerTableSize)
    const growth = this.settings.initialWindowSize - windowBefore
    if (growth === 0) return undefined
    for (const exchange of exchanges) {
      exchange.window += growth
      if (exchange.window > Frame.maxWindow) return windowOverflow
    }
    return undefined
  }
}
