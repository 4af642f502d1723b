/**
 * Jobs that the transaction of their handler settles: the job is done if and
 * only if the handler's own writes committed.
 *
 * The transaction deletes the job's row by its lease, so it holds the row until
 * it ends, and no other worker gets the job meanwhile, even beyond its time to
 * run. A lost lease aborts the transaction in the server, so that the writes of a
 * handler that came too late can't commit.
 *
 * The worker learns of the commit from the client, or asks for the row when the
 * handler has ended. It never waits for a transaction that is still open.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import type { Lease, Settlement } from "../../Broker.ts"
import {
  AlreadyDone,
  type BrokerError,
  leaseLost,
  make as brokerError,
  RolledBack,
  Unavailable,
  Unsupported
} from "../../BrokerError.ts"
import type { Delivery } from "../../Handler.ts"
import { textOf } from "../../internal/thrown.ts"
import { PostgresLease } from "./lease.ts"
import type { Row } from "./rows.ts"
import type { Transaction } from "./transaction.ts"

const unsupported = (broker: string, hint: string) =>
  Effect.fail(brokerError(new Unsupported({ broker, operation: "PostgresBroker.done", hint })))

/**
 * Settles the job of a handler in the transaction that the caller is in: that of the client of `layerSql`, or the one of
 * `within`. The job is done if and only if it commits; the worker then does nothing more.
 *
 * A lost lease fails with `LeaseLost` and aborts the transaction. If the transaction rolls back, the attempt counts as
 * failed and the job is retried, even if the handler succeeds. If the handler fails after the commit, the job is done all
 * the same, and the failure is logged.
 *
 * ```ts
 * Worker.handler(Charge, ({ account }, delivery) =>
 *   sql.withTransaction(Effect.gen(function*() {
 *     yield* sql`UPDATE ...`
 *     yield* PostgresBroker.done(delivery)
 *   })))
 * ```
 *
 * @category functions
 * @since 0.1.0
 */
export const done = ({ lease }: Pick<Delivery, "lease">): Effect.Effect<void, BrokerError> =>
  lease instanceof PostgresLease
    ? lease.origin.done(lease)
    : unsupported(
      Predicate.hasProperty(lease, "queue") ? `the broker of queue "${textOf(lease.queue)}"` : "a broker",
      "the job must come from a PostgresBroker, and its lease be the one that the handler got"
    )

const alreadyDone = ({ id, queue }: Lease): BrokerError => brokerError(new AlreadyDone({ queue, id }))

const rolledBack = ({ id, queue }: Lease): BrokerError => brokerError(new RolledBack({ queue, id }))

const stillOpen = (broker: string, { id }: Lease): BrokerError =>
  brokerError(
    new Unavailable({
      broker,
      fate: "NotSent",
      detail: `the transaction that settles job ${id} is still open: let the handler wait for its end`
    })
  )

/** Aborts a transaction in the server, whatever its owner does with the failure. */
const abort = ({ row }: PostgresLease): string =>
  `DO $$BEGIN RAISE EXCEPTION 'backq: the lease on job ${row} is lost'; END$$`

/** Settles a lease in a transaction. `run` runs a statement there. */
export const settleIn = Effect.fnUntraced(function*(
  broker: string,
  statement: string,
  transaction: Option.Option<Transaction>,
  run: (
    transaction: Transaction,
    sql: string,
    values: ReadonlyArray<string>
  ) => Effect.Effect<ReadonlyArray<string>, BrokerError>,
  lease: PostgresLease
): Effect.fn.Return<void, BrokerError> {
  if (Option.isNone(transaction)) {
    const hint = "call it inside a transaction of the client of layerSql, or by PostgresBroker.within(executor)"
    return yield* unsupported(broker, hint)
  }
  if (lease.isDone) return yield* alreadyDone(lease)
  const open = transaction.value
  let settled: ReadonlyArray<string> = []
  // A handler that goes on after its worker has settled the job comes too late.
  if (!lease.isSettling) {
    yield* lease.handOver
    yield* open.afterCommit(Effect.sync(() => lease.commit()))
    settled = yield* run(open, statement, [lease.row, lease.holder, lease.reserve].map(String))
  }
  if (settled.length > 0) return
  yield* Effect.ignore(run(open, abort(lease), []))
  return yield* leaseLost(lease)
})

/** The state of a lease that a transaction settles. */
export type Fate = "Committed" | "RolledBack" | "Open" | "Lost"

/** Reads the row of the statement `fate`: whether the job has the lease still, and whether no transaction locks it. */
export const fateIn = (row: Row | undefined): Fate => {
  if (row === undefined) return "Committed"
  const [isHeld, isFree] = row
  return isHeld !== true ? "Lost" : isFree === true ? "RolledBack" : "Open"
}

/** The answer to a settlement of the worker by what became of its lease; `undefined` where the worker settles it. */
export const answer = (
  broker: string,
  { _tag, lease }: Settlement,
  fate: Fate
): Result.Result<void, BrokerError> | undefined => {
  switch (fate) {
    case "Committed":
      return _tag === "Delete" ? Result.void : Result.fail(alreadyDone(lease))
    case "RolledBack":
      return _tag === "Delete" ? Result.fail(rolledBack(lease)) : undefined
    case "Open":
      return Result.fail(stillOpen(broker, lease))
    case "Lost":
      return Result.fail(leaseLost(lease))
  }
}
