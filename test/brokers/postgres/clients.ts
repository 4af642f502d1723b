/** The clients of PostgreSQL whose transactions the broker joins, behind one interface. */
import { PgClient } from "@effect/sql-pg"
import { sql as drizzleSql } from "drizzle-orm"
import { drizzle } from "drizzle-orm/node-postgres"
import { drizzle as drizzleOnPostgres } from "drizzle-orm/postgres-js"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { CompiledQuery, Kysely, PostgresDialect } from "kysely"
import { Pool } from "pg"
import postgres from "postgres"
import type { Broker } from "../../../src/Broker.ts"
import type { BrokerError } from "../../../src/BrokerError.ts"
import * as PostgresBroker from "../../../src/brokers/postgres/PostgresBroker.ts"
import type { Inspector } from "../../../src/Inspector.ts"

/** A transaction that is open. */
export interface Transaction {
  readonly query: (sql: string) => Effect.Effect<unknown, unknown>
  /** Makes what is published or settled inside a part of it. */
  readonly within: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** A client, and a broker whose publishes can be a part of its transactions. */
export interface Client {
  /** Commits when `work` succeeds, and rolls back when it fails. */
  readonly transaction: <A, E, R>(
    work: (transaction: Transaction) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, unknown, R>
  readonly broker: Layer.Layer<Broker | Inspector, BrokerError>
}

/** What a client or the work in its transaction failed with. */
class Failed extends Data.TaggedError("Failed")<{ readonly cause: unknown }> {}

/** Makes a client of a server. It is closed with its scope. */
export type Make = (url: string) => Effect.Effect<Client, unknown, Scope.Scope>

/** A client that takes functions and gives promises. */
const ofPromises = (
  url: string,
  run: <A>(
    work: (query: (sql: string) => Promise<unknown>, executor: PostgresBroker.Executor) => Promise<A>
  ) => Promise<A>
): Client => ({
  broker: PostgresBroker.layer({ url }),
  transaction: (work) =>
    Effect.flatMap(Effect.context<any>(), (context) =>
      Effect.tryPromise({
        try: () =>
          run((query, executor) =>
            Effect.runPromiseWith(context)(
              work({
                query: (sql) => Effect.tryPromise({ try: () => query(sql), catch: (cause) => new Failed({ cause }) }),
                within: PostgresBroker.within(executor)
              })
            )
          ),
        catch: (cause) => new Failed({ cause })
      }))
})

const poolOf = (url: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const pool = new Pool({ connectionString: url, max: 4 })
      // Without these, a connection that breaks ends the program.
      pool.on("error", () => {})
      pool.on("connect", (client) => void client.on("error", () => {}))
      return pool
    }),
    (pool) => Effect.promise(() => pool.end())
  )

const postgresOf = (url: string) =>
  Effect.acquireRelease(
    Effect.sync(() => postgres(url, { max: 4, onnotice: () => {} })),
    (sql) => Effect.promise(() => sql.end({ timeout: 1 }))
  )

/** All of them, by their names. */
export const clients = {
  "@effect/sql-pg": Effect.fnUntraced(function*(url: string): Effect.fn.Return<Client, unknown, Scope.Scope> {
    const context = yield* Layer.build(PgClient.layer({ url: Redacted.make(url) }))
    const sql = yield* Effect.provide(PgClient.PgClient, context)
    return {
      broker: Layer.provide(PostgresBroker.layerSql(), Layer.succeedContext(context)),
      transaction: (work) =>
        sql.withTransaction(work({ query: (text) => sql.unsafe(text), within: (effect) => effect }))
    }
  }),
  pg: (url: string) =>
    Effect.map(poolOf(url), (pool) =>
      ofPromises(url, async (work) => {
        const client = await pool.connect()
        try {
          await client.query("BEGIN")
          const result = await work((sql) => client.query(sql), PostgresBroker.fromPg(client))
          await client.query("COMMIT")
          return result
        } catch (error) {
          await client.query("ROLLBACK")
          throw error
        } finally {
          client.release()
        }
      })),
  postgres: (url: string) =>
    Effect.map(
      postgresOf(url),
      (sql) =>
        ofPromises(url, (work) =>
          sql.begin((tx) => work((text) => tx.unsafe(text), PostgresBroker.fromPostgres(tx))) as Promise<any>)
    ),
  kysely: (url: string) =>
    Effect.map(poolOf(url), (pool) => {
      const db = new Kysely<{}>({ dialect: new PostgresDialect({ pool }) })
      return ofPromises(url, (work) =>
        db.transaction().execute((trx) =>
          work((sql) =>
            trx.executeQuery(CompiledQuery.raw(sql)), PostgresBroker.fromKysely(trx))
        ))
    }),
  drizzle: (url: string) =>
    Effect.map(poolOf(url), (pool) => {
      const db = drizzle(pool)
      return ofPromises(url, (work) =>
        db.transaction((tx) => work((text) => tx.execute(text), PostgresBroker.fromDrizzle(tx, drizzleSql))))
    }),
  "drizzle on postgres": (url: string) =>
    Effect.map(postgresOf(url), (sql) => {
      const db = drizzleOnPostgres(sql)
      return ofPromises(url, (work) =>
        db.transaction((tx) => work((text) => tx.execute(text), PostgresBroker.fromDrizzle(tx, drizzleSql))))
    })
} satisfies Record<string, Make>

export type Name = keyof typeof clients

export const names = Object.keys(clients) as ReadonlyArray<Name>
