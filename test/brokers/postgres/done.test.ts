/** Jobs that are settled in the transaction of their handler. */
import { assert, describe } from "@effect/vitest"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Broker, type Lease, putRequest } from "../../../src/Broker.ts"
import { MemoryBroker } from "../../../src/brokers/memory/index.ts"
import * as PostgresBroker from "../../../src/brokers/postgres/PostgresBroker.ts"
import { type Handler, Job, type Outcome, Publisher, Worker } from "../../../src/index.ts"
import { bury, bytes, done, reasonOf, release, requeue, take, touch } from "../../conformance/Harness.ts"
import { eventually } from "../../support/eventually.ts"
import { allow, withServers } from "../../support/limits.ts"
import { relay } from "../../support/network.ts"
import { isMissing, real, sharedCluster } from "../../support/postgres.ts"
import { type Client, clients, type Make, names, type Transaction } from "./clients.ts"

allow(withServers)

const server = sharedCluster()

const Charge = Job.make("charge", {
  payload: Schema.Int,
  ttr: "2 seconds",
  retry: Schedule.spaced("10 millis").pipe(Schedule.upTo({ times: 3 }))
})

class Undone extends Data.TaggedError("Undone") {}

const request = Result.getOrThrow(putRequest(bytes("a"), { ttr: "2 seconds" }))

const strangeLease = "the job must come from a PostgresBroker, and its lease be the one that the handler got"

const write = ({ query }: Transaction) => query("INSERT INTO ledger VALUES ('charged')")

/** Settles the job of a delivery, or of a lease, in a transaction. */
const settle = ({ within }: Transaction, delivery: Pick<Handler.Delivery, "lease">) =>
  within(PostgresBroker.done(delivery))

type Handle = (delivery: Handler.Delivery, transaction: Client["transaction"]) => Effect.Effect<unknown, unknown>

/** A client, a new schema, and a new table `ledger`. */
const cleanly = Effect.fnUntraced(function*(make: Make, url = server().url) {
  const { psql } = server()
  yield* psql("DROP SCHEMA IF EXISTS backq CASCADE; DROP TABLE IF EXISTS ledger; CREATE TABLE ledger (word text)")
  const { broker, transaction } = yield* make(url)
  const lines: Array<{ readonly message: string; readonly annotations: Record<string, unknown> }> = []
  const context = yield* Layer.build(
    Layer.merge(
      Publisher.layer.pipe(Layer.provideMerge(broker)),
      Logger.layer([
        Logger.map(
          Logger.formatStructured,
          ({ annotations, message }) => void lines.push({ message: String(message), annotations })
        )
      ])
    )
  )
  /** How often the handler's write is there, and the states of the jobs that are left. */
  const seen = Effect.all([
    psql("SELECT count(*) FROM ledger"),
    psql("SELECT coalesce(string_agg(state::text, ','), 'none') FROM backq.job")
  ])
  /** Publishes a job, works until it is settled a number of times, and returns how. */
  const work = (settled: number, handle: Handle) =>
    Publisher.publish(Charge, 1).pipe(
      Effect.andThen(Stream.runCollect(Worker.stream(
        { maxJobs: settled },
        Worker.handler(Charge, (_, delivery) => handle(delivery, transaction))
      ))),
      Effect.provide(context)
    )
  return { broker: yield* Effect.provide(Broker, context), transaction, psql, lines, seen, work }
})

const tags = (outcomes: ReadonlyArray<Outcome.Outcome>) => outcomes.map(({ _tag }) => _tag)

