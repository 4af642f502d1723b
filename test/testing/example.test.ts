import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Job, Publisher, Worker } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"

const SendWelcome = Job.make("send-welcome", { payload: Schema.Struct({ userId: Schema.String }) })

const signUp = (userId: string) => Publisher.publish(SendWelcome, { userId }, { delay: "10 seconds" })

it.effect("welcomes a user ten seconds after the sign-up", () =>
  Effect.gen(function*() {
    const welcomed: Array<string> = []
    const handler = Worker.handler(SendWelcome, ({ userId }) => Effect.sync(() => welcomed.push(userId)))

    yield* signUp("42")
    assert.deepStrictEqual((yield* TestBroker.enqueued(SendWelcome)).map((job) => job.payload), [{ userId: "42" }])

    yield* TestBroker.advance("10 seconds")
    const outcomes = yield* TestBroker.drain(handler)
    assert.deepStrictEqual(outcomes.map((outcome) => outcome._tag), ["Done"])
    assert.deepStrictEqual(welcomed, ["42"])
  }).pipe(Effect.provide(TestBroker.layer)))
