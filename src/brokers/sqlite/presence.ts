/**
 * Keeps a file open while its path may lead somewhere else.
 *
 * A file that is moved, replaced or removed under an open broker is noticed by
 * the next operation, and within {@link lookEvery} where there is none. Until it
 * stands as it was, or another file of ours stands at the path and is open, all
 * operations fail with `Unavailable`, fate `NotSent`; nothing is written to what
 * was moved. Those who wait for jobs go on to wait, for as long as
 * `reconnectFor` allows.
 *
 * What was moved is never made anew: whoever moves files about may be about to
 * put another in its place. A restart makes a new one.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { BrokerError } from "../../BrokerError.ts"
import { failure, type FileUnusable, isMoved } from "./failure.ts"
import { movedTo } from "./guard.ts"
import { Openings, type Options as OpeningOptions } from "./openings.ts"
import type { Session } from "./session.ts"
import * as Upkeep from "./supervise.ts"

/** How often an idle broker looks whether its file is there. */
const lookEvery = "1 second"

/** Between two attempts to open what is at the path. */
const pause = "250 millis"

/** How a file is kept open. */
export interface Options extends Omit<OpeningOptions, "onMoved"> {
  /** How long those who wait for jobs wait for the file. */
  readonly reconnectFor: Duration.Duration
}

/** The file is not where it was. */
interface Away {
  readonly since: number
  error: BrokerError
  /** Did those who wait for jobs have to give up? */
  isOver: boolean
  /** Completes with the first attempt to get it back. */
  readonly firstAttempt: Deferred.Deferred<void>
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
    this.millis = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  }

  /** Opens the file for the first time. */
  get open(): Effect.Effect<void, BrokerError> {
    return this.openings.open
  }

  /** The opening of the moment. */
  readonly current = (): Session => this.openings.session

  /** Does something with the file; once more where it was not there any more, and is there again at once. */
  readonly use = <A>(f: (session: Session) => Effect.Effect<A, BrokerError>): Effect.Effect<A, BrokerError> =>
    Effect.catchIf(Effect.suspend(() => f(this.openings.session)), isMoved, () => this.useAgain(f))

  /** Waits until the file is there again, or for as long as that may take. */
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
  // Watching it
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
    return this.away === undefined ? Effect.void : this.mend(this.away)
  })

  /** Looks after the file for as long as it is not interrupted. */
  readonly watch: Effect.Effect<never> = Effect.suspend(() =>
    Effect.timeoutOption(this.woken, lookEvery).pipe(
      // what noticed it has to undo its transaction first
      Effect.andThen(Effect.yieldNow),
      Effect.andThen(this.look),
      (round) => Upkeep.forever(`looking after ${this.options.broker}`, round)
    )
  )

  // ---------------------------------------------------------------------------
  // Getting it back
  // ---------------------------------------------------------------------------

  private readonly mend = Effect.fnUntraced({ self: this }, function*(away: Away) {
    yield* this.warn(away)
    this.openings.session.waiters.fail(away.error)
    while (true) {
      const tried = yield* Effect.result(this.openings.restore)
      if (Result.isSuccess(tried)) break
      this.failed(away, tried.failure)
      yield* Effect.sleep(pause)
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
      `${error.message} Nothing is accepted until it is there; workers wait for it${patience}.`
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

/** Opens a file and keeps it open for as long as the scope lasts. */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Presence, BrokerError, Scope.Scope> {
  const presence = new Presence(options, yield* Clock.Clock, yield* Effect.scope)
  yield* presence.open
  yield* Effect.forkScoped(presence.watch)
  return presence
})
