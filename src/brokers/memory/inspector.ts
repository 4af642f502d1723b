/** The `Inspector` of a memory broker. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { checkQueue, type Features, type JobId } from "../../Broker.ts"
import { type BrokerError, jobNotFound, queueNotFound } from "../../BrokerError.ts"
import type { Inspector, PeekedJob } from "../../Inspector.ts"
import { Paging, Rules } from "../shared/index.ts"
import * as Jobs from "./jobs.ts"
import type { Store } from "./store.ts"

const peeked = (job: Jobs.Job | undefined): Option.Option<PeekedJob> =>
  job === undefined ? Option.none() : Option.some({ id: job.id, body: new Uint8Array(job.body) })

export const make = (name: string, features: Features, store: Store): Inspector["Service"] => {
  const existing = (queue: string): Effect.Effect<Jobs.Queue | undefined, BrokerError> =>
    Effect.suspend(() => Effect.fromResult(Result.map(checkQueue(queue), () => store.existing(queue))))

  const act = <A>(id: JobId, isAllowed: (job: Jobs.Job) => boolean, action: (job: Jobs.Job) => A) =>
    Effect.suspend(() => Effect.fromResult(store.act(id, isAllowed, action)))

  const pause: Inspector["Service"]["pause"] = (queue, duration) =>
    Effect.suspend(() => Effect.fromResult(store.pause(queue, duration)))

  return {
    name,
    features,
    peek: (id) => Effect.sync(() => peeked(store.find(id))),
    peekNext: (queue, state) => Effect.map(existing(queue), (found) => peeked(found?.[state].peek())),
    list: Effect.fnUntraced(function*(queue, options) {
      const request = yield* Effect.fromResult(Paging.request(options))
      const found = yield* existing(queue)
      return found === undefined ? { jobs: [], next: undefined } : Jobs.list(found, request, store.now())
    }),
    delete: (id) => act(id, ({ state }) => state !== "reserved", (job) => Jobs.remove(store.jobs, job)),
    kick: Effect.fnUntraced(function*(queue, max) {
      yield* Effect.fromResult(Rules.checkMax(max))
      const found = yield* existing(queue)
      if (found === undefined) return 0
      const kicked = Jobs.kickQueue(found, max)
      store.serve([found])
      return kicked
    }),
    kickJob: (id) => act(id, ({ state }) => state === "buried" || state === "delayed", Jobs.kick),
    buryJob: (id, reason) =>
      act(
        id,
        ({ state }) => state === "ready" || state === "delayed",
        (job) => Jobs.buryUnheld(store.jobs, job, reason)
      ),
    moveJob: (id, queue) => Effect.suspend(() => Effect.fromResult(store.move(id, queue))),
    restore: (queue, requests) => Effect.sync(() => store.restore(queue, requests)),
    pause,
    resume: (queue) => pause(queue, Duration.zero),
    stats: Effect.sync(() => store.stats()),
    statsQueue: (queue) =>
      Effect.flatMap(existing(queue), (found) =>
        found === undefined
          ? Effect.fail(queueNotFound(queue))
          : Effect.succeed(Jobs.queueStats(found, store.waiters.count(found), store.now()))),
    statsJob: (id) =>
      Effect.suspend(() => {
        const job = store.find(id)
        return job === undefined ? Effect.fail(jobNotFound(id)) : Effect.succeed(Jobs.jobStats(job, store.now()))
      }),
    queues: Effect.sync(() => store.names())
  }
}
