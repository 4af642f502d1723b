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
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type { BrokerError } from "../../BrokerError.ts"
import { failure, type FileUnusable, isMoved } from "./failure.ts"
import { movedTo } from "./guard.ts"
import * as Session from "./session.ts"
import * as Upkeep from "./supervise.ts"

/** How often an idle broker looks whether its file is there. */
const lookEvery = "1 second"

/** Between two attempts to open what is at the path. */
const pause = "250 millis"

/** How a file is kept open. */
export interface Options extends Omit<Session.Options, "onMoved"> {
  /** How long those who wait for jobs wait for the file. */
  readonly reconnectFor: Duration.Duration
  /** Called when it was opened anew. */
  readonly onOpened: (session: Session.Session, isSameFile: boolean) => void
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
export interface Presence {
  /** The opening of the moment. */
  readonly current: () => Session.Session
  /** Does something with the file; once more where it was not there any more, and is there again at once. */
  readonly use: <A>(f: (session: Session.Session) => Effect.Effect<A, BrokerError>) => Effect.Effect<A, BrokerError>
  /** Waits until the file is there again, or for as long as that may take. */
  readonly back: Effect.Effect<void, BrokerError>
}

/** Opens a file and keeps it open for as long as the scope lasts. */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Presence, BrokerError, Scope.Scope> {
  const { broker, onOpened, reconnectFor } = options
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  const millis = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  let away: Away | undefined
  let wake: (() => void) | undefined

  const notice = (cause: FileUnusable) => {
    if (away !== undefined) return
    away = {
      since: millis(),
      error: failure(broker, cause),
      isOver: false,
      firstAttempt: Deferred.makeUnsafe(),
      back: Deferred.makeUnsafe()
    }
    wake?.()
  }

  const openIn = (scope: Scope.Closeable, previous?: Session.Session) =>
    Session.make({ ...options, onMoved: notice }, previous).pipe(
      Scope.provide(scope),
      Effect.onExit((exit) => Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit))
    )

  let sessionScope = yield* Scope.fork(scope)
  let session = yield* openIn(sessionScope)
  /** It had to be closed before it could be opened again. */
  let isClosed = false

  const unusable = ({ reason }: BrokerError): BrokerError =>
    failure(broker, movedTo(options.path, reason._tag === "Unavailable" ? reason.detail : reason.message))

  // ---------------------------------------------------------------------------
  // Getting it back
  // ---------------------------------------------------------------------------

  const close = (error: BrokerError) =>
    Effect.suspend(() => {
      session.retire(error)
      isClosed = true
      return Scope.close(sessionScope, Exit.void)
    })

  const openAnew = Effect.uninterruptibleMask(Effect.fnUntraced(function*(restore) {
    const next = yield* Scope.fork(scope)
    const opened = yield* restore(openIn(next, session))
    const [previous, previousScope, wasClosed] = [session, sessionScope, isClosed]
    const isSameFile = opened.guard.isOfSame(previous.guard)
    session = opened
    sessionScope = next
    isClosed = false
    onOpened(opened, isSameFile)
    if (wasClosed) return
    previous.retire(failure(broker, previous.guard.error("Other")))
    yield* Scope.close(previousScope, Exit.void)
  }))

  const inFile = <A>(f: () => A): Effect.Effect<A, BrokerError> =>
    Effect.try({ try: f, catch: (cause) => failure(broker, cause) })

  /** Fails with the reason why the file can't be used. */
  const getBack = Effect.gen(function*() {
    const { guard } = session
    if (isClosed) return yield* openAnew
    const standing = guard.look()
    switch (standing) {
      case "Here":
        return
      case "Gone":
        return yield* failure(broker, guard.error("Gone"))
      case "Other":
        yield* inFile(() => guard.checkLogIsGone())
        return yield* openAnew
      case "Torn": {
        // What the log holds is brought to the file, and all is opened again from there.
        const isEmpty = yield* inFile(session.isLogEmpty)
        if (!isEmpty) yield* inFile(() => guard.checkIsAlone())
        const isSafe = isEmpty || !guard.isLogLost || (yield* inFile(session.copyLog))
        if (!isSafe) return yield* failure(broker, guard.error("Torn"))
        yield* close(failure(broker, guard.error("Torn")))
        return yield* openAnew
      }
    }
  })

  const patience = Duration.isFinite(reconnectFor) ? ` for ${Duration.format(reconnectFor)}` : ""

  const mend = Effect.fnUntraced(function*(gone: Away) {
    yield* Effect.logWarning(
      `${gone.error.message} Nothing is accepted until it is there; workers wait for it${patience}.`
    )
    session.waiters.fail(gone.error)
    while (true) {
      const tried = yield* Effect.result(getBack)
      if (Result.isSuccess(tried)) {
        away = undefined
        Deferred.doneUnsafe(gone.firstAttempt, Effect.void)
        Deferred.doneUnsafe(gone.back, Effect.void)
        return yield* Effect.logInfo(`${broker} is open again`)
      }
      gone.error = isMoved(tried.failure) ? tried.failure : unusable(tried.failure)
      Deferred.doneUnsafe(gone.firstAttempt, Effect.void)
      if (!gone.isOver && millis() - gone.since >= Duration.toMillis(reconnectFor)) {
        gone.isOver = true
        Deferred.doneUnsafe(gone.back, Effect.fail(gone.error))
      }
      yield* Effect.sleep(pause)
    }
  })

  const woken = Effect.callback<void>((resume) => {
    if (away !== undefined) return resume(Effect.void)
    wake = () => resume(Effect.void)
  })

  yield* Effect.timeoutOption(woken, lookEvery).pipe(
    // what noticed it has to undo its transaction first
    Effect.andThen(Effect.yieldNow),
    Effect.andThen(Effect.suspend(() => {
      const standing = session.guard.inspect()
      if (standing !== "Here") notice(session.guard.error(standing))
      return away === undefined ? Effect.void : mend(away)
    })),
    (round) => Upkeep.forever(`looking after ${broker}`, round),
    Effect.forkScoped
  )

  // ---------------------------------------------------------------------------
  // Using it
  // ---------------------------------------------------------------------------

  return {
    current: () => session,
    use: (f) =>
      Effect.catchIf(
        Effect.suspend(() => f(session)),
        isMoved,
        () =>
          Effect.suspend(() => away === undefined ? Effect.void : Deferred.await(away.firstAttempt)).pipe(
            Effect.andThen(Effect.suspend(() => away === undefined ? f(session) : Effect.fail(away.error)))
          )
      ),
    back: Effect.suspend(() => away === undefined ? Effect.void : Deferred.await(away.back))
  }
})
