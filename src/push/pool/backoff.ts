/**
 * When the next attempt may start after failures. The pauses grow from 1 to 60
 * seconds; a random part of at most a half is left out.
 */
import { type Limits, pauseMillis } from "../../internal/backoff.ts"

const pauses: Limits = { firstMillis: 1000, longestMillis: 60_000 }

/** When the next attempt may start. Times are in milliseconds. */
export class Backoff {
  /** The last failure; `undefined` after a success. */
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
