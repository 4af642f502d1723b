/**
 * Keeps one connection alive.
 *
 * A fiber connects, runs the handshake (so that what it sets up is there
 * before anybody's command), waits for the end of the connection and begins
 * again, with a growing pause between failed attempts. Who asks for the
 * connection during an attempt waits for its outcome; who asks during a pause
 * fails at once with the last failure.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as BrokerError from "../BrokerError.ts"
import type { Connection, Driver } from "./Connection.ts"
import { isMisconfigured } from "./failure.ts"

const firstPause = 50
const longestPause = 5000

/** The pause after a number of failures in a row: 50 ms, doubling to 5 s, give or take a fifth. */
export const backOff = (failures: number): Effect.Effect<Duration.Duration> =>
  Effect.map(
    Random.nextBetween(0.8, 1.2),
    (jitter) => Duration.millis(Math.min(longestPause, firstPause * 2 ** Math.min(failures - 1, 10)) * jitter)
  )

/** Is it worth waiting for the server? Not when a setting is wrong. */
export const isWorthWaiting = (error: BrokerError.BrokerError): boolean =>
  error.reason._tag === "Unavailable" && !isMisconfigured(error.reason.cause)

/** A connection whose handshake succeeded, and what the handshake found out. */
export interface Ready<A> {
  readonly connection: Connection
  readonly greeting: A
}

type State<A> =
  | { readonly _tag: "Connecting"; readonly outcome: Deferred.Deferred<Ready<A>, BrokerError.BrokerError> }
  | { readonly _tag: "Ready"; readonly ready: Ready<A> }
  | { readonly _tag: "Pausing"; readonly error: BrokerError.BrokerError }

/**
 * Connects in the background until the scope closes, and gives the
 * connection of the moment.
 */
export const make = Effect.fnUntraced(function*<A>(
  driver: Driver,
  handshake: (connection: Connection) => Effect.Effect<A, BrokerError.BrokerError>
) {
  let state: State<A> = { _tag: "Connecting", outcome: Deferred.makeUnsafe() }
  let failures = 0

  const lifetime = Effect.gen(function*() {
    const connection = yield* driver.connect
    const ready: Ready<A> = { connection, greeting: yield* handshake(connection) }
    if (failures > 1) yield* Effect.logInfo(`${driver.name} is reachable again`)
    failures = 0
    const attempt = state
    state = { _tag: "Ready", ready }
    if (attempt._tag === "Connecting") yield* Deferred.succeed(attempt.outcome, ready)
    return yield* Effect.flatMap(connection.closed, Effect.fail)
  })

  const attempt = Effect.scoped(lifetime).pipe(
    Effect.catch((error) =>
      Effect.gen(function*() {
        const attempt = state
        state = { _tag: "Pausing", error }
        if (attempt._tag === "Connecting") yield* Deferred.fail(attempt.outcome, error)
        failures++
        if (failures === 1) yield* Effect.logWarning(`connecting again: ${error.message}`)
        yield* Effect.flatMap(backOff(failures), Effect.sleep)
        state = { _tag: "Connecting", outcome: Deferred.makeUnsafe() }
      })
    )
  )

  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      const last = state
      const error = BrokerError.brokerClosed(driver.name)
      state = { _tag: "Pausing", error }
      return last._tag === "Connecting" ? Deferred.fail(last.outcome, error) : Effect.void
    })
  )
  yield* Effect.forkScoped(Effect.forever(attempt))

  const current: Effect.Effect<Ready<A>, BrokerError.BrokerError> = Effect.suspend(() => {
    switch (state._tag) {
      case "Ready":
        return state.ready.connection.isOpen()
          ? Effect.succeed(state.ready)
          : Effect.flatMap(state.ready.connection.closed, Effect.fail)
      case "Connecting":
        return Deferred.await(state.outcome)
      case "Pausing":
        return Effect.fail(state.error)
    }
  })
  return { current }
})
