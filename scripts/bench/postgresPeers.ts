/**
 * Other queues on PostgreSQL, for the benchmark: pg-boss, graphile-worker and
 * BullMQ. Each is used in the fastest way that it offers, with upkeep off.
 */
import * as Bullmq from "bullmq"
import { Logger, makeWorkerUtils, run, type RunnerOptions } from "graphile-worker"
import type { Client } from "pg"
import { PgBoss } from "pg-boss"
import type { Candidate } from "./compare.ts"

/** A queue that is measured beside backq. */
export interface Peer {
  /** Puts one job. */
  readonly put: () => Promise<unknown>
  /** Puts jobs in one call. */
  readonly putAll: (n: number) => Promise<unknown>
  /** Each works `n` jobs that wait; the best settings of the queue first. */
  readonly work: Readonly<Record<string, Candidate>>
  /** Resolves when the handler of the next job begins. */
  readonly listen?: () => Promise<{ readonly next: () => Promise<void>; readonly end: () => Promise<void> }>
  /** SQL that leases and settles all waiting jobs, as a worker does. Without it, this part is not measured. */
  readonly settled: ReadonlyArray<string>
  /** Empties the queue. */
  readonly empty: () => Promise<unknown>
  readonly close: () => Promise<void>
}

const name = "bench"

/** Counts handled jobs, and resolves when all are. */
const counter = (n: number) => {
  const { promise, resolve } = Promise.withResolvers<void>()
  let left = n
  return {
    all: promise,
    count: (by: number) => {
      left -= by
      if (left <= 0) resolve()
    }
  }
}

export const pgBoss = async (client: Client, url: string, payload: object): Promise<Peer> => {
  const boss = new PgBoss({ connectionString: url, supervise: false, schedule: false })
  boss.on("error", (error) => console.error(error))
  await boss.start()
  await boss.createQueue(name)
  const work = (batchSize: number): Candidate => async (n) => {
    const { all, count } = counter(n)
    const options = { batchSize, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 }
    const id = await boss.work(name, options, async (jobs) => count(jobs.length))
    await all
    await boss.offWork(name, { id, wait: true })
  }
  return {
    put: () => boss.send(name, payload),
    putAll: (n) => boss.insert(name, Array.from({ length: n }, () => ({ data: payload }))),
    work: { "batches of 500": work(500) },
    settled: [
      "UPDATE pgboss.job SET state = 'active', started_on = now() WHERE state = 'created'",
      "UPDATE pgboss.job SET state = 'completed', completed_on = now() WHERE state = 'active'"
    ],
    empty: () => client.query("TRUNCATE pgboss.job CASCADE"),
    close: () => boss.stop({ graceful: false })
  }
}

export const graphile = async (client: Client, url: string, payload: object): Promise<Peer> => {
  const logger = new Logger(() => () => {})
  const utils = await makeWorkerUtils({ connectionString: url, logger })
  await utils.migrate()
  const runner = (handler: () => void, options: Pick<RunnerOptions, "concurrency" | "preset">) =>
    run({ connectionString: url, logger, noHandleSignals: true, ...options, taskList: { [name]: handler } })
  const work = (concurrency: number, worker?: object): Candidate => async (n) => {
    const { all, count } = counter(n)
    const running = await runner(() => count(1), {
      concurrency,
      ...(worker === undefined ? {} : { preset: { worker: { concurrentJobs: concurrency, ...worker } } })
    })
    await all
    await running.stop()
  }
  return {
    put: () => utils.addJob(name, payload),
    putAll: (n) => utils.addJobs(Array.from({ length: n }, () => ({ identifier: name, payload }))),
    work: {
      "concurrency 24, local queue of 500": work(24, { localQueue: { size: 500 }, completeJobBatchDelay: 0 }),
      "concurrency 24": work(24)
    },
    listen: async () => {
      let begun = Promise.withResolvers<void>()
      const running = await runner(() => begun.resolve(), { concurrency: 24 })
      return {
        next: async () => {
          await begun.promise
          begun = Promise.withResolvers<void>()
        },
        end: () => running.stop()
      }
    },
    settled: [
      "UPDATE graphile_worker._private_jobs SET attempts = attempts + 1, locked_by = 'gone', locked_at = now()",
      "DELETE FROM graphile_worker._private_jobs"
    ],
    empty: () => client.query("TRUNCATE graphile_worker._private_jobs"),
    close: async () => await utils.release()
  }
}

export const bullmq = async (_client: Client, url: string, payload: object): Promise<Peer> => {
  const connection = { connectionString: url, schema: "bullmq", migrate: true }
  const queue = new Bullmq.Queue(name, { connection }, Bullmq.createPostgresBackend)
  await queue.waitUntilReady()
  const options = { removeOnComplete: true }
  const work: Candidate = async (n) => {
    const { all, count } = counter(n)
    const worker = new Bullmq.Worker(
      name,
      async () => {},
      { connection, concurrency: 32 },
      Bullmq.createPostgresBackend
    )
    worker.on("error", (error) => console.error(error))
    worker.on("completed", () => count(1))
    await all
    await worker.close()
  }
  return {
    put: () => queue.add(name, payload, options),
    putAll: (n) => queue.addBulk(Array.from({ length: n }, () => ({ name, data: payload, opts: options }))),
    work: { "concurrency 32": work },
    settled: [],
    empty: () => queue.obliterate({ force: true }),
    close: () => queue.close()
  }
}
