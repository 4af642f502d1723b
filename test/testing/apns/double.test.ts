import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Worker } from "../../../src/index.ts"
import { ApnsJob, DeadTokenJob, Notification, TestApns } from "../../../src/push/apns/index.ts"
import { TestBroker } from "../../../src/testing/index.ts"

const [alive, gone] = ["a1".repeat(32), "b2".repeat(32)]

/** For Apple, one of the two devices is gone. */
const apple = TestApns.layer({
  answer: ({ token }) => token === gone ? TestApns.reject(410, "Unregistered") : TestApns.accept
})

it.effect("pushes to both devices and forgets the dead one", () =>
  Effect.gen(function*() {
    const forgotten: Array<string> = []
    const forget = Worker.handler(DeadTokenJob.job, ({ token }) => Effect.sync(() => forgotten.push(token)))

    yield* ApnsJob.publish(Notification.alert({ body: "Hello" }), [alive, gone])
    yield* TestBroker.drain(ApnsJob.handler(), forget)

    const pushes = yield* TestApns.pushes
    assert.deepStrictEqual(pushes.map(({ token }) => token), [alive, gone])
    assert.deepStrictEqual(pushes[0]?.notification.payload.aps, { alert: { body: "Hello" } })
    assert.deepStrictEqual(forgotten, [gone])
  }).pipe(Effect.provide(Layer.merge(TestBroker.layer, apple))))
