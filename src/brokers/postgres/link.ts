/**
 * A session that is opened when it is first needed, and again after it ended.
 *
 * A caller that asks while it is being opened waits for the outcome of that
 * attempt. One that asks in the pause after an attempt that failed, fails at
 * once with its failure. So an outage costs one attempt for each pause, however
 * many ask.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { brokerClosed, type BrokerError, make as brokerError, Unavailable } from "../../BrokerError.ts"
import { type Limits, pauseMillis } from "../../internal/backoff.ts"
import type { DriverError, Rows } from "./driver.ts"
import { failure, isDemoted, isUndone } from "./failure.ts"
import type { Session } from "./servers.ts"

/** What a link is made of. */
export interface Options {
  readonly broker: string
  readonly schema: string
  readonly open: Effect.Effect<Session, BrokerError, Scope.Scope>
  /** Whether there are several hosts. */
  readonly hasOthers: boolean
}

const pauses: Limits = { firstMillis: 50, longestMillis: 500 }

/** Longer than the server works on a statement. A server that is silent for longer is gone. */
const answerWithin = "40 seconds"

/** How often a session that owes answers is looked at. With no answer between two looks, another host may be the primary. */
const lookEvery = "1 second"

interface Open {
  readonly session: Session
  readonly scope: Scope.Closeable
}

/** A session that is opened when it is needed. */
export class Link {
  private readonly options: Options
  private readonly scope: Scope.Scope
  private open: Open | undefined
  private opening: Deferred.Deferred<Session, BrokerError> | undefined
  private failures = 0
  private failedWith: BrokerError | undefined
  private tryAgainAt = 0
  private isClosed = false
  /** Statements that were sent and not answered. */
  private owed = 0
  private answers = 0

  constructor(options: Options, scope: Scope.Scope) {
    this.options = options
    this.scope = scope
  }

  /** The session of the moment. */
  readonly current: Effect.Effect<Session, BrokerError> = Effect.suspend(() => {
    if (this.isClosed) return Effect.fail(brokerClosed(this.options.broker))
    if (this.open?.session.isOpen() === true) return Effect.succeed(this.open.session)
    if (this.opening !== undefined) return Deferred.await(this.opening)
    return Effect.flatMap(
      Clock.currentTimeMillis,
      (now) => this.failedWith !== undefined && now < this.tryAgainAt ? Effect.fail(this.failedWith) : this.reopen
    )
  })

  /** In the scope of the broker, so that it goes on when the first caller is interrupted. */
  private readonly reopen: Effect.Effect<Session, BrokerError> = Effect.suspend(() => {
    const opening = Deferred.makeUnsafe<Session, BrokerError>()
    this.opening = opening
    return Effect.andThen(
      Effect.forkIn(
        Effect.onExit(this.attempt, (exit) => {
          this.opening = undefined
          return Deferred.done(opening, exit)
        }),
        this.scope
      ),
      Deferred.await(opening)
    )
  })

  private readonly attempt: Effect.Effect<Session, BrokerError> = Effect.uninterruptibleMask((restore) =>
    Effect.gen({ self: this }, function*() {
      yield* this.drop
      const scope = yield* Scope.fork(this.scope)
      const exit = yield* Effect.exit(restore(Scope.provide(this.options.open, scope)))
      if (Exit.isSuccess(exit)) {
        this.open = { session: exit.value, scope }
        this.failures = 0
        this.failedWith = undefined
        if (this.options.hasOthers) yield* Effect.forkIn(restore(this.watch), scope)
        return exit.value
      }
      yield* Scope.close(scope, Exit.void)
      const failed = Exit.findErrorOption(exit)
      if (failed._tag === "Some") {
        this.failedWith = failed.value
        this.tryAgainAt = (yield* Clock.currentTimeMillis) + pauseMillis(++this.failures, 1, pauses)
      }
      return yield* exit
    })
  )

  /** A host that is cut off says nothing. So while a session owes answers and gives none, the others are asked. */
  private readonly watch: Effect.Effect<void> = Effect.suspend(() => {
    let seen = -1
    const look = Effect.suspend(() => {
      const isSilent = this.owed > 0 && this.answers === seen
      seen = this.answers
      if (!isSilent) return Effect.void
      const primary = Effect.scoped(Effect.map(this.options.open, ({ host }) => host))
      return Effect.ignore(Effect.flatMap(primary, this.leaveOthers))
    })
    return Effect.forever(Effect.andThen(Effect.sleep(lookEvery), look))
  })

  /** Ends a session with a host that is not the primary any more. */
  readonly leaveOthers = (primary: string): Effect.Effect<void> =>
    Effect.suspend(() => this.open === undefined || this.open.session.host === primary ? Effect.void : this.drop)

  /** Ends the session; the next caller opens another. */
  readonly drop: Effect.Effect<void> = Effect.suspend(() => {
    const { open } = this
    this.open = undefined
    return open === undefined ? Effect.void : Scope.close(open.scope, Exit.void)
  })

  /** Runs a statement. */
  readonly query = (sql: string, parameters: ReadonlyArray<unknown> = []): Effect.Effect<Rows, BrokerError> =>
    Effect.flatMap(this.current, (session) => this.queryOn(session, sql, parameters))

  /** Runs a statement on a session of this link. */
  readonly queryOn = (
    session: Session,
    sql: string,
    parameters: ReadonlyArray<unknown>
  ): Effect.Effect<Rows, BrokerError> => {
    const once = Effect.suspend(() => {
      this.owed++
      return Effect.onExit(session.query(sql, parameters), () => {
        this.owed--
        this.answers++
        return Effect.void
      })
    })
    return once.pipe(
      Effect.catchIf(isUndone, () => Effect.catchIf(once, isUndone, () => once)),
      Effect.timeoutOrElse({
        duration: answerWithin,
        orElse: () => Effect.andThen(this.drop, Effect.fail(this.silent))
      }),
      Effect.catchTag("DriverError", (error) => this.failed(error))
    )
  }

  private get silent(): BrokerError {
    const { broker } = this.options
    return brokerError(new Unavailable({ broker, fate: "Unknown", detail: `it gave no answer within ${answerWithin}` }))
  }

  private failed(error: DriverError): Effect.Effect<never, BrokerError> {
    const { broker, schema } = this.options
    const fail = Effect.fail(failure(broker, schema, error))
    return isDemoted(error) ? Effect.andThen(this.drop, fail) : fail
  }

  /** Ends the session for good. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.isClosed = true
    return this.drop
  })
}
