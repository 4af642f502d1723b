/**
 * The transaction that the caller of the broker is in, if any: the one of
 * `within`, or the one of the client that the broker was made on.
 *
 * What runs in it has texts as parameters, since that is what every client
 * sends alike, and returns rows whose first column is an id.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Semaphore from "effect/Semaphore"
import { optionInvalid } from "../../BrokerError.ts"
import { callOr } from "../../internal/thrown.ts"
import * as Driver from "./driver.ts"
import type { Executor } from "./executors.ts"

/** A transaction that is open. */
export interface Transaction {
  /** Runs a statement. Returns the ids that it returns. */
  readonly run: (
    sql: string,
    values: ReadonlyArray<string>
  ) => Effect.Effect<ReadonlyArray<string>, Driver.DriverError>
  /** Runs an effect when the transaction has committed. Returns whether there is a way to know. */
  readonly afterCommit: (effect: Effect.Effect<void>) => Effect.Effect<boolean>
}

// -----------------------------------------------------------------------------
// Of any client
// -----------------------------------------------------------------------------

const transactionOver = new Driver.DriverError({
  phase: "query",
  code: undefined,
  detail: "what ran within this transaction has ended: publish before that",
  cause: undefined
})

/** The rows of an executor are not what it must return. */
export const rowsInvalid = optionInvalid(
  "the executor of within",
  "must return the rows of the statement, all of them and as an array of objects: return result.rows"
)

const rowsRefused = Driver.errorOfClient(rowsInvalid)

const idIn = (row: unknown): string | undefined => {
  const id = Predicate.hasProperty(row, "id") ? row.id : undefined
  return typeof id === "string" || typeof id === "number" || typeof id === "bigint" ? String(id) : undefined
}

/** The ids of rows; `undefined` where they are no rows. They are what user code returned, and may throw. */
const idsIn = (rows: unknown): ReadonlyArray<string> | undefined =>
  callOr(() => {
    const ids = Array.isArray(rows) ? rows.map(idIn) : [undefined]
    return ids.every((id) => id !== undefined) ? ids : undefined
  }, () => undefined)

/** The transaction of an executor, for as long as `within` runs. */
class Within implements Transaction {
  private readonly executor: Executor
  private readonly oneAtATime = Semaphore.makeUnsafe(1)
  private isOver = false

  constructor(executor: Executor) {
    this.executor = executor
  }

  run(sql: string, values: ReadonlyArray<string>): ReturnType<Transaction["run"]> {
    return this.oneAtATime.withPermits(1)(
      Effect.suspend(() =>
        this.isOver ? Effect.fail(transactionOver) : Effect.flatMap(
          Effect.tryPromise({
            // An executor may throw before it returns a promise.
            try: () => Promise.resolve().then(() => this.executor(sql, values)),
            catch: Driver.errorOfClient
          }),
          (rows) => {
            const ids = idsIn(rows)
            return ids === undefined ? Effect.fail(rowsRefused) : Effect.succeed(ids)
          }
        )
      )
    )
  }

  /** A client of others says nothing of its commits. */
  afterCommit(): Effect.Effect<boolean> {
    return Effect.succeed(false)
  }

  end(): void {
    this.isOver = true
  }
}

const Current = Context.Reference<Within | undefined>("backq/postgres/Within", { defaultValue: () => undefined })

/**
 * Makes what is published inside a part of a transaction that any client has
 * open: the job exists if and only if the transaction commits. `done` settles in
 * it likewise.
 *
 * The job is there, and wakes a worker, at the commit. A failure inside aborts
 * the transaction: roll it back. Other brokers than PostgreSQL ignore this.
 *
 * ```ts
 * Publisher.publish(Welcome, { user }).pipe(PostgresBroker.within(PostgresBroker.fromPg(client)))
 * ```
 *
 * @category functions
 * @since 0.1.0
 */
export const within = (executor: Executor) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const transaction = new Within(executor)
    return Effect.ensuring(
      Effect.provideService(effect, Current, transaction),
      Effect.sync(() => transaction.end())
    )
  })

// -----------------------------------------------------------------------------
// Of the client that the broker was made on
// -----------------------------------------------------------------------------

const ofClient = (client: Driver.PgClient, query: Driver.Query): Transaction => ({
  run: (sql, values) => Effect.map(query(sql, values), (rows) => rows.map(([id]) => String(id))),
  afterCommit: (effect) =>
    Effect.suspend(() => {
      // A transaction that the client did not begin itself runs this at once.
      let isOpen = true
      let isKnown = true
      const later = Effect.suspend(() => {
        isKnown = !isOpen
        return isKnown ? effect : Effect.void
      })
      return Effect.map(client.afterCommit(later), () => {
        isOpen = false
        return isKnown
      })
    })
})

// -----------------------------------------------------------------------------
// Of a client that the broker knows nothing of
// -----------------------------------------------------------------------------

/** Effect's own reference to the client whose transaction a fiber is in. It is internal there, and so it is named here. */
const AnyClient = Context.Reference<unknown>("effect/sql/CurrentTransactionService", {
  defaultValue: () => undefined
})

let hasWarned = false

const warnOnce = Effect.suspend(() => {
  if (hasWarned) return Effect.void
  hasWarned = true
  return Effect.logWarning(
    "a job was published inside a transaction, but it is not part of it: this PostgresBroker has connections of its " +
      "own, so the job stays even if the transaction rolls back. Make the broker by PostgresBroker.layerSql on the " +
      "client of the transaction, or publish by PostgresBroker.within(executor)"
  )
})

/** The transaction that the caller is in, for a broker on a client or with connections of its own. */
export const current = (client: Driver.PgClient | undefined): Effect.Effect<Option.Option<Transaction>> =>
  Effect.withFiber((fiber) => {
    const within = fiber.getRef(Current)
    if (within !== undefined) return Effect.succeedSome(within)
    const query = client === undefined ? undefined : Driver.transactionIn(client, fiber.context)
    if (query !== undefined) return Effect.succeedSome(ofClient(client!, query))
    return fiber.getRef(AnyClient) === undefined ? Effect.succeedNone : Effect.andThen(warnOnce, Effect.succeedNone)
  })
