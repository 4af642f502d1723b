/**
 * Tests of a service, on a broker in memory and on the TestClock. They need no
 * server and never sleep.
 *
 *     npx vitest run scripts/examples/welcome.test.ts
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Schedule, Schema } from "effect"
// in a project: from "backq" and "backq/testing"
import { Job, Publisher, Worker } from "../../src/index.ts"
import { perform, TestBroker } from "../../src/testing/index.ts"

// -- the service; in a project it has a file of its own

const SendWelcome = Job.make("send-welcome", {
  payload: Schema.Struct({ userId: Schema.String }),
  retry: Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 2 }))
})

class MailError extends Schema.TaggedError<MailError>()("MailError", { message: Schema.String }) {}

type SendMail = (userId: string) => Effect.Effect<void, MailError>

const signUp = (userId: string) => Publisher.publish(SendWelcome, { userId }, { delay: "10 seconds" })

const welcome = (sendMail: SendMail) => Worker.handler(SendWelcome, ({ userId }) => sendMail(userId))

// -- doubles

const works: SendMail = () => Effect.void
const isDown: SendMail = () => Effect.fail(new MailError({ message: "the mail server is down" }))

describe("welcome", () => {
  it.effect("a sign-up publishes one job, ready after 10 seconds", () =>
    Effect.gen(function*() {
      yield* signUp("42")
      const [job] = yield* TestBroker.enqueued(SendWelcome)
      assert.deepStrictEqual(job?.payload, { userId: "42" })
      assert.strictEqual(job?.delay.pipe(Duration.toSeconds), 10)
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("the user is welcomed then, and not before", () =>
    Effect.gen(function*() {
      yield* signUp("42")
      assert.deepStrictEqual(yield* TestBroker.drain(welcome(works)), [])
      yield* TestBroker.advance("10 seconds")
      const outcomes = yield* TestBroker.drain(welcome(works))
      assert.deepStrictEqual(outcomes.map(({ _tag }) => _tag), ["Done"])
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("while the mail server is down the job is retried twice, then buried with the reason", () =>
    Effect.gen(function*() {
      yield* signUp("42")
      const tags: Array<string> = []
      for (const pause of ["10 seconds", "1 second", "2 seconds"] as const) {
        yield* TestBroker.advance(pause)
        tags.push(...(yield* TestBroker.drain(welcome(isDown))).map(({ _tag }) => _tag))
      }
      assert.deepStrictEqual(tags, ["Retried", "Retried", "Buried"])
      const [job] = yield* TestBroker.enqueued(SendWelcome, { state: "buried" })
      assert.include(job?.reason, "the mail server is down")
    }).pipe(Effect.provide(TestBroker.layer)))

  it.effect("one payload through the handler, without a queue", () =>
    Effect.gen(function*() {
      const outcome = yield* perform(welcome(isDown), { userId: "42" }, { attempt: 2 })
      assert.strictEqual(outcome._tag === "Retried" && Duration.toSeconds(outcome.delay), 2)
    }))
})
