/** The PINGs of this client that have no answer yet. RFC 9113, section 6.7. */
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import { putPing } from "../frame/frame.ts"
import type { Http2Error } from "../Http2Error.ts"
import { callSafely } from "./callSafely.ts"
import type { Output } from "./output.ts"

/** How a PING ended: with its round-trip time or a failure. */
export type Pong = Result.Result<Duration.Duration, Http2Error>

interface Ping {
  readonly sentAt: number
  readonly done: (pong: Pong) => void
}

/** Unanswered PINGs; each carries its number. Times are in milliseconds. */
export class Pings {
  private readonly pings = new Map<number, Ping>()
  private count = 0

  get size(): number {
    return this.pings.size
  }

  send(out: Output, now: number, done: (pong: Pong) => void): void {
    const data = Buffer.alloc(8)
    data.writeUInt32BE(this.count, 4)
    putPing(out, 0, data)
    this.pings.set(this.count, { sentAt: now, done })
    this.count = (this.count + 1) >>> 0
  }

  /** Completes a PING. Returns whether there was one with this number. */
  received(number: number, now: number): boolean {
    const ping = this.pings.get(number)
    if (ping === undefined) return false
    this.pings.delete(number)
    callSafely(ping.done, Result.succeed(Duration.millis(now - ping.sentAt)))
    return true
  }

  /** Whether the oldest PING was sent at `time` or before. */
  isOlderThan(time: number): boolean {
    // A Map iterates in the order of insertion.
    for (const ping of this.pings.values()) return ping.sentAt <= time
    return false
  }

  /** Fails all of them. */
  fail(error: () => Http2Error): void {
    if (this.pings.size === 0) return
    const failed = Result.fail(error())
    const pings = [...this.pings.values()]
    this.pings.clear()
    for (const ping of pings) callSafely(ping.done, failed)
  }
}
