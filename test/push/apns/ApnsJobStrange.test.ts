/** Values of an application may throw in a push job: no push is sent twice, and good pushes are published. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as ApnsJob from "../../../src/push/apns/ApnsJob.ts"
import * as DeadTokenJob from "../../../src/push/apns/DeadTokenJob.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"
import * as TestApns from "../../../src/push/apns/TestApns.ts"
import { TestBroker } from "../../../src/testing/index.ts"
import { ways } from "../../support/attempts.ts"
import { allow, withManyCases } from "../../support/limits.ts"
import * as Strange from "../../support/strange.ts"

allow(withManyCases)

const hello = Notification.alert({ body: "Hello" })
const good = "aa".repeat(32)
const dead = "dd".repeat(32)

const world = Layer.merge(
  TestBroker.layer,
  TestApns.layer({
    answer: ({ token }) => token === dead ? TestApns.reject(410, "Unregistered", 1) : TestApns.accept
  })
)

const refuse = (): never => {
  throw new Error("it can't be read")
}

describe("a function for dead tokens that", () => {
  const values = Strange.failures.filter(([what]) =>
    ["a message getter that throws", "a proxy that answers nothing", "a revoked proxy", "100,000 causes"].includes(what)
  )

  // the words of a handler mean nothing here: they are failures like any other
  for (const [way, run] of ways) {
    if (way.startsWith("goes on")) continue
    it.effect(`${way} an unreadable value is called again, and no accepted push is sent again`, () =>
      Effect.gen(function*() {
        for (const [value, failure] of values) {
          const what = `${way} ${value}`
          const hook = () => run(failure)
          const told = yield* Effect.gen(function*() {
            yield* ApnsJob.publish(hello, [good, dead])
            const fiber = yield* Effect.forkChild(TestBroker.drain(ApnsJob.handler()))
            yield* TestBroker.advance("1 minute")
            const [outcome] = yield* Fiber.join(fiber)
            assert.strictEqual(outcome?._tag, "Done", what)
            const pushes = yield* TestApns.pushes
            assert.strictEqual(pushes.filter(({ token }) => token === good).length, 1, what)
            return yield* TestBroker.enqueued(ApnsJob.job)
          }).pipe(Effect.provide(Layer.merge(Layer.fresh(world), DeadTokenJob.layer(hook))))
          assert.deepStrictEqual(told.map(({ payload }) => payload.tokens), [[dead]], what)
        }
      }))
  }
})

describe("publish", () => {
  const tags = (results: ReadonlyArray<Result.Result<unknown, { readonly reason: { readonly _tag: string } }>>) =>
    results.map(Result.match({ onSuccess: () => "accepted", onFailure: ({ reason }) => reason._tag }))

  it.effect.each<readonly [string, Iterable<string>]>([
    ["throw", {
      *[Symbol.iterator]() {
        yield good
        refuse()
      }
    }],
    ["can't be read", Object.defineProperty([], Symbol.iterator, { get: refuse })],
    ["are no texts", [good, 7 as unknown as string]]
  ])("of tokens that %s is PayloadInvalid", ([, tokens]) =>
    Effect.gen(function*() {
      assert.deepStrictEqual(tags(yield* ApnsJob.publish(hello, tokens)), ["PayloadInvalid"])
      assert.deepStrictEqual(yield* TestBroker.enqueued(ApnsJob.job), [])
    }).pipe(Effect.provide(world)))

  it.effect.each<readonly [string, object]>([
    ["5,000 levels", { deep: Strange.nested(5000) }],
    ["100,000 levels", { deep: Strange.nested(100_000) }],
    ["a getter that throws", Object.defineProperty({}, "a", { get: refuse, enumerable: true })],
    [
      "a circle",
      (() => {
        const data: { self?: unknown } = {}
        data.self = data
        return data
      })()
    ]
  ])("of data with %s is PayloadInvalid", ([, data]) =>
    Effect.gen(function*() {
      const notification: Notification.Notification = {
        ...hello,
        payload: { aps: { alert: "x" }, data: data as never }
      }
      assert.deepStrictEqual(tags(yield* ApnsJob.publish(notification, [good])), ["PayloadInvalid"])
    }).pipe(Effect.provide(world)))
})
