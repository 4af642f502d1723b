import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { Broker } from "../../src/Broker.ts"
import { Job, Worker } from "../../src/index.ts"
import { exited } from "../../src/process/Process.ts"
import * as ProcessJob from "../../src/process/ProcessJob.ts"
import { perform, ProcessRunner, RecordedProcesses, TestBroker } from "../../src/testing/index.ts"

const Mail = Job.make("mail", {
  payload: Schema.Struct({ at: Schema.Date }),
  retry: Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 3 }))
})

describe("perform", () => {
  it.effect("runs one payload through encoding, decoding and the handler", () =>
    Effect.gen(function*() {
      const handler = Worker.handler(Mail, ({ at }, { id, queue }) => Effect.succeed({ at, id, queue }))
      const outcome = yield* perform(handler, { at: new Date(5) }, { publish: { id: "key" } })
      assert.deepInclude(outcome, { _tag: "Done", result: { at: new Date(5), id: "key", queue: "mail" }, attempt: 1 })
    }))

  it.effect("replays the retry schedule up to the attempt", () =>
    Effect.gen(function*() {
      const handler = Worker.handler(Mail, (_, { attempt }) => Effect.flatMap(attempt, (n) => Effect.fail(`no ${n}`)))
      const outcomes = yield* Effect.forEach([1, 2, 3, 4], (attempt) =>
        perform(handler, { at: new Date(0) }, { attempt }))
      assert.deepStrictEqual(
        outcomes.map((outcome) =>
          outcome._tag === "Retried" ? Duration.toMillis(outcome.delay) : outcome._tag
        ),
        [1000, 2000, 4000, "Buried"]
      )
      assert.deepInclude(outcomes[3], { reason: "attempt 4 was the last: no 4" })
    }))

  it.effect("applies deadlines, limits and the poison limit", () =>
    Effect.gen(function*() {
      const sleeper = Worker.handler(Mail, () => Effect.sleep("1 hour"))
      const payload = { at: new Date(0) }
      assert.strictEqual((yield* perform(sleeper, payload, { publish: { deadline: 0 } }))._tag, "Expired")
      assert.strictEqual(
        (yield* perform(sleeper, payload, { abandoned: 1, worker: { poisonLimit: 1 } }))._tag,
        "Buried"
      )
      const limited = yield* Effect.forkChild(perform(sleeper, payload, { worker: { timeout: "1 second" } }))
      yield* TestBroker.advance("1 second")
      assert.deepInclude(yield* Fiber.join(limited), { _tag: "Retried", duration: 1000 })
    }))

  it.effect("fails when the payload does not encode", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(perform(Worker.handler(Mail, () => Effect.void), { at: "no date" }))
      assert.strictEqual(error.reason._tag, "PayloadInvalid")
    }))

  it.effect("gives the handler its own broker", () =>
    Effect.gen(function*() {
      const handler = Worker.handler(Mail, () => Broker.use((broker) => Effect.succeed(broker.name)))
      assert.deepInclude(yield* perform(handler, { at: new Date(0) }), { _tag: "Done", result: "memory:" })
    }).pipe(Effect.provide(TestBroker.layer)))
})

describe("ProcessRunner.layerTest", () => {
  it.effect("records the payloads", () =>
    Effect.gen(function*() {
      const outcome = yield* perform(ProcessJob.handler(), { command: ["backup", "--full"] })
      assert.strictEqual(outcome._tag, "Done")
      const { payloads } = yield* RecordedProcesses
      assert.deepStrictEqual(yield* payloads, [{ command: ["backup", "--full"] }])
    }).pipe(Effect.provide(ProcessRunner.layerTest())))

  it.effect("answers by the script", () =>
    Effect.gen(function*() {
      const outcome = yield* perform(ProcessJob.handler(), { command: ["backup"] })
      assert.strictEqual(outcome._tag, "Retried")
    }).pipe(Effect.provide(ProcessRunner.layerTest(() => Effect.succeed(exited({ exitCode: 1 }))))))
})
