/** The rules about finished jobs, for brokers that keep them for some time. */
import { assert } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { type JobId, putRequest } from "../../src/Broker.ts"
import type { BrokerError } from "../../src/BrokerError.ts"
import type { Inspector, ListedJob, Services } from "../../src/Inspector.ts"
import { assertFails, bytes, done, listAll, take, texts } from "./Harness.ts"

/** All finished jobs of the queue `q`, page by page; something may happen in between. */
export const listDone = (
  inspector: Inspector["Service"],
  limit: number,
  between?: Effect.Effect<unknown, BrokerError>
): Effect.Effect<ReadonlyArray<ListedJob>, BrokerError> => listAll({ inspector, queue: "q" }, "done", limit, between)

/** Finishes a job that was tried twice, and then one at its first attempt. Returns their ids, the latest first. */
export const finishTwo = Effect.fnUntraced(function*(
  { broker, inspector }: Services
): Effect.fn.Return<ReadonlyArray<JobId>, BrokerError> {
  return yield* Effect.scoped(Effect.gen(function*() {
    const consumer = yield* broker.consume(["q"])
    const request = (body: string, priority?: number) => Result.getOrThrow(putRequest(bytes(body), { priority }))
    const tried = yield* broker.put("q", request("tried", 7))
    yield* consumer.settle([{
      _tag: "Release",
      lease: yield* take(consumer),
      delay: Duration.zero,
      reason: "not yet",
      failure: { tag: "Busy", message: "not yet" }
    }])
    yield* done(consumer, yield* take(consumer))
    const plain = yield* broker.put("q", request("plain"))
    yield* done(consumer, yield* take(consumer))
    yield* assertFails(inspector.statsJob(plain), "NotFound")
    return [plain, tried]
  }))
})

/** Checks what is known of the jobs of {@link finishTwo}, which ended after `from`, in milliseconds since the epoch. */
export const assertKept = Effect.fnUntraced(function*(
  inspector: Inspector["Service"],
  ids: ReadonlyArray<JobId>,
  from: number
): Effect.fn.Return<void, BrokerError> {
  const jobs = yield* listDone(inspector, 100)
  assert.deepStrictEqual(jobs.map((job) => job.id), ids)
  assert.deepStrictEqual(texts(jobs), ["plain", "tried"])
  assert.include(jobs[0], { state: "done", queue: "q", attempt: 1, lastFailure: undefined })
  assert.include(jobs[1], { state: "done", queue: "q", attempt: 2, priority: 7, reason: "not yet" })
  assert.include(jobs[1]!.lastFailure, { tag: "Busy", message: "not yet" })
  for (const { finishedAt } of jobs) {
    assert.isAtLeast(finishedAt!, from)
    assert.isAtMost(finishedAt!, Date.now() + 1)
  }
  assert.deepStrictEqual((yield* inspector.list("other", { state: "done" })).jobs, [])
})
