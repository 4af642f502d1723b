/**
 * Other queues on SQLite, for the benchmark: Effect's own PersistedQueue and
 * plainjob, both on `node:sqlite`. Each puts and works `n` jobs.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as PersistedQueue from "effect/persistence/PersistedQueue"
import * as Reactivity from "effect/reactivity/Reactivity"
import type * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import * as SqlClient from "effect/sql/SqlClient"
import type * as SqlConnection from "effect/sql/SqlConnection"
import * as SqlError from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import * as Stream from "effect/Stream"
import { DatabaseSync, type StatementSync } from "node:sqlite"
import { type Connection, defineQueue, defineWorker } from "plainjob"
import type { Candidate } from "./compare.ts"

/** A queue that is measured beside backq. */
export interface Peer {
  readonly put: Candidate
  /** Puts in the fastest way that it offers. */
  readonly putMany: Candidate
  readonly work: Candidate
  readonly close: () => Promise<void>
}

const openDatabase = (path: string, durability: string) => {
  const database = new DatabaseSync(path)
  database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${durability}`)
  const statements = new Map<string, StatementSync>()
  const prepare = (sql: string) => {
    const known = statements.get(sql)
    if (known !== undefined) return known
    const statement = database.prepare(sql)
    statements.set(sql, statement)
    return statement
  }
  return { database, prepare }
}

// -- Effect's PersistedQueue: its SqlClient over node:sqlite

const sqlClient = (path: string, durability: string) =>
  Effect.gen(function*() {
    const { database, prepare } = openDatabase(path, durability)
    yield* Effect.addFinalizer(() => Effect.sync(() => database.close()))
    const all = (sql: string, params: ReadonlyArray<any>, asArrays: boolean) =>
      Effect.try({
        try: () => {
          const statement = prepare(sql)
          statement.setReturnArrays(asArrays)
          return statement.all(...params) as ReadonlyArray<any>
        },
        catch: (cause) =>
          new SqlError.SqlError({
            reason: SqlError.classifySqliteError(cause, { operation: "execute", message: "a statement failed" })
          })
      })
    const execute: SqlConnection.Connection["execute"] = (sql, params, transform) =>
      Effect.map(all(sql, params, false), (rows) => transform?.(rows) ?? rows)
    const connection: SqlConnection.Connection = {
      execute,
      executeUnprepared: execute,
      executeRaw: (sql, params) => all(sql, params, false),
      executeStream: () => Stream.die("not needed"),
      executeValues: (sql, params) => all(sql, params, true),
      executeValuesUnprepared: (sql, params) => all(sql, params, true)
    }
    return yield* SqlClient.make({
      ...SqlClient.makeSqliteAcquirers({
        connection: Effect.succeed(connection),
        semaphore: yield* Semaphore.make(1),
        isTransaction: () => database.isTransaction
      }),
      driver: "sqlite",
      compiler: Statement.makeCompilerSqlite(),
      beginTransaction: "BEGIN IMMEDIATE",
      prepareTransactionControls: true,
      releaseSavepoint: (name) => `RELEASE SAVEPOINT ${name}`,
      spanAttributes: []
    })
  })

/** Effect's PersistedQueue. It has no batches: concurrent calls wait for one connection. */
export const persistedQueue = <S extends Schema.Codec<any, any>>(
  options: { readonly path: string; readonly durability: string; readonly schema: S; readonly concurrency: number },
  payload: S["Type"]
): Peer => {
  const runtime = ManagedRuntime.make(
    PersistedQueue.layer.pipe(
      Layer.provide(PersistedQueue.layerStoreSql()),
      Layer.provide(Layer.effect(SqlClient.SqlClient, sqlClient(options.path, options.durability))),
      Layer.provide(Reactivity.layer)
    )
  )
  const queue = PersistedQueue.make({ name: "bench", schema: options.schema })
  const put = (concurrency: number): Candidate => (n) =>
    runtime.runPromise(
      Effect.flatMap(queue, (queue) =>
        Effect.forEach(Array.from({ length: n }), () => queue.offer(payload), { concurrency, discard: true }))
    )
  return {
    put: put(1),
    putMany: put(options.concurrency),
    work: (n) =>
      runtime.runPromise(Effect.gen(function*() {
        const persisted = yield* queue
        let left = n
        const take = Effect.suspend(() => persisted.take(() => Effect.sync(() => left--)))
        const takers = yield* Effect.forEach(
          Array.from({ length: options.concurrency }),
          () => Effect.forkChild(Effect.forever(take))
        )
        while (left > 0) yield* Effect.sleep("1 millis")
        yield* Fiber.interruptAll(takers)
      })),
    close: () => runtime.dispose()
  }
}

// -- plainjob

const silent = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} }

const plainjobConnection = (path: string, durability: string): Connection => {
  const { database, prepare } = openDatabase(path, durability)
  return {
    driver: "better-sqlite3",
    filename: path,
    // it would choose a lower durability
    pragma: (text) => /synchronous/.test(text) ? undefined : database.exec(`PRAGMA ${text}`),
    exec: (sql) => database.exec(sql),
    prepare: prepare as Connection["prepare"],
    transaction: ((work: (...args: ReadonlyArray<unknown>) => unknown) => {
      const immediate = (...args: ReadonlyArray<unknown>) => {
        database.exec("BEGIN IMMEDIATE")
        const result = work(...args)
        database.exec("COMMIT")
        return result
      }
      return Object.assign(immediate, { immediate })
    }) as unknown as Connection["transaction"],
    close: () => database.close()
  }
}

/** plainjob. Its worker runs one job at a time. */
export const plainjob = (
  options: { readonly path: string; readonly durability: string },
  payload: unknown
): Peer => {
  const queue = defineQueue({ connection: plainjobConnection(options.path, options.durability), logger: silent })
  return {
    put: async (n) => {
      for (let i = 0; i < n; i++) queue.add("bench", payload)
    },
    putMany: async (n) => {
      queue.addMany("bench", Array.from({ length: n }, () => payload))
    },
    work: async (n) => {
      let left = n
      const worker = defineWorker("bench", () => {}, {
        queue,
        logger: silent,
        pollIntervall: 1,
        onCompleted: () => {
          if (--left === 0) void worker.stop()
        }
      })
      await worker.start()
      queue.removeDoneJobs(0)
    },
    close: async () => queue.close()
  }
}
