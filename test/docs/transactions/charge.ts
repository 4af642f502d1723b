// charge.ts
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { PostgresBroker } from "../../../src/brokers/postgres/index.ts"
import { Job, Worker } from "../../../src/index.ts"

export const Charge = Job.make("charge", { payload: Schema.Struct({ account: Schema.Int, cents: Schema.Int }) })

/** The account is charged once, however often the job runs. */
export const charge = Worker.handler(Charge, ({ account, cents }, delivery) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    yield* sql.withTransaction(Effect.gen(function*() {
      yield* PostgresBroker.done(delivery)
      yield* sql`UPDATE accounts SET cents = cents - ${cents} WHERE id = ${account}`
    }))
  }))
