/**
 * How long a test may take, by what it does; all others have the 5 seconds of
 * vitest.config.ts. A file asks for more at its top: `allow(withServers)`.
 *
 * These are limits for a hang, and far above what the slowest test needs on a
 * quiet machine, so that they also hold on a busy one.
 */
import { vi } from "@effect/vitest"

/** Starts programs: a Node.js alone takes a second until it does something. */
export const withPrograms = 120_000

/** Talks to servers of others, or waits for the seconds that they count in. */
export const withServers = 60_000

/** Tries hundreds of random cases. */
export const withManyCases = 180_000

/** Syncs files to the disk, or waits for others to leave them. */
export const withFiles = 60_000

/** Handles megabytes, thousands of jobs or keys. */
export const withMuchData = 30_000

/** Gives all tests of a file, and their hooks, more time. */
export const allow = (millis: number): void => {
  vi.setConfig({ testTimeout: millis, hookTimeout: millis })
}
