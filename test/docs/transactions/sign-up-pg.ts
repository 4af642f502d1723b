// sign-up-pg.ts
import { Pool } from "pg"
import { PostgresBroker } from "../../../src/brokers/postgres/index.ts"
import { Publisher } from "../../../src/index.ts"
import { backq, SendWelcome, url } from "./send-welcome.ts"

const pool = new Pool({ connectionString: url })

export const signUp = async (userId: number): Promise<void> => {
  const client = await pool.connect()
  try {
    await client.query("BEGIN")
    await client.query("INSERT INTO users (id) VALUES ($1)", [userId])
    await backq.runPromise(
      Publisher.publish(SendWelcome, { userId }).pipe(PostgresBroker.within(PostgresBroker.fromPg(client)))
    )
    await client.query("COMMIT")
  } catch (error) {
    await client.query("ROLLBACK")
    throw error
  } finally {
    client.release()
  }
}
