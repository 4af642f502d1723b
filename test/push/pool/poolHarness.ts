/** The pool, with connections and a clock under the test's hand. */
import { assert } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Http2Error from "../../../src/http2/Http2Error.ts"
import type * as ApnsError from "../../../src/push/apns/answer/ApnsError.ts"
import type { Reply } from "../../../src/push/apns/answer/receipt.ts"
import { provider as apns } from "../../../src/push/apns/provider.ts"
import * as Pool from "../../../src/push/pool/Pool.ts"
import { FakeConnection, push, word } from "../apns/fakeConnection.ts"

export const untrusted = Http2Error.make(
  new Http2Error.TlsRejected({ server: "fake", kind: "Expired", detail: "its certificate is not valid now" })
)

/** APNs that asks for a pause with a 429: `Pause` and perhaps seconds, `PauseTopic` for the topic of the push alone. */
export const pausing: typeof apns = {
  ...apns,
  judge: (response, now) => {
    const judged = apns.judge(response, now)
    const asked = /Pause(Topic)?(\d*)/.exec(Buffer.from(response.body).toString())
    if (asked === null) return judged
    const [, topic, seconds] = asked
    return {
      ...judged,
      pause: {
        reach: topic === undefined ? "All" : "Scope",
        millis: seconds === "" ? undefined : Number(seconds) * 1000
      }
    }
  }
}

/** Lets forked fibers and microtasks run. */
export const settle = Effect.andThen(
  TestClock.adjust(0),
  Effect.promise(() => new Promise((done) => setImmediate(done)))
)

export const pass = (time: Duration.Input) => Effect.andThen(TestClock.adjust(time), settle)

/** A pool whose n-th connection is the n-th of the list: one of the test's, or an error. */
export const setUp = Effect.fnUntraced(function*(
  dials: ReadonlyArray<FakeConnection | Http2Error.Http2Error>,
  options: Partial<Pool.Options<ApnsError.ApnsError>> & { readonly provider?: typeof apns } = {}
) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  let dialed = 0
  const open = Effect.suspend(() => {
    const next = dials[Math.min(dialed++, dials.length - 1)]!
    return next instanceof FakeConnection ? Effect.succeed(next.connection) : Effect.fail(next)
  })
  const logged: Array<string> = []
  const pool = yield* Pool.make(options.provider ?? apns, {
    open,
    authorizer: undefined,
    maxConnections: 4,
    queueTimeout: Duration.seconds(30),
    idleTimeout: Duration.minutes(10),
    drainTimeout: Duration.zero,
    ...options
  }).pipe(
    Scope.provide(scope),
    Effect.provide(Logger.layer([Logger.make(({ message }) => logged.push(String(message)))]))
  )
  const outcomes: Array<Reply> = []
  const cancels: Array<() => void> = []
  const submit = (n: number, topic?: string) => {
    cancels[n] = pool.submit(push(n, topic), (outcome) => {
      assert.isUndefined(outcomes[n], `push ${n} ended twice`)
      outcomes[n] = outcome
    })
  }
  return {
    pool,
    logged,
    dialed: () => dialed,
    submit,
    cancel: (n: number) => cancels[n]!(),
    submitAll: (from: number, to: number) => {
      for (let n = from; n <= to; n++) submit(n)
    },
    ends: (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => word(outcomes[from + i])),
    end: (n: number) => word(outcomes[n]),
    failure: (n: number) => {
      const outcome = outcomes[n]
      return outcome !== undefined && Result.isFailure(outcome) ? outcome.failure.message : undefined
    },
    /** The error of a request that failed. */
    error: (n: number) => {
      const outcome = outcomes[n]
      return outcome !== undefined && Result.isFailure(outcome) ? outcome.failure : undefined
    },
    close: Scope.close(scope, Exit.void)
  }
})

export const times = (count: number, what: string) => Array.from({ length: count }, () => what)
