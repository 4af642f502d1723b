/** The deliveries of a worker, without a broker. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { JobId, Lease } from "../../src/Broker.ts"
import { Worker } from "../../src/index.ts"
import { Attempts } from "../../src/worker/attempts.ts"
import * as Settings from "../../src/worker/options.ts"
import { Count } from "./harness.ts"

const leaseOf = (id: number): Lease => ({
  id: String(id) as JobId,
  queue: "q",
  body: new Uint8Array(),
  info: undefined
})

/** A handler that never ends. */
const run = () => Effect.runFork(Effect.never)

/** Deliveries for one handler. */
const make = Effect.gen(function*() {
  const handler = Worker.handler(Count, () => Effect.never)
  const settings = yield* Settings.make({ concurrency: 1, prefetch: 2 }, [handler])
  const attempts = new Attempts(settings, { now: () => 0, wallNow: () => 0 }, {
    startLimit: () => undefined,
    run
  })
  const decoded = {
    job: "count",
    id: "id",
    publishedAt: undefined,
    expiresAt: undefined,
    traceparent: undefined,
    next: { handler, payload: 1 }
  }
  return { attempts, deliver: (id: number) => attempts.make(leaseOf(id), decoded, 0) }
})

describe("the deliveries of a worker", () => {
  it.effect("a job that loses its lease while it waits leaves its place, any number of times", () =>
    Effect.gen(function*() {
      const { attempts, deliver } = yield* make
      attempts.admit([deliver(0)])
      assert.strictEqual(attempts.running, 1)
      for (let round = 1; round <= 100; round++) {
        const waiting = [deliver(2 * round), deliver(2 * round + 1)]
        attempts.admit(waiting)
        assert.strictEqual(attempts.waiting, 2)
        assert.strictEqual(attempts.capacity, 0)
        attempts.lose(waiting.map(({ lease }) => lease))
        assert.strictEqual(attempts.waiting, 0)
        attempts.remove(yield* attempts.takeEnded, [])
        assert.strictEqual(attempts.capacity, 2)
      }
    }))

  it.effect("waiting jobs end in order when the worker stops", () =>
    Effect.gen(function*() {
      const { attempts, deliver } = yield* make
      attempts.admit([deliver(0), deliver(1), deliver(2)])
      attempts.endWaiting({ _tag: "Requeue" })
      assert.deepStrictEqual((yield* attempts.takeEnded).map(({ lease }) => lease.id), ["1", "2"])
      assert.strictEqual(attempts.waiting, 0)
      assert.strictEqual(attempts.running, 1)
    }))
})