describe.skipIf(isMissing)("A job that its handler's transaction settles", () => {
  real("is done with its writes, whichever client has the transaction", () =>
    Effect.gen(function*() {
      for (const name of names) {
        yield* Effect.scoped(Effect.gen(function*() {
          const { seen, work } = yield* cleanly(clients[name])
          const outcomes = yield* work(
            1,
            (delivery, transaction) => transaction((open) => Effect.andThen(write(open), settle(open, delivery)))
          )
          assert.deepStrictEqual(tags(outcomes), ["Done"], name)
          assert.deepStrictEqual(yield* seen, ["1", "none"], name)
        }))
      }
    }))

  real("runs again when it rolls back, even where the handler succeeds", () =>
    Effect.gen(function*() {
      for (const name of ["@effect/sql-pg", "pg", "postgres"] as const) {
        yield* Effect.scoped(Effect.gen(function*() {
          const { seen, work } = yield* cleanly(clients[name])
          let attempt = 0
          const outcomes = yield* work(3, (delivery, transaction) => {
            const run = transaction((open) =>
              Effect.andThen(write(open), settle(open, delivery)).pipe(
                Effect.andThen(++attempt < 3 ? Effect.fail(new Undone()) : Effect.void)
              )
            )
            return attempt === 0 ? run : Effect.exit(run)
          })
          assert.deepStrictEqual(tags(outcomes), ["Retried", "Retried", "Done"], name)
          const [, second] = outcomes
          assert.include(second?._tag === "Retried" ? second.reason : "", "was rolled back", name)
          assert.deepStrictEqual(yield* seen, ["1", "none"], name)
        }))
      }
    }))

  real("runs again when a client takes a roll-back for a commit", () =>
    Effect.gen(function*() {
      const { seen, work } = yield* cleanly(clients.pg)
      let attempt = 0
      const outcomes = yield* work(2, (delivery, transaction) =>
        transaction((open) =>
          Effect.gen(function*() {
            yield* write(open)
            yield* settle(open, delivery)
            // The server answers the COMMIT of an aborted transaction with ROLLBACK, which `pg` does not tell.
            if (++attempt === 1) yield* Effect.ignore(open.query("SELECT no_such_function()"))
          })
        ))
      assert.deepStrictEqual(tags(outcomes), ["Retried", "Done"])
      assert.deepStrictEqual(yield* seen, ["1", "none"])
    }))

  real("stays done when the handler fails or is interrupted after the commit", () =>
    Effect.gen(function*() {
      for (const name of ["@effect/sql-pg", "kysely"] as const) {
        yield* Effect.scoped(Effect.gen(function*() {
          const { lines, seen, work } = yield* cleanly(clients[name])
          const outcomes = yield* work(1, (delivery, transaction) =>
            Effect.andThen(
              transaction((open) => Effect.andThen(write(open), settle(open, delivery))),
              Effect.fail(new Undone())
            ))
          assert.deepStrictEqual(tags(outcomes), ["Done"], name)
          assert.deepStrictEqual(yield* seen, ["1", "none"], name)
          const warnings = lines.filter(({ message }) => message.includes("does not run again: Undone"))
          assert.strictEqual(warnings.length, 1)
          assert.include(warnings[0]!.annotations, { queue: "charge", job: "charge", attempt: 1 })
          assert.property(warnings[0]!.annotations, "jobId")
        }))
      }
    }))

  real("follows the handler's word when the transaction rolled back", () =>
    Effect.gen(function*() {
      const { seen, work } = yield* cleanly(clients.pg)
      const undone = (delivery: Handler.Delivery, transaction: Client["transaction"]) =>
        Effect.exit(transaction((open) => Effect.andThen(settle(open, delivery), Effect.fail(new Undone()))))
      const buried = yield* work(1, (...all) => Effect.andThen(undone(...all), Job.bury("no")))
      assert.deepStrictEqual(tags(buried), ["Buried"])
      assert.deepStrictEqual(yield* seen, ["0", "3"])
      const discarded = yield* work(1, (...all) => Effect.andThen(undone(...all), Job.discard("no")))
      assert.deepStrictEqual(tags(discarded), ["Discarded"])
      assert.deepStrictEqual(yield* seen, ["0", "3"])
    }))

  real(
    "is waited for when the handler does not wait for its transaction, without holding up others",
    () =>
      Effect.gen(function*() {
        for (const name of ["@effect/sql-pg", "postgres"] as const) {
          yield* Effect.scoped(Effect.gen(function*() {
            const { broker, seen, work } = yield* cleanly(clients[name])
            const outcomes = yield* work(1, (delivery, transaction) =>
              Effect.gen(function*() {
                let isSettled = false
                const background = transaction((open) =>
                  Effect.gen(function*() {
                    yield* write(open)
                    yield* settle(open, delivery)
                    isSettled = true
                    yield* Effect.sleep("400 millis")
                    const [took] = yield* Effect.timed(broker.put("other", request))
                    assert.isBelow(Duration.toMillis(took), 300)
                  })
                )
                yield* Effect.forkDetach(background)
                yield* eventually("it is settled", () => isSettled)
              }))
            assert.deepStrictEqual(tags(outcomes), ["Done"], name)
            assert.deepStrictEqual(yield* seen, ["1", "0"], name)
          }))
        }
      })
  )

  real(
    "belongs to its transaction for longer than its time to run, and renewals don't wait for it",
    () =>
      Effect.gen(function*() {
        const { broker, transaction } = yield* cleanly(clients.pg)
        const consumer = yield* broker.consume(["q"])
        yield* broker.put("q", request)
        const lease = yield* take(consumer)
        const other = yield* Effect.forkChild(Effect.flatMap(broker.consume(["q"]), take))
        yield* transaction((open) =>
          Effect.gen(function*() {
            // A renewal that is under way, and one that comes after.
            const touched = yield* Effect.forkChild(touch(consumer, lease), { startImmediately: true })
            yield* settle(open, { lease })
            yield* Fiber.join(touched)
            const [took] = yield* Effect.timed(touch(consumer, lease))
            assert.isBelow(Duration.toMillis(took), 1000)
            yield* Effect.sleep("2500 millis")
            const [put] = yield* Effect.timed(broker.put("other", request))
            assert.isBelow(Duration.toMillis(put), 1000)
            assert.isUndefined(other.pollUnsafe())
          })
        )
        yield* done(consumer, lease)
        assert.isUndefined(other.pollUnsafe())
        yield* Fiber.interrupt(other)
      })
  )

  real("is run once more when the connection breaks before the commit", () =>
    Effect.gen(function*() {
      const way = yield* relay(server().port)
      const { seen, work } = yield* cleanly((url) =>
        Effect.map(
          Effect.all([clients.kysely(url), clients.kysely(`postgres://postgres@127.0.0.1:${way.port}/postgres`)]),
          ([direct, cut]) => ({ broker: direct.broker, transaction: cut.transaction })
        )
      )
      let attempt = 0
      const outcomes = yield* work(2, (delivery, transaction) =>
        transaction((open) =>
          Effect.gen(function*() {
            yield* write(open)
            yield* settle(open, delivery)
            if (++attempt === 1) yield* way.cut
          })
        ))
      assert.deepStrictEqual(tags(outcomes), ["Retried", "Done"])
      assert.deepStrictEqual(yield* seen, ["1", "none"])
    }))
})

