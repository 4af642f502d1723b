/**
 * Keeps one connection alive.
 *
 * A fiber connects, greets (so that what is needed is known before anybody's
 * command), waits for the end of the connection and begins again: at once
 * after a connection that worked, since a proxy or a server that closes idle
 * connections is no failure, and with a growing pause after an attempt that
 * failed. Who asks for the connection meanwhile waits for the outcome of the
 * attempt; who asks in the pause after a failed attempt fails at once with its
 * failure. The fate of those failures is `NotSent`.
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

/** The pause after this many failures in a row: 50 ms, doubling to 5 s, give or take a fifth. */
export const backOff = (failures: number): Effect.Effect<Duration.Duration> =>
  Effect.map(Random.nextBetween(0.8, 1.2), (jitter) => Duration.millis(pauseMillis(failures, jitter, pauses)))

/** Is it worth waiting for the server? Not when a setting is wrong. */
export const isWorthWaiting = (error: BrokerError.BrokerError): boolean =>
  error.reason._tag === "Unavailable" && !isMisconfigured(error.reason.cause)

/** What lasted for less than this was brief, in milliseconds. */
const brief = 1000
/** The longest pause after what worked. */
const longestBreath = Duration.seconds(1)

/**
 * Keeps what works, and ends as soon as it has begun, from being begun again as
 * fast as the network allows: a connection, or a wait for a job.
 */
export class Breath {
  private readonly spare: number
  private briefOnes = 0

  /** So many brief ones in a row are nothing unusual. */
  constructor(spare = 0) {
    this.spare = spare
  }

  /** What began at a time has ended. */
  ended(beganAt: number, now: number): void {
    this.briefOnes = now - beganAt < brief ? this.briefOnes + 1 : 0
  }

  /** Before the next one. No pause after one that lasted. */
  readonly take: Effect.Effect<void> = Effect.suspend(() =>
    this.briefOnes <= this.spare
      ? Effect.void
      : Effect.flatMap(
        backOff(this.briefOnes - this.spare),
        (pause) => Effect.sleep(Duration.min(pause, longestBreath))
      )
  )
}

/**
 * What the log says of one server: that an attempt failed, once, and that it
 * went well again. A connection that was closed by the other side, as idle
 * ones are, is not worth a line; one that fell silent or broke the protocol is.
 */
export class Log {
  private readonly name: string
  private told = false

  constructor(name: string) {
    this.name = name
  }

  readonly failed = (error: BrokerError.BrokerError): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (this.told) return Effect.void
      this.told = true
      return Effect.logWarning(`connecting again: ${error.message}`)
    })

  readonly ended = (error: BrokerError.BrokerError): Effect.Effect<void> =>
    error.reason._tag === "Unavailable" && !Cause.isTimeoutError(error.reason.cause)
      ? Effect.logDebug(`connecting again: ${error.message}`)
      : this.failed(error)

  readonly opened: Effect.Effect<void> = Effect.suspend(() => {
    if (!this.told) return Effect.void
    this.told = false
    return Effect.logInfo(`${this.name} is reachable again`)
  })
}

/** A connection that was greeted, and what the greeting found out. */
export interface Ready<A> {
  readonly connection: Connection
  readonly greeting: A
}

type State<A> =
  | { readonly _tag: "Connecting"; readonly outcome: Deferred.Deferred<Ready<A>, BrokerError.BrokerError> }
  | { readonly _tag: "Ready"; readonly ready: Ready<A> }
  | { readonly _tag: "Failed"; readonly error: BrokerError.BrokerError }

const connecting = <A>(): State<A> => ({ _tag: "Connecting", outcome: Deferred.makeUnsafe() })

/** A connection that is opened again whenever it ends. `current` is the way to it, `keepAlive` the work. */
class KeptConnection<A> {
  private readonly driver: Driver
  private readonly greetingOf: (stats: ServerStats) => A
  private readonly log: Log
  private readonly breath = new Breath()
  private state: State<A> = connecting()
  private failures = 0

  constructor(driver: Driver, greetingOf: (stats: ServerStats) => A) {
    this.driver = driver
    this.greetingOf = greetingOf
    this.log = new Log(driver.name)
  }

  /** The open connection. Waits for an attempt that is under way; fails during the pause after a failed one. */
  readonly current: Effect.Effect<Ready<A>, BrokerError.BrokerError> = Effect.suspend(() => {
    const seen = this.now()
    switch (seen._tag) {
      case "Ready":
        return Effect.succeed(seen.ready)
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
    yield* this.breath.take
    const { connection, stats } = yield* greet(this.driver)
    const openedAt = yield* Clock.currentTimeMillis
    yield* this.opened({ connection, greeting: this.greetingOf(stats) })
    const error = yield* connection.closed
    this.breath.ended(openedAt, yield* Clock.currentTimeMillis)
    yield* this.log.ended(error)
  })

  private opened(ready: Ready<A>): Effect.Effect<void> {
    this.failures = 0
    return Effect.andThen(this.log.opened, this.become({ _tag: "Ready", ready }, Exit.succeed(ready)))
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
    if (this.state._tag === "Ready" && !this.state.ready.connection.isOpen()) this.state = connecting()
    return this.state
  }

  /** Changes the state, and tells the callers that wait for the outcome of an attempt. */
  private become(next: State<A>, outcome: Exit.Exit<Ready<A>, BrokerError.BrokerError>): Effect.Effect<void> {
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
