/**
 * Keeps the file at a path open, even if the file is moved, replaced or removed.
 *
 * The next operation notices that, and an idle broker notices it within
 * {@link lookInterval}. Until the file is back, or another backq file is at the
 * path, all operations fail with `Unavailable`, fate `NotSent`. Nothing is
 * written to the file that was moved. Idle workers wait for up to `reconnectFor`.
 *
 * A missing file is not created again, because another one may be on its way to
 * the path. Restarting the program creates it.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { BrokerError } from "../../BrokerError.ts"
import { monotonicMillis } from "../../internal/clock.ts"
import { failure, type FileUnusable, isMoved } from "./failure.ts"
import { movedTo } from "./guard.ts"
import { Openings, type Options as OpeningOptions } from "./openings.ts"
import type { Session } from "./session.ts"
import * as Supervise from "./supervise.ts"

/** How often an idle broker checks its file. */
const lookInterval = "1 second"

/** The pause between two attempts to open the file at the path. */
const reopenPause = "250 millis"

export interface Options extends Omit<OpeningOptions, "onMoved"> {
  /** How long idle workers wait for the file. */
  readonly reconnectFor: Duration.Duration
}

/** The time during which the file is not at its path. */
interface Away {
  readonly since: number
  error: BrokerError
  /** Whether `reconnectFor` has passed. */
  isOver: boolean
  /** Completes after the first attempt to open the file again. */
  readonly firstAttempt: Deferred.Deferred<void>
  /** Completes when the file is open again. Fails after `reconnectFor`. */
  readonly back: Deferred.Deferred<void, BrokerError>
}

/** A file that is kept open. */
export class Presence {
  private readonly options: Options
  private readonly openings: Openings
  private readonly millis: () => number
  private away: Away | undefined
  private wake: (() => void) | undefined

  constructor(options: Options, clock: Clock.Clock, scope: Scope.Scope) {
    this.options = options
    this.openings = new Openings({ ...options, onMoved: (cause) => this.notice(cause) }, scope)
    this.millis = () => monotonicMillis(clock)
  }

  /** Opens the file for the first time. */
  get open(): Effect.Effect<void, BrokerError> {
    return this.openings.open
  }

  /** The current session. */
  readonly current = (): Session => this.openings.session

  /** Runs `f` on the current session. If the file was moved, opens what is at the path and runs `f` once more. */
  readonly use = <A>(f: (session: Session) => Effect.Effect<A, BrokerError>): Effect.Effect<A, BrokerError> =>
    Effect.catchIf(Effect.suspend(() => f(this.openings.session)), isMoved, () => this.useAgain(f))

  /** Waits until the file is open again. Fails with `Unavailable` after `reconnectFor`. */
  readonly back: Effect.Effect<void, BrokerError> = Effect.suspend(() =>
    this.away === undefined ? Effect.void : Deferred.await(this.away.back)
  )

  private useAgain<A>(f: (session: Session) => Effect.Effect<A, BrokerError>): Effect.Effect<A, BrokerError> {
    return Effect.suspend(() => this.away === undefined ? Effect.void : Deferred.await(this.away.firstAttempt)).pipe(
      Effect.andThen(
        Effect.suspend(() => this.away === undefined ? f(this.openings.session) : Effect.fail(this.away.error))
      )
    )
  }

  // ---------------------------------------------------------------------------
  // Noticing
  // ---------------------------------------------------------------------------

  private notice(cause: FileUnusable): void {
    if (this.away !== undefined) return
    this.away = {
      since: this.millis(),
      error: failure(this.options.broker, cause),
      isOver: false,
      firstAttempt: Deferred.makeUnsafe(),
      back: Deferred.makeUnsafe()
    }
    this.wake?.()
  }

  private readonly woken = Effect.callback<void>((resume) => {
    if (this.away !== undefined) return resume(Effect.void)
    this.wake = () => resume(Effect.void)
  })

  private readonly look = Effect.suspend(() => {
    const { guard } = this.openings.session
    const standing = guard.inspect()
    if (standing !== "Here") this.notice(guard.error(standing))
    return this.away === undefined ? Effect.void : this.reopen(this.away)
  })

  /** Checks the file, and opens it again if it was moved, until interrupted. */
  readonly watch: Effect.Effect<never> = Effect.suspend(() =>
    Effect.timeoutOption(this.woken, lookInterval).pipe(
      // The transaction that noticed the move must roll back first.
      Effect.andThen(Effect.yieldNow),
      Effect.andThen(this.look),
      (round) => Supervise.forever(`the watch over ${this.options.broker}`, round)
    )
  )

  // ---------------------------------------------------------------------------
  // Opening it again
  // ---------------------------------------------------------------------------

  private readonly reopen = Effect.fnUntraced({ self: this }, function*(away: Away) {
    yield* this.warn(away)
    this.openings.session.waiters.fail(away.error)
    while (true) {
      const tried = yield* Effect.result(this.openings.restore)
      if (Result.isSuccess(tried)) break
      this.failed(away, tried.failure)
      yield* Effect.sleep(reopenPause)
    }
    this.away = undefined
    Deferred.doneUnsafe(away.firstAttempt, Effect.void)
    Deferred.doneUnsafe(away.back, Effect.void)
    yield* Effect.logInfo(`${this.options.broker} is open again`)
  })

  private warn({ error }: Away): Effect.Effect<void> {
    const { reconnectFor } = this.options
    const patience = Duration.isFinite(reconnectFor) ? ` for ${Duration.format(reconnectFor)}` : ""
    return Effect.logWarning(
      `${error.message} The broker accepts nothing until the file is back; workers wait for it${patience}.`
    )
  }

  private failed(away: Away, error: BrokerError): void {
    away.error = isMoved(error) ? error : this.unusable(error)
    Deferred.doneUnsafe(away.firstAttempt, Effect.void)
    if (away.isOver || this.millis() - away.since < Duration.toMillis(this.options.reconnectFor)) return
    away.isOver = true
    Deferred.doneUnsafe(away.back, Effect.fail(away.error))
  }

  private unusable({ reason }: BrokerError): BrokerError {
    const why = reason._tag === "Unavailable" ? reason.detail : reason.message
    return failure(this.options.broker, movedTo(this.options.path, why))
  }
}

/** Opens a file and keeps it open until the scope closes. */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Presence, BrokerError, Scope.Scope> {
  const presence = new Presence(options, yield* Clock.Clock, yield* Effect.scope)
  yield* presence.open
  yield* Effect.forkScoped(presence.watch)
  return presence
})
