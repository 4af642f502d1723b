/**
 * Opens a connection and asks what has to be known before anybody's command.
 *
 * What fails here failed before anything of those who wait was sent. So the
 * fate is `NotSent`, whatever became of the greeting itself; and a failure of
 * any kind is a typed one, so that nobody waits for ever.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as BrokerError from "../BrokerError.ts"
import { messageOfThrown } from "../internal/thrown.ts"
import { failure, serverStats } from "./answers.ts"
import type { Command } from "./Command.ts"
import type { Connection, Driver } from "./Connection.ts"
import type { ServerStats } from "./Stats.ts"

/** A connection that can be used. */
export interface Greeted {
  readonly connection: Connection
  readonly stats: ServerStats
}

/** Opens a connection. It watches, or ignores, tubes from the beginning where that is asked for. */
export const greet = (
  driver: Driver,
  watching: ReadonlyArray<Extract<Command, { _tag: "Watch" | "Ignore" }>> = []
): Effect.Effect<Greeted, BrokerError.BrokerError, Scope.Scope> =>
  Effect.gen(function*() {
    const connection = yield* driver.connect
    const [first, ...answers] = yield* connection.request([{ _tag: "Stats" }, ...watching])
    const stats = yield* Effect.fromResult(serverStats(driver.name, first))
    connection.limitJobs(stats["max-job-size"])
    const bad = answers.findIndex((answer) => answer._tag !== "Watching")
    if (bad !== -1) return yield* Effect.fromResult(failure(driver.name, watching[bad]!._tag, answers[bad]))
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