describe.skipIf(isMissing)("PostgresBroker.done", () => {
  const lose = "UPDATE backq.job SET state = 0, due = NULL, holder = NULL, lease = NULL"

  real(
    "aborts a transaction whose lease is lost, whatever the handler does with the failure",
    () =>
      Effect.gen(function*() {
        for (const name of ["@effect/sql-pg", "pg", "postgres", "drizzle"] as const) {
          yield* Effect.scoped(Effect.gen(function*() {
            const { broker, psql, seen, transaction } = yield* cleanly(clients[name])
            const consumer = yield* broker.consume(["q"])
            yield* broker.put("q", request)
            const lease = yield* take(consumer)
            yield* psql(lose)
            yield* Effect.exit(transaction((open) =>
              Effect.gen(function*() {
                yield* write(open)
                assert.strictEqual((yield* reasonOf(settle(open, { lease })))._tag, "LeaseLost", name)
              })
            ))
            assert.deepStrictEqual(yield* seen, ["0", "0"], name)
            assert.strictEqual((yield* reasonOf(done(consumer, lease)))._tag, "LeaseLost", name)
          }))
        }
      })
  )

  real(
    "settles by the lease, not by the job: a later lease of the same process is another one",
    () =>
      Effect.gen(function*() {
        const { broker, psql, seen, transaction } = yield* cleanly(clients["@effect/sql-pg"])
        const consumer = yield* broker.consume(["q"])
        yield* broker.put("q", request)
        const stale = yield* take(consumer)
        yield* psql(lose)
        const lease = yield* take(yield* broker.consume(["q"]))
        assert.strictEqual(lease.id, stale.id)
        yield* Effect.exit(transaction((open) => Effect.andThen(write(open), settle(open, { lease: stale }))))
        assert.deepStrictEqual(yield* seen, ["0", "2"])
        yield* transaction((open) => Effect.andThen(write(open), settle(open, { lease })))
        assert.deepStrictEqual(yield* seen, ["1", "none"])
      })
  )

  real("is called once, in a transaction, before the worker settles", () =>
    Effect.gen(function*() {
      const { broker, psql, seen, transaction } = yield* cleanly(clients["@effect/sql-pg"])
      const consumer = yield* broker.consume(["q"])
      const next = Effect.andThen(broker.put("q", request), take(consumer))
      const lease = yield* next
      const outside = yield* reasonOf(PostgresBroker.done({ lease }))
      assert.include(outside, { _tag: "Unsupported" })
      assert.include(outside.message, "within(executor)")
      for (const strange of [{}, { lease: { ...lease } }, JSON.parse(JSON.stringify({ lease }))]) {
        const refused = yield* reasonOf(PostgresBroker.done(strange))
        assert.include(refused, { _tag: "Unsupported", hint: strangeLease })
      }
      const twice = yield* Effect.exit(
        transaction((open) => Effect.andThen(settle(open, { lease }), settle(open, { lease })))
      )
      assert.isTrue(Exit.isFailure(twice))
      yield* transaction((open) => settle(open, { lease: new Proxy(lease, {}) }))
      const again = yield* Effect.exit(transaction((open) => reasonOf(settle(open, { lease }))))
      assert.strictEqual(Exit.isSuccess(again) ? again.value._tag : undefined, "AlreadyDone")
      assert.strictEqual((yield* reasonOf(release(consumer, lease)))._tag, "AlreadyDone")
      assert.deepStrictEqual(yield* seen, ["0", "none"])

      const settled = yield* next
      yield* done(consumer, settled)
      yield* Effect.exit(
        transaction((open) => Effect.andThen(write(open), Effect.ignore(settle(open, { lease: settled }))))
      )
      assert.strictEqual(yield* psql("SELECT count(*) FROM ledger"), "0")
    }))

  real("leaves every settlement to the worker when the transaction rolls back", () =>
    Effect.gen(function*() {
      const { broker, seen, transaction } = yield* cleanly(clients.postgres)
      const consumer = yield* broker.consume(["q"])
      const undone = (lease: Lease) =>
        Effect.exit(transaction((open) => Effect.andThen(settle(open, { lease }), Effect.fail(new Undone()))))
      for (const [settlement, state] of [[release, "0"], [requeue, "0"], [bury, "3"]] as const) {
        yield* broker.put("q", request)
        const lease = yield* take(consumer)
        yield* undone(lease)
        yield* touch(consumer, lease)
        yield* settlement(consumer, lease)
        assert.deepStrictEqual(yield* seen, ["0", state])
        if (state === "0") yield* done(consumer, yield* take(consumer))
      }
      yield* broker.put("q2", request)
      const lease = yield* take(yield* broker.consume(["q2"]))
      yield* undone(lease)
    }))

  real("does not hold up the end of a consumer", () =>
    Effect.gen(function*() {
      const { broker, seen, transaction } = yield* cleanly(clients.pg)
      yield* broker.putAll("q", [request, request, request])
      const scope = yield* Scope.make()
      const leases = yield* Scope.provide(Effect.flatMap(broker.consume(["q"]), ({ reserve }) => reserve(3)), scope)
      const [open, rolledBack] = leases
      yield* Effect.exit(
        transaction((one) => Effect.andThen(settle(one, { lease: rolledBack! }), Effect.fail(new Undone())))
      )
      yield* transaction((one) =>
        Effect.gen(function*() {
          yield* settle(one, { lease: open })
          const [took] = yield* Effect.timed(Scope.close(scope, Exit.void))
          assert.isBelow(Duration.toMillis(took), 900)
        })
      )
      assert.deepStrictEqual(yield* seen, ["0", "0,0"])
    }))

  real("refuses a job of another broker", () =>
    Effect.gen(function*() {
      const { broker } = yield* MemoryBroker.make
      yield* broker.put("q", request)
      const lease = yield* take(yield* broker.consume(["q"]))
      assert.include(yield* reasonOf(PostgresBroker.done({ lease })), { _tag: "Unsupported" })
    }))
})
