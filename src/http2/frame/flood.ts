/**
 * Bounds the work that a peer can cause with idle frames: frames of nine bytes that
 * advance no response (SETTINGS, PING, PRIORITY, empty DATA, ...).
 *
 * Each request gives the peer credit for the frames that it causes: WINDOW_UPDATE,
 * 103, and the response, even one to an abandoned request. An honest peer may send
 * all of these before its first response.
 */
import { Code, type ConnectionError, connectionError } from "./frame.ts"

/** A peer may send at most this many idle frames per period. */
const maxIdleFrames = 1000
const periodMillis = 10_000
/** The credit of a request: this many frames, and one more per `bytesPerFrame` bytes of its body. */
const framesPerRequest = 10
const bytesPerFrame = 128
/** A peer holds at most this much credit, that of 10,000 requests: years of good behaviour allow no flood. */
const maxCreditFrames = 100_000

/** Counts the idle frames of a peer. */
export class Flood {
  private count = 0
  private since: number
  private readonly now: () => number

  /** `now` gives milliseconds. */
  constructor(now: () => number) {
    this.now = now
    this.since = now()
  }

  /** Records the requests and the bytes of bodies that were sent. */
  sent(requests: number, bytes: number): void {
    this.count = Math.max(this.count - requests * framesPerRequest - bytes / bytesPerFrame, -maxCreditFrames)
  }

  /** Records an idle frame. Returns an error if there are too many. */
  idle(): ConnectionError | undefined {
    if (++this.count <= maxIdleFrames) return undefined
    const now = this.now()
    if (now - this.since < periodMillis) {
      return connectionError(
        Code.enhanceYourCalm,
        `more than ${maxIdleFrames} frames in ${periodMillis / 1000} seconds that advance no response`
      )
    }
    this.count = 0
    this.since = now
    return undefined
  }
}
