/**
 * The state of a connection: which streams are open, what each side allows the
 * other, and what is to be sent. RFC 9113, sections 3 to 6.
 *
 * Bytes go in by `feed`, and come out by `flush` and `take`; there is no socket,
 * timer or fiber in here, so that every situation can be played. All calls are
 * synchronous. `Receiver.ts` understands the frames and calls what is below.
 *
 * Invariants: a request that has an `id` has left, or leaves with the next
 * bytes taken; every request is settled exactly once; a slot is free as soon as
 * its stream is closed for us.
 */
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import type { Answer, Ending, Goaway, Header, Request } from "./Connection.ts"
import * as Frame from "./Frame.ts"
import { HpackEncoder } from "./HpackEncoder.ts"
import * as Http2Error from "./Http2Error.ts"
import { Output } from "./Output.ts"
import { connectionWindow, maxHeaderListSize, Receiver, type Target } from "./Receiver.ts"
import { Settings } from "./Settings.ts"
import { Stream } from "./Stream.ts"

/** Encode at most about this much before the socket has taken it, in bytes. */
const batchSize = 262144

const maxStreamId = 0x7fffffff

/** What a session has to know. Times are in milliseconds. */
export interface SessionOptions {
  readonly server: string
  readonly authority: string
  /** A clock that never goes back. */
  readonly now: () => number
  readonly requestTimeout: number
  readonly pingTimeout: number
  readonly idlePing: number
  readonly maxStreams: number
  readonly maxResponseSize: number
}

interface Ping {
  readonly sentAt: number
  readonly done: (answer: Result.Result<Duration.Duration, Http2Error.Http2Error>) => void
}

/** How a session ended. */
export interface SessionEnding extends Ending {
  /** The peer broke the protocol. */
  readonly violation: boolean
}

/** One connection's state. */
export class Session implements Target {
  /** Called when there may be something to flush; once until `flush`. */
  onWake: () => void = () => {}
  /** Called once, when the session has ended. What is left to `take` is to be sent still. */
  onEnd: (ending: SessionEnding) => void = () => {}
  /** Called when the first SETTINGS of the peer have come. */
  onReady: () => void = () => {}
  /** Called once when something is under way whose time can run out; then it is to be named again. */
  onBusy: (() => void) | undefined
  /** Called in `flush` when there may be more room. */
  onRoom: () => void = () => {}

  readonly options: SessionOptions
  readonly streams = new Map<number, Stream>()
  readonly settings = new Settings()
  goaway: Goaway | undefined
  isReady = false
  /** Why no more requests are taken. */
  private retired: string | undefined
  private ending: SessionEnding | undefined

  private out = new Output()
  private spare = new Output()
  private readonly encoder = new HpackEncoder()
  private readonly receiver: Receiver
  private readonly reader: Frame.FrameReader
  private readonly prefixes = new Map<string, ReadonlyArray<Header>>()

  /** Those that wait for a stream, in order. Those that were given up meanwhile are settled. */
  private waiting: Array<Stream> = []
  private nextWaiting = 0
  private waitingCount = 0
  /** Those whose body waits for the peer's flow control. */
  private blocked: Array<Stream> = []
  private nextId = 1
  private sendWindow = Frame.initialWindow
  /** How many streams may be open: one until the peer has said so. */
  private limit = 1

  private isWoken = false
  private roomChanged = false
  /** The time as of the first submission since the last flush. */
  private time = -1
  private lastReceived: number
  private readonly pings = new Map<number, Ping>()
  private pingCount = 0

  constructor(options: SessionOptions) {
    this.options = options
    this.lastReceived = options.now()
    this.receiver = new Receiver(this)
    this.reader = new Frame.FrameReader((type, flags, stream, bytes, start, end) =>
      this.receiver.frame(type, flags, stream, bytes, start, end)
    )
    this.out.append(Frame.preface)
    Frame.putSettings(this.out, [
      // No table for answers: it would cost more than it saves.
      [Frame.Setting.headerTableSize, 0],
      [Frame.Setting.enablePush, 0],
      // One byte more than is taken, so that an answer that is too long can be told from one that waits.
      [Frame.Setting.initialWindowSize, Math.min(options.maxResponseSize + 1, Frame.maxWindow)],
      [Frame.Setting.maxHeaderListSize, maxHeaderListSize]
    ])
    Frame.putWindowUpdate(this.out, 0, connectionWindow - Frame.initialWindow)
  }

  // ---------------------------------------------------------------------------
  // Requests
  // ---------------------------------------------------------------------------

  submit(request: Request, settle: (answer: Answer) => void, timeout = this.options.requestTimeout): Stream {
    if (this.time < 0) this.time = this.options.now()
    const stream = new Stream(request, settle, timeout, this.time + timeout)
    this.waiting.push(stream)
    this.waitingCount++
    this.wake()
    return stream
  }

