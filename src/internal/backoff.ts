/** The pauses between attempts that fail: each is twice as long as the one before, up to a limit. Pure. */

/** The pause after the first failure, and the longest one. */
export interface Limits {
  readonly firstMillis: number
  readonly longestMillis: number
}

/** The pause after this many failures in a row, from 1. `jitter` is a factor around 1 that keeps many callers apart. */
export const pauseMillis = (failures: number, jitter: number, { firstMillis, longestMillis }: Limits): number =>
  Math.min(longestMillis, firstMillis * 2 ** (failures - 1)) * jitter
