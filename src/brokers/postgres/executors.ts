/**
 * Transactions of other clients, as something that runs SQL. The types name
 * only what is used of a client, so that none of them has to be installed. A
 * pool, which would commit each statement by itself, does not fit them.
 */
import { optionInvalid } from "../../BrokerError.ts"

/**
 * Runs one statement in an open transaction and returns its rows, as objects.
 * Placeholders are `$1`, `$2` and so on; all values are text.
 *
 * @category models
 * @since 0.1.0
 */
export type Executor = (sql: string, values: ReadonlyArray<string>) => PromiseLike<ReadonlyArray<unknown>>

/**
 * A client of `pg` (node-postgres) after its `BEGIN`.
 *
 * @category models
 * @since 0.1.0
 */
export interface PgTransaction {
  readonly query: (sql: string, values: Array<string>) => PromiseLike<{ readonly rows: ReadonlyArray<unknown> }>
  readonly getTransactionStatus?: () => string | null
  /** Only a pool has it. */
  readonly totalCount?: never
}

/**
 * The `sql` that `sql.begin` of `postgres` (Postgres.js) gives.
 *
 * @category models
 * @since 0.1.0
 */
export interface PostgresTransaction {
  readonly unsafe: (sql: string, values: Array<string>) => PromiseLike<ReadonlyArray<unknown>>
  /** Only a transaction has it. */
  readonly savepoint: unknown
}

/**
 * The `trx` that kysely's `db.transaction().execute` gives.
 *
 * @category models
 * @since 0.1.0
 */
export interface KyselyTransaction {
  readonly isTransaction: true
  readonly executeQuery: (query: {
    readonly sql: string
    readonly parameters: ReadonlyArray<unknown>
    readonly query: { readonly kind: "RawNode"; readonly sqlFragments: Array<string>; readonly parameters: [] }
    readonly queryId: { readonly queryId: string }
  }) => PromiseLike<{ readonly rows: ReadonlyArray<unknown> }>
}

/**
 * The `tx` that drizzle's `db.transaction` gives.
 *
 * @category models
 * @since 0.1.0
 */
export interface DrizzleTransaction {
  readonly execute: (query: any) => PromiseLike<unknown>
  /** Only a transaction has it. */
  readonly rollback: () => never
}

/**
 * The `sql` of drizzle.
 *
 * @category models
 * @since 0.1.0
 */
export interface DrizzleSql {
  readonly raw: (sql: string) => any
  readonly param: (value: string) => any
  readonly join: (chunks: Array<any>) => unknown
}

/**
 * Runs SQL in the transaction that a client of `pg` has open.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromPg = (client: PgTransaction): Executor => (sql, values) => {
  // Clients before 8.17 do not know their status.
  const status = client.getTransactionStatus?.() ?? "T"
  return status === "I" || "totalCount" in client
    ? Promise.reject(
      optionInvalid("fromPg", "must be given a client between BEGIN and COMMIT, not a pool or an idle one")
    )
    : client.query(sql, [...values]).then(({ rows }) => rows)
}

/**
 * Runs SQL in a transaction of `postgres` (Postgres.js).
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromPostgres = (sql: PostgresTransaction): Executor => (text, values) => sql.unsafe(text, [...values])

let queries = 0

/**
 * Runs SQL in a transaction of kysely.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromKysely = (trx: KyselyTransaction): Executor => (sql, values) =>
  trx.executeQuery({
    sql,
    parameters: values,
    query: { kind: "RawNode", sqlFragments: [sql], parameters: [] },
    queryId: { queryId: `backq-${++queries}` }
  }).then(({ rows }) => rows)

/**
 * Runs SQL in a transaction of drizzle, whichever driver it has. `sql` is drizzle's own.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromDrizzle = (tx: DrizzleTransaction, sql: DrizzleSql): Executor => (text, values) => {
  // A placeholder may come more than once, and each is a parameter of its own for drizzle.
  const chunks = text.split(/\$(\d+)/).map((part, i) =>
    i % 2 === 0 ? sql.raw(part) : sql.param(values[Number(part) - 1]!)
  )
  return tx.execute(sql.join(chunks)).then((result) =>
    Array.isArray(result) ? result : (result as { readonly rows: ReadonlyArray<unknown> }).rows
  )
}
