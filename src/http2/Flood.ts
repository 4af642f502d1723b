/**
 * Bounds what a peer can make us do for nothing: frames that cost it nine bytes
 * and bring no answer any further (SETTINGS, PING, PRIORITY, empty DATA, ...).
 */
import { Code, type ConnectionError, connectionError } from "./Frame.ts"

/** So many such frames are taken in this many milliseconds. */
const limit = 1000
const period = 10_000
/** Each answer allows some more, and so does each stream that we gave up: its answer may be on the way. */
const perAnswer = 10
const perAbandoned = 3

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

  /** An answer came. */
  answered(): void {
    if (this.count > 0) this.count = Math.max(0, this.count - perAnswer)
  }

  /** We gave a stream up. */
  abandoned(): void {
    this.count -= perAbandoned
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
