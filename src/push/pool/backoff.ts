/**
 * When an attempt may be made again after failures: the pauses grow from 1 to
 * 60 seconds, and up to half of each is left out at random.
 */
import { type Limits, pauseMillis } from "../../internal/backoff.ts"

const pauses: Limits = { firstMillis: 1000, longestMillis: 60_000 }

/** When the next attempt may be made. Times are milliseconds. */
export class Backoff {
  /** What went wrong last; `undefined` after an attempt that was good. */
  lastFailure: string | undefined
  private failures = 0
  private resumeAt = 0
  private readonly random: () => number

  constructor(random: () => number) {
    this.random = random
  }

  isPaused(now: number): boolean {
    return now < this.resumeAt
  }

  failed(now: number, detail: string): void {
    this.failures++
    this.lastFailure = detail
    this.resumeAt = now + pauseMillis(this.failures, 0.5 + this.random() / 2, pauses)
  }

  worked(): void {
    this.failures = 0
    this.resumeAt = 0
    this.lastFailure = undefined
  }
}
