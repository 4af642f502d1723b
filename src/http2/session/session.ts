/**
 * The state of a connection: the open streams, the peer's limits, and the bytes to
 * send. RFC 9113, sections 3 to 6.
 *
 * `feed` takes bytes and `take` returns bytes. The session has no socket, timer or
 * fiber, so that a test can play every situation. All calls are synchronous.
 * `receiver.ts` handles the peer's frames, `sender.ts` writes the requests.
 *
 * Invariants: a request has an `id` exactly if the socket has taken it. Every
 * request is settled exactly once. Its slot is free once this side has closed its
 * stream.
 */
import type * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import { Flood } from "../frame/flood.ts"
import * as Frame from "../frame/frame.ts"
import { Settings } from "../frame/settings.ts"
import type { Http2Error } from "../Http2Error.ts"
import { type Answer, type Ending, type Goaway, goawayDetail, type Request } from "../Message.ts"
import { isBegun, otherProtocol } from "../otherProtocol.ts"
import { callSafely } from "./callSafely.ts"
import { Capacity } from "./capacity.ts"
import { Exchange } from "./exchange.ts"
import { merged } from "./goaway.ts"
import { Outbox, type Output } from "./output.ts"
import { Pings } from "./pings.ts"
import { putPreface } from "./preface.ts"
import { Receiver, type Target } from "./receiver.ts"
import * as requestFailures from "./requestFailures.ts"
import { Sender } from "./sender.ts"
import { Streams } from "./streams.ts"
import { Waiting } from "./waiting.ts"

/** One write takes about this much at most. */
const batchBytes = 262144

/**
 * Replies to a peer that does not read (acknowledgements, windows, resets) may take
 * at most this much. Requests don't count: they are encoded when they leave.
 */
const maxOwedBytes = 1_048_576
const unreadReplies = Frame.connectionError(Frame.Code.enhanceYourCalm, "more frames than it reads replies to")

const maxStreamId = 0x7fffffff

/** The options of a session. Times are in milliseconds. */
export interface SessionOptions {
  readonly server: string
  readonly authority: string
  /** A monotonic clock. */
  readonly now: () => number
  readonly requestTimeout: number
  readonly pingTimeout: number
  readonly idlePing: number
  readonly maxStreams: number
  readonly maxResponseSize: number
}

/** How a session ended. */
export interface SessionEnding extends Ending {
  /** Whether the peer broke the protocol. */
  readonly violation: boolean
  /** Whether the peer spoke HTTP/1.1 with a status that reports a transient condition. */
  readonly isTransient: boolean
}

/** The state of one connection. */
export class Session implements Target {
  /** Called when there may be something to flush, at most once until `flush`. */
  onWake: () => void = () => {}
  /** Called once, when the session ends. Send what the last `take` returns. */
  onEnd: (ending: SessionEnding) => void = () => {}
  /** Called when the peer's SETTINGS arrive. */
  onReady: () => void = () => {}
  /** Called once, when a deadline becomes active or the session ends. Set it again to be called again. */
  onBusy: (() => void) | undefined
  /** Called in `flush` when `room` may have grown. */
  onRoom: () => void = () => {}

  readonly options: SessionOptions
  readonly streams = new Streams()
  readonly settings = new Settings()
  goaway: Goaway | undefined
  isReady = false

  /** The first bytes of a peer that may speak another protocol, until that is clear. */
  private opening: Uint8Array | undefined
  /** Why the session accepts no more requests. */
  private retired: string | undefined
  private ending: SessionEnding | undefined
  private readonly outbox = new Outbox()
  private readonly waiting = new Waiting()
  private readonly pings = new Pings()
  private readonly capacity = new Capacity()
  private readonly sender: Sender
  private readonly flood: Flood
  private readonly reader: Frame.FrameReader
  /**
   * When V8 collects the whole heap, it drops the hidden classes that no object has, and the code compiled for them.
   * This exchange, and what belongs to it, keeps them. Without it 20,000 pushes after such a collection cost 1.4 times
   * the CPU.
   */
  lastAnswered: Exchange | undefined
  private nextId = 1
  private isWoken = false
  private roomChanged = false
  /** The time of the first request since the last flush, or -1. */
  private time = -1
  private lastReceived: number

