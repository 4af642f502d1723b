// sign-up-kysely.ts
import { Kysely, PostgresDialect } from "kysely"
import { Pool } from "pg"
import { PostgresBroker } from "../../../src/brokers/postgres/index.ts"
import { Publisher } from "../../../src/index.ts"
import { backq, SendWelcome, url } from "./send-welcome.ts"

const db = new Kysely<{ users: { id: number } }>({
  dialect: new PostgresDialect({ pool: new Pool({ connectionString: url }) })
})

export const signUp = async (userId: number): Promise<void> => {
  await db.transaction().execute(async (trx) => {
    await trx.insertInto("users").values({ id: userId }).execute()
    await backq.runPromise(
      Publisher.publish(SendWelcome, { userId }).pipe(PostgresBroker.within(PostgresBroker.fromKysely(trx)))
    )
  })
}
