// sign-up-postgres.ts
import postgres from "postgres"
import { PostgresBroker } from "../../../src/brokers/postgres/index.ts"
import { Publisher } from "../../../src/index.ts"
import { backq, SendWelcome, url } from "./send-welcome.ts"

const sql = postgres(url)

export const signUp = async (userId: number): Promise<void> => {
  await sql.begin(async (tx) => {
    await tx`INSERT INTO users (id) VALUES (${userId})`
    await backq.runPromise(
      Publisher.publish(SendWelcome, { userId }).pipe(PostgresBroker.within(PostgresBroker.fromPostgres(tx)))
    )
  })
}
