/** The tools of the worker's tests: a broker in memory, time on the TestClock. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Broker, type Consumer, type JobId, type PutOptions, putRequest } from "../../src/Broker.ts"
import type { BrokerError } from "../../src/BrokerError.ts"
import * as MemoryBroker from "../../src/brokers/memory/MemoryBroker.ts"
import type { Services } from "../../src/Handler.ts"
import { Job, type Outcome, Publisher, Worker } from "../../src/index.ts"
import { Inspector } from "../../src/Inspector.ts"
import { TestBroker } from "../../src/testing/index.ts"

/** A job whose payload is a number; it is tried three times, after 1 s and 2 s. */
export const Count = Job.make("count", {
  payload: Schema.Int,
  queue: "q",
  retry: Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 2 }))
})

/** A handler that returns ten times the number. */
export const worked = Worker.handler(Count, (n) => Effect.succeed(n * 10))

/** Lets time pass. All fibers run until they wait, before and after. */
export const pass = (duration: Parameters<typeof TestBroker.advance>[0]) =>
  Effect.andThen(TestBroker.advance(duration), TestBroker.advance(0))

/** Runs all fibers until they wait. */
export const rest = pass(0)

/** A worker that runs in the test's scope, and its outcomes so far. */
export interface Running {
  readonly outcomes: ReadonlyArray<Outcome.Outcome>
  readonly tags: () => ReadonlyArray<string>
  readonly fiber: Fiber.Fiber<void, BrokerError>
}

/** Starts a worker, and lets it come to its first wait. By default it stops without grace. */
export const start = Effect.fnUntraced(function*<const Handlers extends ReadonlyArray<Worker.Handler<any>>>(
  options: Worker.Options,
  ...handlers: Handlers
): Effect.fn.Return<Running, never, Broker | Scope.Scope | Services<Handlers[number]>> {
  const outcomes: Array<Outcome.Outcome> = []
  const fiber = yield* Worker.stream({ grace: 0, ...options }, ...handlers).pipe(
    Stream.runForEach((outcome) => Effect.sync(() => void outcomes.push(outcome))),
    Effect.forkScoped
  )
  yield* rest
  return { outcomes, tags: () => outcomes.map((outcome) => outcome._tag), fiber }
})

/** Interrupts a worker and does not wait for its end. */
export const interrupt = (running: Running) =>
  Effect.forkChild(Fiber.interrupt(running.fiber), { startImmediately: true })

/** Puts a raw body, without a publisher. */
export const putRaw = Effect.fnUntraced(function*(queue: string, body: unknown, options?: PutOptions) {
  const broker = yield* Broker
  const bytes = body instanceof Uint8Array
    ? body
    : new TextEncoder().encode(typeof body === "string" ? body : JSON.stringify(body))
  return yield* broker.put(queue, Result.getOrThrow(putRequest(bytes, options)))
})

/** The broker's figures of a job. */
export const statsOf = (id: JobId) => Inspector.use((inspector) => inspector.statsJob(id))

/** Whether the job is gone. */
export const isGone = (id: JobId) => Inspector.use((inspector) => Effect.isFailure(inspector.statsJob(id)))

/** The number of jobs of a queue in each state. */
export const numbers = (queue = "q") =>
  Effect.map(
    Inspector.use((inspector) => inspector.statsQueue(queue)),
    ({ buried, delayed, ready, reserved }) => ({ ready, delayed, reserved, buried })
  )

/** Publishes numbers on the queue of `Count`. */
export const publish = (count: number, options?: Publisher.PublishOptions) =>
  Effect.flatMap(
    Publisher.publishAll(Count, Array.from({ length: count }, (_, index) => index), options),
    (results) => Effect.sync(() => results.map(Result.getOrThrow))
  )

/** The only outcome. */
export const only = <Tag extends Outcome.Outcome["_tag"]>(
  running: Running,
  tag: Tag
): Extract<Outcome.Outcome, { readonly _tag: Tag }> => {
  assert.deepStrictEqual(running.tags(), [tag])
  return running.outcomes[0] as Extract<Outcome.Outcome, { readonly _tag: Tag }>
}

/** The broker in memory with another consumer. */
export const layerConsumer = (change: (consumer: Consumer) => Partial<Consumer>) =>
  Publisher.layer.pipe(
    Layer.fresh,
    Layer.provideMerge(Layer.effect(
      Broker,
      Effect.map(Broker, (broker) => ({
        ...broker,
        consume: (queues) => Effect.map(broker.consume(queues), (consumer) => ({ ...consumer, ...change(consumer) }))
      }))
    )),
    Layer.provideMerge(Layer.fresh(MemoryBroker.layer))
  )
