/**
 * Pauses between attempts that fail, each up to twice as long as the one before.
 */

const longest = 60_000

/** After so many failures in a row: a pause of up to 1, 2, 4, ... 60 seconds, at least half of it. In milliseconds. */
export const pause = (failures: number, random: number): number =>
  Math.min(longest, 1000 * 2 ** Math.min(failures - 1, 16)) * (0.5 + random / 2)

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
    this.resumeAt = now + pause(this.failures, this.random())
  }

  worked(): void {
    this.failures = 0
    this.resumeAt = 0
    this.lastFailure = undefined
  }
}
