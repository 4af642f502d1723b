/**
 * The pool as a property: after any events of its connections and credentials,
 * every request ends once, no answered request is sent again, and nothing is
 * left over.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Http2Error from "../../../src/http2/Http2Error.ts"
import type { Reply } from "../../../src/push/apns/answer/receipt.ts"
import * as Pool from "../../../src/push/pool/Pool.ts"
import { allow, withManyCases } from "../../support/limits.ts"
import { FakeConnection, fakeToken, push } from "../apns/fakeConnection.ts"
import { pausing } from "./poolHarness.ts"

allow(withManyCases)

const answers = [
  [200],
  [200],
  [400, "BadDeviceToken"],
  [400, "TopicDisallowed"],
  [400, "IdleTimeout"],
  [403, "InvalidProviderToken"],
  [403, "ExpiredProviderToken"],
  [403, "UnrelatedKeyIdInToken"],
  [410, "Unregistered"],
  [429, "TooManyRequests"],
  [429, "TooManyProviderTokenUpdates"],
  [500, "InternalServerError"],
  [503, "Shutdown"]
] as const

/** Answers that ask for a pause, of everything or of a topic. */
const pauses = [[429, "Pause"], [429, "Pause5"], [429, "PauseTopic"], [429, "PauseTopic20"]] as const

const Index = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 99 }))

/** What happens next; numbers choose among what there is. */
const Event = Schema.Union([
  Schema.TaggedStruct("Submit", { count: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 8 })) }),
  Schema.TaggedStruct("Cancel", { which: Index }),
  Schema.TaggedStruct("Answer", { where: Index, how: Index }),
  Schema.TaggedStruct("TimeOut", { where: Index }),
  Schema.TaggedStruct("Leave", { where: Index, withFault: Schema.Boolean }),
  Schema.TaggedStruct("Pass", { millis: Schema.Literals([0, 300, 1100, 6000, 31_000]) }),
  Schema.TaggedStruct("Dial", { next: Schema.Literals(["opens", "fails", "untrusted"]) }),
  Schema.TaggedStruct("Replace", {})
])
type Event = typeof Event.Type

const pick = <A>(all: ReadonlyArray<A>, index: number): A | undefined => all[index % Math.max(1, all.length)]

const turn = Effect.promise(() => new Promise((done) => setImmediate(done)))

type Answers = ReadonlyArray<readonly [status: number, reason?: string]>

const play = Effect.fnUntraced(function*(events: ReadonlyArray<Event>, answers: Answers) {
  const connections: Array<FakeConnection> = []
  let next: "opens" | "fails" | "untrusted" = "opens"
  const open = Effect.suspend(() => {
    if (next === "fails") {
      return Effect.fail(Http2Error.make(new Http2Error.Unreachable({ server: "fake", detail: "refused" })))
    }
    if (next === "untrusted") {
      return Effect.fail(
        Http2Error.make(new Http2Error.TlsRejected({ server: "fake", kind: "Untrusted", detail: "not trusted" }))
      )
    }
    const one = new FakeConnection()
    one.limit = 5
    connections.push(one)
    return Effect.acquireRelease(Effect.succeed(one.connection), () => Effect.sync(() => one.leave()))
  })
  const pool = yield* Pool.make(pausing, {
    open,
    authorizer: fakeToken("KEY", { renews: true }),
    maxConnections: 3,
    queueTimeout: Duration.seconds(30),
    idleTimeout: Duration.seconds(20),
    drainTimeout: Duration.zero
  })

  let time = 0
  const submittedAt: Array<number> = []
  const ends = new Map<number, Reply>()
  const cancels: Array<() => void> = []
  const cancelled = new Set<number>()
  const submit = () => {
    const n = cancels.length
    let isBack = false
    submittedAt.push(time)
    cancels.push(pool.submit(push(n, n % 3 === 0 ? "com.example.other" : undefined), (outcome) => {
      assert.isTrue(isBack, `${n} ended before it was submitted`)
      assert.isFalse(ends.has(n), `${n} ended twice`)
      assert.isFalse(cancelled.has(n), `${n} ended after it was given up`)
      ends.set(n, outcome)
    }))
    isBack = true
  }
  const busy = () => connections.filter(({ sent }) => sent.length > 0)

  const happen = (event: Exclude<Event, { readonly _tag: "Pass" }>): void => {
    switch (event._tag) {
      case "Submit":
        for (let i = 0; i < event.count; i++) submit()
        return
      case "Cancel": {
        const n = event.which % Math.max(1, cancels.length)
        if (cancels[n] === undefined || ends.has(n) || cancelled.has(n)) return
        cancelled.add(n)
        return cancels[n]()
      }
      case "Answer": {
        const [status, reason] = pick(answers, event.how)!
        return pick(busy(), event.where)?.answer(status, reason)
      }
      case "TimeOut":
        return pick(busy(), event.where)?.timeOut()
      case "Leave":
        return pick(connections, event.where)?.leave(event.withFault ? `{"reason":"BadCertificate"}` : "")
      case "Dial":
        next = event.next
        return
      case "Replace":
        return pool.replace({ open: Effect.suspend(() => open), authorizer: fakeToken("OTHER") })
    }
  }
  for (const event of events) {
    if (event._tag !== "Pass") happen(event)
    else {
      time += event.millis
      yield* TestClock.adjust(event.millis)
    }
    yield* turn
    // unsent requests time out; the pool checks them four times a second
    if (event._tag === "Pass" && event.millis >= 1100) {
      const sent = new Set(connections.flatMap(({ sent }) => sent.map(({ path }) => path)))
      for (let n = 0; n < cancels.length; n++) {
        if (ends.has(n) || cancelled.has(n) || sent.has(`/3/device/${n}`)) continue
        assert.isAtMost(time - submittedAt[n]!, 31_000, `${n} waits`)
      }
    }
    assert.isAtMost(connections.filter(({ connection }) => connection.isOpen()).length, 3)
  }

  // at last the server is a good one: all that is left ends
  next = "opens"
  for (let second = 0; second < 130; second++) {
    yield* TestClock.adjust("500 millis")
    yield* turn
    for (const one of connections) while (one.sent.length > 0) one.answer(200)
  }
  for (let n = 0; n < cancels.length; n++) assert.isTrue(ends.has(n) || cancelled.has(n), `${n} never ended`)
  const sent = new Map<string, number>()
  for (const path of connections.flatMap(({ paths }) => paths)) sent.set(path, (sent.get(path) ?? 0) + 1)
  for (const [n, outcome] of ends) {
    const times = sent.get(`/3/device/${n}`) ?? 0
    if (Result.isSuccess(outcome)) assert.strictEqual(outcome.success.attempts, times, `${n} was sent again`)
    else if (outcome.failure.action === "Retry") assert.notStrictEqual(outcome.failure.reason._tag, "Unknown")
  }
  assert.lengthOf(connections.filter(({ connection }) => connection.pending() > 0), 0)
})

describe("the pool as a model", () => {
  it.effect.prop(
    "ends every request once",
    { events: Schema.Array(Event).check(Schema.isMaxLength(60)) },
    ({ events }) => Effect.scoped(play(events, answers)),
    { arbitrary: { runs: 250, size: 80 } }
  )

  it.effect.prop(
    "ends every request once while the service asks for pauses",
    { events: Schema.Array(Event).check(Schema.isMaxLength(60)) },
    ({ events }) => Effect.scoped(play(events, [[200], [200], [403, "ExpiredProviderToken"], [500], ...pauses])),
    { arbitrary: { runs: 100, size: 80 } }
  )
})
