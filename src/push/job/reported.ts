/** The log line about dead targets that were reported to the application. */
import * as Effect from "effect/Effect"
import type { Failed, Failure } from "./Plan.ts"

/** For instance, `2 of 500 device tokens are dead or wrong and were reported: 1 Unregistered, 1 BadDeviceToken`. */
export const reportedLine = <E>(
  dead: ReadonlyArray<Failed<unknown, E>>,
  total: number,
  targets: string,
  reasonOf: (error: E) => string
): string => {
  const counts = new Map<string, number>()
  for (const { error } of dead) {
    const reason = reasonOf(error)
    counts.set(reason, (counts.get(reason) ?? 0) + 1)
  }
  const reasons = Array.from(counts, ([reason, count]) => `${count} ${reason}`).join(", ")
  return `${dead.length} of ${total} ${targets} are dead or wrong and were reported: ${reasons}`
}

/** Logs the line. Dead targets are normal; a wrong one is a fault of the application, or an attack. */
export const logReported = (dead: ReadonlyArray<Failed<unknown, Failure>>, line: string): Effect.Effect<void> =>
  dead.some(({ error }) => error.action === "CheckToken") ? Effect.logWarning(line) : Effect.logInfo(line)