  constructor(options: SessionOptions) {
    this.options = options
    this.lastReceived = options.now()
    this.sender = new Sender(options.authority, this.settings)
    this.flood = new Flood(options.now)
    const receiver = new Receiver(this, this.flood)
    this.reader = new Frame.FrameReader((type, flags, id, bytes, start, end) =>
      receiver.frame(type, flags, id, bytes, start, end)
    )
    putPreface(this.out, options.maxResponseSize)
  }

  submit(request: Request, settle: (answer: Answer) => void, timeout = this.options.requestTimeout): Exchange {
    if (this.time < 0) this.time = this.options.now()
    const exchange = new Exchange(request, settle, timeout, timeout > 0 ? this.time + timeout : this.time)
    this.capacity.submitted(exchange.body.length)
    this.waiting.push(exchange)
    this.wake()
    return exchange
  }

  cancel(exchange: Exchange): void {
    if (exchange.isSettled) return
    exchange.isSettled = true
    this.dropExchange(exchange, Frame.Code.cancel)
  }

  get room(): number {
    return this.retired === undefined ? this.capacity.left(this.sender.window, this.pending, this.waiting.size) : 0
  }

  get pending(): number {
    return this.streams.size + this.waiting.size
  }

  get queued(): number {
    return this.waiting.size
  }

  get isOpen(): boolean {
    return this.retired === undefined
  }

  get hasEnded(): boolean {
    return this.ending !== undefined
  }

  /** Whether a deadline is active. */
  get isBusy(): boolean {
    return this.pending > 0 || this.pings.size > 0
  }

  /** The time until an idle connection sends a PING, in milliseconds. */
  get untilPing(): number {
    return Math.max(1, this.lastReceived + this.options.idlePing - this.options.now())
  }

  /** Accepts no more requests. The session ends when the requests that left have their answers. */
  retire(why: string): void {
    if (this.retired !== undefined) return
    this.retired = why
    this.refuseWaiting()
    this.roomChanged = true
    this.wake()
  }

  ping(done: (pong: Result.Result<Duration.Duration, Http2Error>) => void): void {
    if (this.ending !== undefined) return callSafely(done, Result.fail(this.notSent()))
    this.pings.send(this.out, this.options.now(), done)
    this.wake()
  }

  /** Checks the deadlines. Call it regularly while `isBusy`. */
  tick(): void {
    if (this.ending !== undefined) return
    const { idlePing, now, pingTimeout } = this.options
    const time = now()
    if (this.pings.isOlderThan(time - pingTimeout)) return this.close(`no answer to a PING within ${pingTimeout} ms`)
    // Open requests need to know sooner whether the peer is alive.
    const silentMillis = this.streams.size > 0 ? Math.min(idlePing, pingTimeout / 2) : idlePing
    if (this.pings.size === 0 && time - this.lastReceived >= silentMillis) this.ping(() => {})
    for (const exchange of this.streams.all()) this.expire(exchange, time)
    this.waiting.forEach((exchange) => this.expire(exchange, time))
    if (!this.isBusy) this.outbox.shrink()
  }

  private get out(): Output {
    return this.outbox.out
  }

  private expire(exchange: Exchange, time: number): void {
    if (exchange.isSettled || exchange.deadline > time) return
    const why = exchange.id === 0
      ? requestFailures.whyWaiting(this.capacity.limit, this.sender.window)
      : requestFailures.whyUnanswered(exchange, this.goaway)
    this.abort(exchange, Frame.Code.cancel, requestFailures.late(this.options.server, exchange, why))
  }

  /** Takes bytes of the peer. */
  feed(chunk: Uint8Array): void {
    if (this.ending !== undefined) return
    this.lastReceived = this.options.now()
    if (!this.isReady) {
      if (this.opening !== undefined) chunk = Buffer.concat([this.opening, chunk])
      this.opening = isBegun(chunk) ? chunk : undefined
      if (this.opening !== undefined) return
    }
    const error = this.reader.feed(chunk) ?? (this.out.size > maxOwedBytes ? unreadReplies : undefined)
    if (error === undefined || this.ending !== undefined) return
    Frame.putGoaway(this.out, error.code, error.detail)
    const other = this.isReady ? undefined : otherProtocol(chunk)
    this.end({
      detail: other === undefined ? `it broke the protocol: ${error.detail}` : other.detail,
      violation: error,
      isTransient: other?.isTransient ?? false
    })
  }