  cancel(stream: Stream): void {
    if (stream.isSettled) return
    stream.isSettled = true
    this.abandon(stream, Frame.Code.cancel)
  }

  get room(): number {
    if (this.retired !== undefined || this.sendWindow <= 0) return 0
    return Math.max(0, this.limit - this.streams.size - this.waitingCount)
  }

  get pending(): number {
    return this.streams.size + this.waitingCount
  }

  get isOpen(): boolean {
    return this.retired === undefined
  }

  /** Is there something whose time can run out soon? */
  get isBusy(): boolean {
    return this.pending > 0 || this.pings.size > 0
  }

  /** Takes no more requests. It ends when those that have left are answered. */
  retire(why: string): void {
    if (this.retired !== undefined) return
    this.retired = why
    this.refuseWaiting()
    this.roomChanged = true
    this.wake()
  }

  ping(done: Ping["done"]): void {
    if (this.ending !== undefined) return done(Result.fail(this.notSent()))
    const id = this.pingCount++
    this.pings.set(id, { sentAt: this.options.now(), done })
    const data = Buffer.alloc(8)
    data.writeUInt32BE(id, 4)
    Frame.putPing(this.out, 0, data)
    this.wake()
  }

  /** Looks at the deadlines. To be called now and then. */
  tick(): void {
    if (this.ending !== undefined) return
    const now = this.options.now()
    for (const ping of this.pings.values()) {
      if (now - ping.sentAt >= this.options.pingTimeout) {
        return this.end({ detail: `no answer to a PING within ${this.options.pingTimeout} ms` })
      }
    }
    if (this.pings.size === 0 && now - this.lastReceived >= this.options.idlePing) this.ping(() => {})
    for (const stream of this.streams.values()) this.expire(stream, now)
    for (let i = this.nextWaiting; i < this.waiting.length; i++) this.expire(this.waiting[i]!, now)
  }

  private expire(stream: Stream, now: number): void {
    if (stream.isSettled || stream.deadline > now) return
    const { server } = this.options
    const error = new Http2Error.Timeout({ server, millis: stream.timeout, sent: stream.id !== 0 })
    this.abort(stream, Frame.Code.cancel, Http2Error.make(error))
  }

  // ---------------------------------------------------------------------------
  // Bytes
  // ---------------------------------------------------------------------------

  feed(chunk: Uint8Array): void {
    if (this.ending !== undefined) return
    this.lastReceived = this.options.now()
    const error = this.reader.feed(chunk)
    if (error !== undefined) this.violated(error)
  }

  /** Opens streams and writes what may be sent. */
  flush(): void {
    this.isWoken = false
    if (this.onBusy !== undefined && this.isBusy) {
      const { onBusy } = this
      this.onBusy = undefined
      onBusy()
    }
    if (this.roomChanged) {
      this.roomChanged = false
      this.onRoom()
    }
    this.time = -1
    if (this.retired !== undefined) this.refuseWaiting()
    if (this.ending !== undefined) return
    if (this.blocked.length > 0) this.sendBlocked()
    while (
      this.waitingCount > 0 && this.streams.size < this.limit && this.sendWindow > 0 && this.out.size < batchSize
    ) {
      const stream = this.shift()
      if (!stream.isSettled) this.open(stream)
    }
    if (this.retired !== undefined && this.streams.size === 0) this.end({ detail: this.retired })
  }

  /** What is to be sent now, if anything; good until the next but one `take`. */
  take(): Uint8Array | undefined {
    if (this.out.size === 0) return undefined
    const { out, spare } = this
    spare.size = 0
    this.out = spare
    this.spare = out
    return out.view()
  }

  wake(): void {
    if (this.isWoken) return
    this.isWoken = true
    this.onWake()
  }

  private shift(): Stream {
    const stream = this.waiting[this.nextWaiting++]!
    if (this.nextWaiting === this.waiting.length) {
      this.waiting = []
      this.nextWaiting = 0
    } else if (this.nextWaiting > 4096 && this.nextWaiting * 2 > this.waiting.length) {
      this.waiting = this.waiting.slice(this.nextWaiting)
      this.nextWaiting = 0
    }
    if (!stream.isSettled) this.waitingCount--
    return stream
  }

  private refuseWaiting(): void {
    if (this.waitingCount === 0) return
    const failure = Result.fail(this.notSent())
    while (this.waitingCount > 0) {
      const stream = this.shift()
      if (!stream.isSettled) this.settle(stream, failure)
    }
  }

