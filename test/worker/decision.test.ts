/** From the end of a handler to the decision about its job: one row per rule. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { maxDelay } from "../../src/Broker.ts"
import { consumerClosed } from "../../src/BrokerError.ts"
import { Job } from "../../src/index.ts"
import { type Decision, fromExit, fromSchedule, type Interruption, keptFailure } from "../../src/worker/decision.ts"

const oops = new Error("oops")
const lost = { _tag: "LeaseLost", handled: false, error: consumerClosed("test") } as const
const interrupted = Exit.failCause(Cause.interrupt(1))

describe("fromExit", () => {
  const rows: ReadonlyArray<
    readonly [
      rule: string,
      exit: Exit.Exit<unknown, unknown>,
      interruption: Interruption | undefined,
      expected: object
    ]
  > = [
    ["a success is done", Exit.succeed(7), undefined, { _tag: "Done", result: 7 }],
    ["a handler that succeeds after a stop request is done", Exit.succeed(7), { _tag: "Requeue" }, {
      _tag: "Done",
      result: 7
    }],
    ["a success without its lease is lost, and was handled", Exit.succeed(7), lost, { ...lost, handled: true }],
    ["a failure has failed", Exit.fail(oops), undefined, { _tag: "Failed", reason: "Error: oops", failure: oops }],
    ["a defect is marked as one", Exit.die(oops), undefined, { _tag: "Failed", reason: "defect: Error: oops" }],
    ["an interruption decides", interrupted, { _tag: "Requeue" }, { _tag: "Requeue" }],
    ["a lost lease decides too", interrupted, lost, lost],
    ["but not when the handler fails meanwhile", Exit.fail(oops), { _tag: "Requeue" }, {
      _tag: "Failed",
      failure: oops
    }],
    [
      "an interruption from within is a failure",
      interrupted,
      undefined,
      { _tag: "Failed", reason: "the handler interrupted itself" }
    ],
    [
      "retryAfter asks for another attempt",
      Exit.fail(Job.retryAfter("3 seconds", "slow down", oops)),
      undefined,
      { _tag: "Retry", delay: Duration.seconds(3), reason: "slow down", failure: oops }
    ],
    [
      "retryAfter waits at most the longest delay",
      Exit.fail(Job.retryAfter(Duration.infinity)),
      undefined,
      { _tag: "Retry", delay: maxDelay }
    ],
    ["bury buries", Exit.fail(Job.bury("never")), undefined, { _tag: "Bury", reason: "never" }],
    ["discard deletes", Exit.fail(Job.discard("old")), undefined, { _tag: "Discard", reason: "old" }],
    [
      "a directive wins over a failure beside it",
      Exit.failCause(Cause.combine(Cause.fail(oops), Cause.fail(Job.bury("never")))),
      undefined,
      { _tag: "Bury", reason: "never" }
    ]
  ]

  it.each(rows)("%s", (_, exit, interruption, expected) => {
    assert.deepInclude(fromExit(exit, interruption), expected)
  })
})

describe("fromSchedule", () => {
  const failed: Extract<Decision, { readonly _tag: "Failed" }> = { _tag: "Failed", reason: "oops", failure: oops }
  const jobWith = (retry: Schedule.Schedule<unknown, any>) =>
    Job.make("job", { payload: Schema.Void, queue: "q", retry })
  const doubling = jobWith(Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 2 })))

  const rows: ReadonlyArray<readonly [rule: string, job: Job.Job<any>, attempt: number, expected: object]> = [
    ["the first pause after the first attempt", doubling, 1, { _tag: "Retry", delay: Duration.seconds(1) }],
    ["the second after the second", doubling, 2, { _tag: "Retry", delay: Duration.seconds(2) }],
    ["none at its end", doubling, 3, { _tag: "Bury", reason: "attempt 3 was the last: oops", failure: oops }],
    [
      "a pause is at most the longest delay",
      jobWith(Schedule.spaced(Duration.infinity)),
      1,
      { _tag: "Retry", delay: maxDelay }
    ],
    [
      "a schedule that dies buries",
      jobWith(Schedule.tap(Schedule.spaced(1), () => Effect.die("a bug"))),
      1,
      { _tag: "Bury", reason: "oops; then its retry schedule failed" }
    ]
  ]

  it.effect.each(rows)(
    "%s",
    ([, job, attempt, expected]) =>
      Effect.map(fromSchedule(failed, job, attempt), (decision) => assert.deepInclude(decision, expected))
  )
})

describe("keptFailure", () => {
  const rows: ReadonlyArray<readonly [rule: string, why: Parameters<typeof keptFailure>[0], expected: object]> = [
    ["an error has its name", { reason: "r", failure: new RangeError("far") }, { tag: "RangeError", message: "far" }],
    ["a tag replaces the name", { reason: "r", tag: "Poison", failure: oops }, { tag: "Poison", message: "oops" }],
    ["without a failure it is the reason", { reason: "r" }, { tag: "Failure", message: "r" }]
  ]

  it.each(rows)("%s", (_, why, expected) => {
    assert.deepStrictEqual(keptFailure(why), expected)
  })
})
