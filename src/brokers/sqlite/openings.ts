/**
 * Opens a session on the file, and replaces a session that can't be used any
 * more.
 *
 * If the next session opens the same file it keeps the leases of the last one. No
 * file is opened where SQLite would apply the log of another file to it.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { BrokerError } from "../../BrokerError.ts"
import { failure } from "./failure.ts"
import * as Session from "./session.ts"

export interface Options extends Session.Options {
  /** Called with every session but the first. */
  readonly onOpened: (session: Session.Session, isSameFile: boolean) => void
}

/** The sessions on one path, one after the other. */
export class Openings {
  private readonly options: Options
  private readonly scope: Scope.Scope
  private last: { readonly session: Session.Session; readonly scope: Scope.Closeable } | undefined
  /** Whether the session was closed before there was a next one. */
  private isClosed = false

  /** The session closes when `scope` does. */
  constructor(options: Options, scope: Scope.Scope) {
    this.options = options
    this.scope = scope
  }

  /** The current session. Use it only after {@link open} has succeeded. */
  get session(): Session.Session {
    return this.last!.session
  }

  /** Opens a session on the file at the path. */
  readonly open: Effect.Effect<void, BrokerError> = Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      Scope.fork(this.scope),
      (scope) => Effect.flatMap(restore(this.openIn(scope)), (session) => this.replaceBy(session, scope))
    )
  )

  private openIn(scope: Scope.Closeable): Effect.Effect<Session.Session, BrokerError> {
    return Session.make(this.options, this.last?.session).pipe(
      Scope.provide(scope),
      Effect.onExit((exit) => Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit))
    )
  }

  private replaceBy(session: Session.Session, scope: Scope.Closeable): Effect.Effect<void> {
    const { isClosed, last } = this
    this.last = { session, scope }
    this.isClosed = false
    if (last === undefined) return Effect.void
    this.options.onOpened(session, session.guard.isOfSame(last.session.guard))
    if (isClosed) return Effect.void
    last.session.retire(failure(this.options.broker, last.session.guard.error("Other")))
    return Scope.close(last.scope, Exit.void)
  }

  private close(error: BrokerError): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.session.retire(error)
      this.isClosed = true
      return Scope.close(this.last!.scope, Exit.void)
    })
  }

  /** Makes sure that the file at the path is open. Fails with the reason if it can't be used. */
  readonly restore: Effect.Effect<void, BrokerError> = Effect.suspend(() => {
    if (this.isClosed) return this.open
    const { guard } = this.session
    switch (guard.look()) {
      case "Here":
        return Effect.void
      case "Gone":
        return Effect.fail(this.error("Gone"))
      case "Other":
        return Effect.andThen(this.attempt(() => guard.checkLogIsGone()), this.open)
      case "Torn":
        return this.reopenTorn
    }
  })

  /** Copies the log into the file, and opens all three files again. */
  private readonly reopenTorn = Effect.gen({ self: this }, function*() {
    const { copyLog, guard, isLogEmpty } = this.session
    const isEmpty = yield* this.attempt(isLogEmpty)
    if (!isEmpty) yield* this.attempt(() => guard.checkIsAlone())
    const isSafe = isEmpty || !guard.isLogLost || (yield* this.attempt(copyLog))
    if (!isSafe) return yield* this.error("Torn")
    yield* this.close(this.error("Torn"))
    yield* this.open
  })

  private error(standing: "Gone" | "Torn"): BrokerError {
    return failure(this.options.broker, this.session.guard.error(standing))
  }

  private attempt<A>(f: () => A): Effect.Effect<A, BrokerError> {
    return Effect.try({ try: f, catch: (cause) => failure(this.options.broker, cause) })
  }
}