  /** Calls the listeners, and ends a retired session that is done. Call it after `onWake`, then `take`. */
  flush(): void {
    this.isWoken = false
    if (this.onBusy !== undefined && (this.isBusy || this.hasEnded)) {
      const { onBusy } = this
      this.onBusy = undefined
      onBusy()
    }
    if (this.roomChanged) {
      this.roomChanged = false
      callSafely(this.onRoom, undefined)
    }
    this.time = -1
    if (this.retired === undefined) return
    this.refuseWaiting()
    if (this.streams.size === 0) this.close(this.retired)
  }

  /**
   * Opens streams and takes the bytes to send, if there are any. They stay valid
   * until the second `take` from now. Their requests count as sent, so call it when
   * the socket can write.
   */
  take(): Uint8Array | undefined {
    this.fill()
    return this.outbox.take()
  }

  wake(): void {
    if (this.isWoken) return
    this.isWoken = true
    this.onWake()
  }

  private fill(): void {
    if (this.ending !== undefined) return
    const { nextId, sender } = this
    const window = sender.window
    if (sender.isBlocked) sender.resume(this.out, batchBytes)
    // An invalid request is settled in here, and its `settle` may end the session.
    while (this.canOpen()) this.open(this.waiting.shift()!)
    this.flood.sent((this.nextId - nextId) / 2, window - sender.window)
  }

  private canOpen(): boolean {
    return this.waiting.size > 0 && this.streams.size < this.capacity.limit && this.retired === undefined &&
      this.out.size < batchBytes && (this.sender.window > 0 || this.waiting.peek()!.body.length === 0)
  }

  private open(exchange: Exchange): void {
    const wrong = exchange.timeout > 0
      ? this.sender.open(this.out, exchange, this.nextId, batchBytes)
      : requestFailures.notTimeout
    if (wrong !== undefined) {
      // The slot is free again, so the listener must hear of it.
      this.roomChanged = true
      this.wake()
      return this.fail(exchange, requestFailures.invalid(wrong))
    }
    this.streams.add(exchange)
    this.nextId += 2
    if (this.nextId > maxStreamId) this.retire("its stream ids are used up")
  }

  /** Fails the requests that wait now. Those that a `settle` submits fail in the next call, so that the loop ends. */
  private refuseWaiting(): void {
    let left = this.waiting.size
    if (left === 0) return
    const failure = this.notSent()
    for (; left > 0 && this.waiting.size > 0; left--) this.fail(this.waiting.shift()!, failure)
  }

  // -- called by the receiver

  isIdle(id: number): boolean {
    return id >= this.nextId || id % 2 === 0
  }

  settingsChanged(windowBefore: number): Frame.ConnectionError | undefined {
    const error = this.sender.settingsChanged(windowBefore, this.streams.all())
    if (error !== undefined) return error
    this.isReady = true
    this.capacity.limit = Math.min(this.settings.maxConcurrentStreams, this.options.maxStreams)
    Frame.putSettingsAck(this.out)
    this.roomChanged = true
    this.wake()
    this.onReady()
    return undefined
  }

  windowGrew(id: number, increment: number): Frame.ConnectionError | undefined {
    if (id === 0) {
      if (this.capacity.isNarrow(this.sender.window, this.pending, this.waiting.size)) this.roomChanged = true
      const error = this.sender.grew(increment)
      if (error !== undefined) return error
    } else {
      const exchange = this.streams.get(id)
      if (exchange === undefined) return undefined
      exchange.window += increment
      if (exchange.window > Frame.maxWindow) this.reset(exchange, Frame.Code.flowControlError, "a window above 2^31-1")
    }
    if (this.sender.isBlocked || this.roomChanged) this.wake()
    return undefined
  }

  giveWindow(id: number, increment: number): void {
    Frame.putWindowUpdate(this.out, id, increment)
    this.wake()
  }

  pinged(data: Uint8Array): void {
    Frame.putPing(this.out, Frame.Flag.ack, data)
    this.wake()
  }