  private notSent(): Http2Error.Http2Error {
    const { server } = this.options
    const cause = this.ending?.cause
    return Http2Error.make(
      new Http2Error.NotSent({
        server,
        detail: this.ending?.detail ?? this.retired ?? "",
        ...(cause === undefined ? {} : { cause })
      })
    )
  }

  private open(stream: Stream): void {
    const { encoder, out } = this
    const { headers, method, path, shared } = stream.request
    const start = out.size
    out.reserve(Frame.headerSize)
    out.size += Frame.headerSize
    encoder.begin(out)
    const wrong = encoder.sharedHeaders(out, this.prefix(method), true) ??
      (path === "" ? "its path is empty" : encoder.header(out, ":path", path, false)) ??
      (shared === undefined ? undefined : encoder.sharedHeaders(out, shared)) ??
      (headers === undefined ? undefined : encoder.headers(out, headers))
    if (wrong !== undefined) {
      out.size = start
      encoder.reset()
      return this.settle(stream, Result.fail(Http2Error.make(new Http2Error.RequestInvalid({ detail: wrong }))))
    }
    stream.id = this.nextId
    stream.window = this.settings.initialWindowSize
    this.nextId += 2
    this.streams.set(stream.id, stream)
    const flags = stream.body.length === 0 ? Frame.Flag.endStream : 0
    Frame.closeHeaders(out, start, stream.id, flags, this.settings.maxFrameSize)
    if (flags === 0) this.sendBody(stream)
    if (this.nextId > maxStreamId) this.retire("its stream numbers are used up")
  }

  private prefix(method: string): ReadonlyArray<Header> {
    let prefix = this.prefixes.get(method)
    if (prefix === undefined) {
      prefix = [
        { name: ":method", value: method, index: true },
        { name: ":scheme", value: "https", index: true },
        { name: ":authority", value: this.options.authority, index: true }
      ]
      this.prefixes.set(method, prefix)
    }
    return prefix
  }

  /** Sends as much of the body as the peer takes. */
  private sendBody(stream: Stream): void {
    const { body, id } = stream
    while (stream.sent < body.length) {
      const size = Math.min(body.length - stream.sent, this.sendWindow, stream.window, this.settings.maxFrameSize)
      if (size <= 0) {
        if (!stream.isBlocked) this.blocked.push(stream)
        stream.isBlocked = true
        return
      }
      const next = stream.sent + size
      Frame.putData(this.out, id, body, stream.sent, next, next === body.length ? Frame.Flag.endStream : 0)
      stream.sent = next
      stream.window -= size
      this.sendWindow -= size
    }
    stream.isBlocked = false
  }

  private sendBlocked(): void {
    for (const stream of this.blocked) if (!stream.isSettled) this.sendBody(stream)
    this.blocked = this.blocked.filter((stream) => stream.isBlocked && !stream.isSettled)
  }

  // ---------------------------------------------------------------------------
  // What the receiver finds
  // ---------------------------------------------------------------------------

  /** Was there never such a stream? RFC 9113, section 5.1: idle. */
  isIdle(id: number): boolean {
    return id >= this.nextId || id % 2 === 0
  }

  /** The peer's settings have changed; `windowBefore` is the initial window that held until now. */
  settingsChanged(windowBefore: number): Frame.ConnectionError | undefined {
    this.isReady = true
    this.encoder.setTableSize(this.settings.headerTableSize)
    this.limit = Math.min(this.settings.maxConcurrentStreams, this.options.maxStreams)
    const growth = this.settings.initialWindowSize - windowBefore
    if (growth !== 0) {
      for (const stream of this.streams.values()) {
        stream.window += growth
        if (stream.window > Frame.maxWindow) return windowOverflow
      }
    }
    Frame.putSettingsAck(this.out)
    this.roomChanged = true
    this.wake()
    this.onReady()
    return undefined
  }

  /** The peer takes so many bytes more, on a stream or (0) on all together. */
  windowGrew(id: number, increment: number): Frame.ConnectionError | undefined {
    if (id === 0) {
      this.sendWindow += increment
      if (this.sendWindow > Frame.maxWindow) return windowOverflow
      if (this.sendWindow === increment) this.roomChanged = true
    } else {
      const stream = this.streams.get(id)
      if (stream === undefined) return undefined
      stream.window += increment
      if (stream.window > Frame.maxWindow) {
        this.reset(stream, Frame.Code.flowControlError, "a window above 2^31-1")
      }
    }
    if (this.blocked.length > 0 || this.roomChanged) this.wake()
    return undefined
  }

  /** We take so many bytes more. */
  giveWindow(id: number, increment: number): void {
    Frame.putWindowUpdate(this.out, id, increment)
    this.wake()
  }

  pinged(data: Uint8Array): void {
    Frame.putPing(this.out, Frame.Flag.ack, data)
    this.wake()
  }

