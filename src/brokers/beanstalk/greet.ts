/**
 * Opens a connection, and reads the server's statistics before the first command
 * of a caller.
 *
 * A failure here comes before any command of a caller was sent. So its fate is
 * `NotSent`, whatever happened to the greeting. Defects become typed failures,
 * too, so that no caller waits forever.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as BrokerError from "../../BrokerError.ts"
import { messageOfThrown } from "../../internal/thrown.ts"
import type { Command } from "./command.ts"
import type { Connection, Driver } from "./Connection.ts"
import { failure, serverStats } from "./replies.ts"
import type { ServerStats } from "./stats.ts"

/** A connection that is ready for commands. */
export interface Greeted {
  readonly connection: Connection
  readonly stats: ServerStats
}

const statsOn = (driver: Driver, connection: Connection) =>
  Effect.flatMap(
    connection.request([{ _tag: "Stats" }]),
    ([answer]) => Effect.fromResult(serverStats(driver.name, answer))
  )

const watch = (driver: Driver, connection: Connection, commands: ReadonlyArray<Command>) =>
  Effect.flatMap(connection.request(commands), (answers) => {
    const bad = answers.findIndex((answer) => answer._tag !== "Watching")
    return bad === -1
      ? Effect.void
      : Effect.fromResult(failure(driver.name, commands[bad]!._tag, answers[bad]))
  })

/** Opens a connection, and first sends the commands of `watching`. */
export const greet = (
  driver: Driver,
  watching: ReadonlyArray<Extract<Command, { _tag: "Watch" | "Ignore" }>> = []
): Effect.Effect<Greeted, BrokerError.BrokerError, Scope.Scope> =>
  Effect.gen(function*() {
    const connection = yield* driver.connect
    // Both leave in one write. The first failure ends the greeting at once.
    const [stats] = yield* Effect.all([statsOn(driver, connection), watch(driver, connection, watching)], {
      concurrency: 2
    })
    connection.limitJobs(stats["max-job-size"])
    return { connection, stats }
  }).pipe(
    Effect.catchDefect((cause) =>
      Effect.fail(BrokerError.make(
        new BrokerError.Unavailable({
          broker: driver.name,
          fate: "NotSent",
          detail: `the connection can't be prepared: ${messageOfThrown(cause)}`,
          cause
        })
      ))
    ),
    Effect.mapError(BrokerError.notSent)
  )
