// sign-up-drizzle.ts
import { sql } from "drizzle-orm"
import { drizzle } from "drizzle-orm/node-postgres"
import { integer, pgTable } from "drizzle-orm/pg-core"
import { PostgresBroker } from "../../../src/brokers/postgres/index.ts"
import { Publisher } from "../../../src/index.ts"
import { backq, SendWelcome, url } from "./send-welcome.ts"

const users = pgTable("users", { id: integer().notNull() })

const db = drizzle(url)

export const signUp = async (userId: number): Promise<void> => {
  await db.transaction(async (tx) => {
    await tx.insert(users).values({ id: userId })
    await backq.runPromise(
      Publisher.publish(SendWelcome, { userId }).pipe(PostgresBroker.within(PostgresBroker.fromDrizzle(tx, sql)))
    )
  })
}
