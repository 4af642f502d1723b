/**
 * Keeps one connection open.
 *
 * A fiber connects, greets the server, waits for the end of the connection and
 * starts again. After a connection that worked it starts at once, because a proxy
 * or server that closes idle connections is no failure. After a failed attempt it
 * pauses, longer each time.
 *
 * A caller that needs the connection during an attempt waits for its outcome. In
 * the pause after a failed attempt a caller fails at once, with the failure of
 * the attempt and the fate `NotSent`.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as BrokerError from "../../BrokerError.ts"
import { type Limits, pauseMillis } from "../../internal/backoff.ts"
import type { Connection, Driver } from "./Connection.ts"
import { isMisconfigured } from "./failure.ts"
import { greet } from "./greet.ts"
import type { ServerStats } from "./stats.ts"

const pauses: Limits = { firstMillis: 50, longestMillis: 5000 }

/** The pause after this many failures in a row: 50 ms, then twice as long each time up to 5 s, each within 20 %. */
export const backOff = (failures: number): Effect.Effect<Duration.Duration> =>
  Effect.map(Random.nextBetween(0.8, 1.2), (jitter) => Duration.millis(pauseMillis(failures, jitter, pauses)))

/** Whether the server is away, so that a retry helps. It does not help if an option is wrong. */
export const isWorthWaiting = (error: BrokerError.BrokerError): boolean =>
  error.reason._tag === "Unavailable" && !isMisconfigured(error.reason.cause)

/** A connection or a wait that lasted for less than this was brief. */
const briefMillis = 1000
/** The longest pause of a throttle. */
const maxThrottlePause = Duration.seconds(1)

/**
 * Slows down a loop whose rounds succeed and end at once, such as connections that
 * the server closes right after they open. Otherwise the loop would run as fast
 * as the network allows.
 */
export class Throttle {
  private readonly spare: number
  private briefRounds = 0

  /** At most `spare` brief rounds in a row cause no pause. */
  constructor(spare = 0) {
    this.spare = spare
  }

  /** Call it at the end of a round. */
  ended(beganAt: number, now: number): void {
    this.briefRounds = now - beganAt < briefMillis ? this.briefRounds + 1 : 0
  }

  /** Call it before the next round. Pauses after too many brief rounds. */
  readonly pause: Effect.Effect<void> = Effect.suspend(() =>
    this.briefRounds <= this.spare
      ? Effect.void
      : Effect.flatMap(
        backOff(this.briefRounds - this.spare),
        (pause) => Effect.sleep(Duration.min(pause, maxThrottlePause))
      )
  )
}

/**
 * Logs the state of the connection to one server: the first failed attempt, and
 * the next success. A connection that the server closed is only logged at debug
 * level, because servers close idle connections. One that fell silent or broke
 * the protocol is a warning.
 */
export class Log {
  private readonly name: string
  private hasWarned = false

  constructor(name: string) {
    this.name = name
  }

  readonly failed = (error: BrokerError.BrokerError): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (this.hasWarned) return Effect.void
      this.hasWarned = true
      return Effect.logWarning(`reconnecting: ${error.message}`)
    })

  readonly ended = (error: BrokerError.BrokerError): Effect.Effect<void> =>
    error.reason._tag === "Unavailable" && !Cause.isTimeoutError(error.reason.cause)
      ? Effect.logDebug(`reconnecting: ${error.message}`)
      : this.failed(error)

  readonly opened: Effect.Effect<void> = Effect.suspend(() => {
    if (!this.hasWarned) return Effect.void
    this.hasWarned = false
    return Effect.logInfo(`${this.name} is reachable again`)
  })
}

/** An open connection, and the result of its greeting. */
export interface OpenConnection<A> {
  readonly connection: Connection
  readonly greeting: A
}

type State<A> =
  | { readonly _tag: "Connecting"; readonly outcome: Deferred.Deferred<OpenConnection<A>, BrokerError.BrokerError> }
  | { readonly _tag: "Open"; readonly open: OpenConnection<A> }
  | { readonly _tag: "Failed"; readonly error: BrokerError.BrokerError }

const connecting = <A>(): State<A> => ({ _tag: "Connecting", outcome: Deferred.makeUnsafe() })

/** A connection that is opened again whenever it ends. `current` returns it, `keepAlive` opens it. */
class KeptConnection<A> {
  private readonly driver: Driver
  private readonly greetingOf: (stats: ServerStats) => A
  private readonly log: Log
  private readonly throttle = new Throttle()
  private state: State<A> = connecting()
  private failures = 0

  constructor(driver: Driver, greetingOf: (stats: ServerStats) => A) {
    this.driver = driver
    this.greetingOf = greetingOf
    this.log = new Log(driver.name)
  }

  /** The open connection. Waits for an attempt that is under way; fails during the pause after a failed one. */
  readonly current: Effect.Effect<OpenConnection<A>, BrokerError.BrokerError> = Effect.suspend(() => {
    const seen = this.now()
    switch (seen._tag) {
      case "Open":
        return Effect.succeed(seen.open)
      case "Connecting":
        return Deferred.await(seen.outcome)
      case "Failed":
        return Effect.fail(seen.error)
    }
  })

  /** Connects again and again. */
  readonly keepAlive: Effect.Effect<never> = Effect.suspend(() =>
    Effect.forever(Effect.catch(Effect.scoped(this.lifetime), (error) => this.failed(error)))
  )

  /** Fails `current` from now on. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => this.fail(BrokerError.brokerClosed(this.driver.name)))

  private readonly lifetime = Effect.gen({ self: this }, function*() {
    yield* this.throttle.pause
    const { connection, stats } = yield* greet(this.driver)
    const openedAt = yield* Clock.currentTimeMillis
    yield* this.opened({ connection, greeting: this.greetingOf(stats) })
    const error = yield* connection.closed
    this.throttle.ended(openedAt, yield* Clock.currentTimeMillis)
    yield* this.log.ended(error)
  })

  private opened(open: OpenConnection<A>): Effect.Effect<void> {
    this.failures = 0
    return Effect.andThen(this.log.opened, this.become({ _tag: "Open", open }, Exit.succeed(open)))
  }

  private readonly failed = Effect.fnUntraced({ self: this }, function*(error: BrokerError.BrokerError) {
    yield* this.fail(error)
    yield* this.log.failed(error)
    yield* Effect.flatMap(backOff(++this.failures), Effect.sleep)
    this.state = connecting()
  })

  private fail(error: BrokerError.BrokerError): Effect.Effect<void> {
    return this.become({ _tag: "Failed", error }, Exit.fail(error))
  }

  /** The state as of now: a connection that has ended is being replaced, even before `lifetime` notices. */
  private now(): State<A> {
    if (this.state._tag === "Open" && !this.state.open.connection.isOpen()) this.state = connecting()
    return this.state
  }

  /** Changes the state, and tells the callers that wait for the outcome of an attempt. */
  private become(next: State<A>, outcome: Exit.Exit<OpenConnection<A>, BrokerError.BrokerError>): Effect.Effect<void> {
    return Effect.suspend(() => {
      const last = this.now()
      this.state = next
      return last._tag === "Connecting" ? Deferred.done(last.outcome, outcome) : Effect.void
    })
  }
}

/** Connects in the background until the scope closes. `current` is the open connection. */
export const make = Effect.fnUntraced(function*<A>(driver: Driver, greetingOf: (stats: ServerStats) => A) {
  const kept = new KeptConnection(driver, greetingOf)
  yield* Effect.addFinalizer(() => kept.close)
  yield* Effect.forkScoped(kept.keepAlive)
  return { current: kept.current }
})
