/**
 * Orders and their jobs in one database of PostgreSQL: a job is published if and
 * only if its order is committed, and done if and only if the order is charged.
 *
 *     DATABASE_URL=postgres://app@localhost/app npx tsx scripts/examples/transactions.ts
 *
 * It makes a table `orders`.
 */
import { PgClient } from "@effect/sql-pg"
import { Config, Console, Data, Effect, Layer, Schedule, Schema } from "effect"
import { SqlClient } from "effect/sql"
// in a project: from "backq", "backq/main" and "backq/postgres"
import { PostgresBroker } from "../../src/brokers/postgres/index.ts"
import { Job, Publisher, Worker } from "../../src/index.ts"
import { Main } from "../../src/main/index.ts"

const Charge = Job.make("charge", {
  payload: Schema.Struct({ order: Schema.Int }),
  retry: Schedule.spaced("100 millis")
})

class OutOfStock extends Data.TaggedError("OutOfStock") {}

class BankError extends Data.TaggedError("BankError") {}

/** Stores an order and publishes its job, or does neither. */
const place = (order: number, isInStock: boolean) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    yield* sql.withTransaction(Effect.gen(function*() {
      yield* sql`INSERT INTO orders (id) VALUES (${order})`
      yield* Publisher.publish(Charge, { order })
      if (!isInStock) return yield* new OutOfStock()
    }))
    yield* Console.log(`order ${order} is placed`)
  }).pipe(Effect.catchTag("OutOfStock", () => Console.log(`order ${order} is rolled back, and its job with it`)))

/** Charges an order and settles its job, or does neither. The first attempt fails at the end. */
const charge = Worker.handler(Charge, ({ order }, delivery) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const attempt = yield* delivery.attempt
    yield* sql.withTransaction(Effect.gen(function*() {
      yield* PostgresBroker.done(delivery)
      yield* sql`UPDATE orders SET charged = charged + 1 WHERE id = ${order}`
      if (attempt === 1) return yield* new BankError()
    }))
    yield* Console.log(`order ${order} is charged by attempt ${attempt}`)
  }))

const program = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`DROP TABLE IF EXISTS orders`
  yield* sql`CREATE TABLE orders (id int PRIMARY KEY, charged int NOT NULL DEFAULT 0)`
  yield* place(1, true)
  yield* place(2, false)
  yield* Worker.run({ idleTimeout: "1 second" }, charge)
  for (const { charged, id } of yield* sql<{ id: number; charged: number }>`SELECT id, charged FROM orders`) {
    yield* Console.log(`order ${id} was charged ${charged} time(s)`)
  }
})

program.pipe(
  Effect.provide(
    Publisher.layer.pipe(
      Layer.provideMerge(PostgresBroker.layerSql()),
      Layer.provideMerge(PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") }))
    )
  ),
  Main.run
)