  ponged(number: number): boolean {
    return this.pings.received(number, this.options.now())
  }

  finish(exchange: Exchange): void {
    if (!exchange.isWhole) {
      return this.reset(exchange, Frame.Code.protocolError, "a body whose length differs from its content-length")
    }
    // The peer does not need the rest of the request: RFC 9113, section 8.1.
    if (exchange.sent < exchange.body.length) Frame.putRstStream(this.out, exchange.id, Frame.Code.cancel)
    this.remove(exchange)
    this.lastAnswered = exchange
    this.settle(exchange, Result.succeed(exchange.response()))
  }

  wasReset(exchange: Exchange, code: number): void {
    this.remove(exchange)
    this.fail(exchange, requestFailures.wasReset(this.options.server, exchange, code, this.goaway))
  }

  reset(exchange: Exchange, code: number, what: string): void {
    this.abort(exchange, code, requestFailures.unreadable(this.options.server, code, what, this.goaway))
  }

  goneAway(next: Goaway): void {
    if (this.ending !== undefined) return
    const goaway = merged(this.goaway, next)
    this.goaway = goaway
    this.retired = goawayDetail(goaway)
    const above = this.streams.all().filter(({ id }) => id > goaway.lastStreamId)
    this.failAll(above, (exchange) => requestFailures.isAbove(this.options.server, exchange, goaway))
    this.refuseWaiting()
    this.roomChanged = true
    this.wake()
  }

  // -- the end

  /** Ends the session at once, with or without a failure of the socket. */
  close(detail: string, cause?: unknown): void {
    if (this.ending !== undefined) return
    Frame.putGoaway(this.out, Frame.Code.noError, "")
    this.end({ detail, cause })
  }

  private end({ cause, detail, isTransient = false, violation }: {
    readonly detail: string
    readonly cause?: unknown
    readonly violation?: Frame.ConnectionError
    readonly isTransient?: boolean
  }): void {
    const { goaway, options: { server }, retired } = this
    const ending: SessionEnding = {
      detail: detail === retired ? detail : requestFailures.afterGoaway(goaway, detail),
      goaway,
      violation: violation !== undefined,
      isTransient,
      ...(cause === undefined ? {} : { cause })
    }
    this.ending = ending
    this.retired ??= detail
    this.refuseWaiting()
    if (this.streams.size > 0) {
      const code = violation?.code ?? goaway?.code
      const lost = requestFailures.lost(server, code === undefined ? ending : { ...ending, code })
      this.failAll(this.streams.all(), () => lost)
    }
    this.pings.fail(() => this.notSent())
    this.roomChanged = true
    this.wake()
    this.onEnd(ending)
  }

  private notSent(): Http2Error {
    const { ending, options: { server }, retired } = this
    return requestFailures.notSent(server, ending ?? { detail: retired ?? "the connection is closed" })
  }

  private settle(exchange: Exchange, answer: Answer): void {
    exchange.isSettled = true
    callSafely(exchange.settle, answer)
  }

  private fail(exchange: Exchange, error: Http2Error): void {
    this.settle(exchange, Result.fail(error))
  }

  /** Fails exchanges. All of them are closed before the first `settle`, which may cancel the others. */
  private failAll(exchanges: ReadonlyArray<Exchange>, error: (exchange: Exchange) => Http2Error): void {
    for (const exchange of exchanges) this.remove(exchange)
    for (const exchange of exchanges) if (!exchange.isSettled) this.fail(exchange, error(exchange))
  }

  /** Drops a request and fails it. */
  private abort(exchange: Exchange, code: number, error: Http2Error): void {
    if (exchange.isSettled) return
    exchange.isSettled = true
    this.dropExchange(exchange, code)
    this.fail(exchange, error)
  }

  /** Resets the stream of a settled request, or takes it out of the queue. */
  private dropExchange(exchange: Exchange, code: number): void {
    if (exchange.id === 0) {
      this.waiting.dropped()
      this.roomChanged = true
      return this.wake()
    }
    if (!this.streams.has(exchange.id)) return
    Frame.putRstStream(this.out, exchange.id, code)
    this.remove(exchange)
  }

  private remove(exchange: Exchange): void {
    this.streams.delete(exchange.id)
    this.roomChanged = true
    this.wake()
  }
}
