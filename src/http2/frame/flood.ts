/**
 * Bounds what a peer can make us do for nothing: frames that cost it nine bytes
 * and bring no answer any further (SETTINGS, PING, PRIORITY, empty DATA, ...).
 *
 * What is sent pays for the frames that come back for it: WINDOW_UPDATEs, 103,
 * the answer itself, also one that comes after its request was given up. An
 * honest peer may send all of these before its first answer.
 */
import { Code, type ConnectionError, connectionError } from "./frame.ts"

/** So many frames for nothing are taken in this many milliseconds. */
const limit = 1000
const period = 10_000
/** Each request pays for so many, and for one more per so many bytes of its body. */
const perRequest = 10
const bytesPerFrame = 128
/** The most that is paid in advance: ten thousand requests. What is left of honest years is no licence to flood. */
const maxPaid = 100_000

/** Counts the frames that bring no answer any further. */
export class Flood {
  private count = 0
  private since: number
  private readonly now: () => number

  /** `now` gives milliseconds. */
  constructor(now: () => number) {
    this.now = now
    this.since = now()
  }

  /** Requests left, or parts of their bodies. */
  sent(requests: number, bytes: number): void {
    this.count = Math.max(this.count - requests * perRequest - bytes / bytesPerFrame, -maxPaid)
  }

  /** A frame came for nothing. */
  idle(): ConnectionError | undefined {
    if (++this.count <= limit) return undefined
    const now = this.now()
    if (now - this.since < period) {
      return connectionError(Code.enhanceYourCalm, `more than ${limit} frames in ${period / 1000} seconds for nothing`)
    }
    this.count = 0
    this.since = now
    return undefined
  }
}
