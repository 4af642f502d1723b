/** Bodies of any size through a worker, without a queue that could refuse them. */
import { isReadonlyArrayNonEmpty } from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { Broker, type Consumer, JobId, type Lease, type LeaseInfo } from "../../src/Broker.ts"
import * as MemoryBroker from "../../src/brokers/memory/MemoryBroker.ts"
import type { Handler, Services } from "../../src/Handler.ts"
import { Worker } from "../../src/index.ts"
import type { Outcome } from "../../src/Outcome.ts"
import * as Fuzz from "./fuzz.ts"

const info: LeaseInfo = { attempt: 1, abandoned: 0, buries: 0, priority: 1024, ttr: Duration.minutes(1) }

const all = <A>(answer: A) => (asked: ReadonlyArray<unknown>) => Effect.succeed(asked.map(() => Result.succeed(answer)))

const consumerOf = (bodies: ReadonlyArray<Uint8Array>): Consumer => {
  const leases = bodies.map((body, index): Lease => ({ id: JobId.make(String(index + 1)), queue: "q", body, info }))
  return {
    reserve: (max) =>
      Effect.suspend(() => {
        const next = leases.splice(0, max)
        return isReadonlyArrayNonEmpty(next) ? Effect.succeed(next) : Effect.never
      }),
    settle: all(undefined),
    touch: all(undefined),
    inspect: all(info),
    leasesLost: Effect.never
  }
}

/** The outcomes of bodies. Dies if one has no outcome, a defect, or an unbounded reason. */
export const work = <const Handlers extends ReadonlyArray<Handler<any>>>(
  bodies: ReadonlyArray<Uint8Array>,
  ...handlers: Handlers
): Effect.Effect<ReadonlyArray<Outcome>, never, Services<Handlers[number]>> => {
  const broker = Layer.mock(Broker)({
    features: MemoryBroker.features,
    name: "bodies:",
    consume: () => Effect.succeed(consumerOf(bodies))
  })
  return Worker.stream({ queue: "q", concurrency: 4, maxJobs: bodies.length }, ...handlers).pipe(
    Stream.runCollect,
    Effect.orDie,
    Effect.tap((outcomes) =>
      Effect.sync(() => {
        if (outcomes.length !== bodies.length) throw new Error(`${outcomes.length} outcomes of ${bodies.length}`)
        for (const outcome of outcomes) {
          if (outcome._tag === "LeaseLost" || outcome._tag === "Requeued") throw new Error(outcome._tag)
          if ("cause" in outcome && outcome.cause !== undefined) throw new Error(outcome.reason)
          if ("reason" in outcome) Fuzz.checkWords(outcome.reason)
        }
      })
    ),
    Effect.provide(broker)
  )
}