  /** A PING of ours came back. Says whether it was one. */
  ponged(id: number): boolean {
    const ping = this.pings.get(id)
    if (ping === undefined) return false
    this.pings.delete(id)
    ping.done(Result.succeed(Duration.millis(this.options.now() - ping.sentAt)))
    return true
  }

  /** The answer is complete. */
  finish(stream: Stream): void {
    if (!stream.isWhole) return this.reset(stream, Frame.Code.protocolError, "a body of another length than announced")
    // The peer needs no more of the request: RFC 9113, section 8.1.
    if (stream.sent < stream.body.length) Frame.putRstStream(this.out, stream.id, Frame.Code.cancel)
    this.remove(stream)
    this.settle(stream, Result.succeed(stream.response()))
  }

  /** The peer has reset a stream. */
  wasReset(stream: Stream, code: number): void {
    const { server } = this.options
    const detail = `it reset the stream with ${Frame.codeName(code)}`
    this.remove(stream)
    this.settle(
      stream,
      Result.fail(Http2Error.make(
        code === Frame.Code.refusedStream
          ? new Http2Error.Refused({ server, code, detail })
          : new Http2Error.Unknown({ server, code, detail })
      ))
    )
  }

  /** Gives a stream up whose answer can't be taken. */
  reset(stream: Stream, code: number, what: string): void {
    const { server } = this.options
    this.abort(stream, code, Http2Error.make(new Http2Error.Unknown({ server, code, detail: `it sent ${what}` })))
  }

  /** The peer takes no more requests. */
  goneAway(goaway: Goaway): void {
    this.goaway = goaway
    const detail = `it is closing the connection (GOAWAY ${Frame.codeName(goaway.code)}${
      goaway.debug === "" ? "" : `, ${goaway.debug}`
    })`
    const { server } = this.options
    let failure: Answer | undefined
    for (const stream of this.streams.values()) {
      if (stream.id <= goaway.lastStreamId) continue
      failure ??= Result.fail(Http2Error.make(new Http2Error.Refused({ server, code: goaway.code, detail })))
      this.remove(stream)
      this.settle(stream, failure)
    }
    this.retire(detail)
    this.wake()
  }

  // ---------------------------------------------------------------------------
  // Ends
  // ---------------------------------------------------------------------------

  /** Ends: the socket did, or we do not want it any more. */
  close(detail: string, cause?: unknown): void {
    this.end({ detail, cause })
  }

  private violated({ code, detail }: Frame.ConnectionError): void {
    if (this.ending !== undefined) return
    Frame.putGoaway(this.out, code, detail)
    this.end({ detail: `it broke the protocol: ${detail}`, violation: true })
  }

  private end({ cause, detail, violation }: { detail: string; cause?: unknown; violation?: boolean }): void {
    if (this.ending !== undefined) return
    this.ending = {
      detail: this.goaway === undefined || detail === this.retired ? detail : `${this.retired}; then ${detail}`,
      goaway: this.goaway,
      violation: violation === true,
      ...(cause === undefined ? {} : { cause })
    }
    if (violation !== true) Frame.putGoaway(this.out, Frame.Code.noError, "")
    this.retired ??= detail
    this.refuseWaiting()
    if (this.streams.size > 0) {
      const failure = Result.fail(Http2Error.make(
        new Http2Error.Unknown({
          server: this.options.server,
          detail: this.ending.detail,
          ...(cause === undefined ? {} : { cause })
        })
      ))
      for (const stream of this.streams.values()) {
        this.streams.delete(stream.id)
        this.settle(stream, failure)
      }
    }
    const pings = [...this.pings.values()]
    this.pings.clear()
    for (const ping of pings) ping.done(Result.fail(this.notSent()))
    this.roomChanged = true
    this.wake()
    this.onEnd(this.ending)
  }

  private settle(stream: Stream, answer: Answer): void {
    stream.isSettled = true
    stream.settle(answer)
  }

  /** Resets a stream, or forgets it if it has not left, and settles its request. */
  private abort(stream: Stream, code: number, error: Http2Error.Http2Error): void {
    if (stream.isSettled) return
    stream.isSettled = true
    this.abandon(stream, code)
    stream.settle(Result.fail(error))
  }

  private abandon(stream: Stream, code: number): void {
    if (stream.id === 0) {
      this.waitingCount--
      this.roomChanged = true
      return this.wake()
    }
    Frame.putRstStream(this.out, stream.id, code)
    this.remove(stream)
  }

  private remove(stream: Stream): void {
    this.streams.delete(stream.id)
    this.roomChanged = true
    this.wake()
  }
}

const windowOverflow = Frame.connectionError(Frame.Code.flowControlError, "a window above 2^31-1")
