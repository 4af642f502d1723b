/** The plan of a push job as a table, for a service that nobody has. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import { Action, DeadTargets, Plan } from "../../../src/push/job/index.ts"

const failure = (action: Action, delay?: Duration.Duration): Plan.Failure => ({ message: action, action, delay })
const interrupted = failure("RetryMayDuplicate")
const sort = (error: Plan.Failure, onUnknown: Plan.OnUnknown) =>
  Plan.sort([7], [{ target: 7, result: Result.fail(error) }], { interrupted, onUnknown })

const minute = Duration.minutes(1)

/** In which list a push is, or when it is tried again: as the schedule says, at its end, and at its end after a day. */
const becomes = (error: Plan.Failure, onUnknown: Plan.OnUnknown = "Repeat"): string => {
  const { dead, dropped, rest } = sort(error, onUnknown)
  if (dead.length > 0) return "dead"
  if (dropped.length > 0) return "dropped"
  return afterAll(rest)
}

const afterAll = (rest: Plan.Sorted<number, Plan.Failure>["rest"]): string =>
  [
    { attempt: 1, scheduled: minute, isOld: false },
    { attempt: 1, scheduled: undefined, isOld: false },
    { attempt: 1, scheduled: undefined, isOld: true }
  ].map((progress) => {
    const { again } = Plan.next(rest, 1, progress)
    return again === undefined ? "buried" : Duration.format(again.delay)
  }).join(", ")

describe("the rule for a failed push", () => {
  const ends: Record<Action, string> = {
    DropToken: "dead",
    CheckToken: "dead",
    Discard: "dropped",
    Retry: "1m, 5m, 5m",
    Reconnect: "1m, 5m, 5m",
    RetryMayDuplicate: "1m, 5m, buried",
    RetryLater: "15m, 15m, buried",
    FixConfiguration: "5m, 5m, 5m",
    RenewAuthorization: "5m, 5m, 5m",
    FixNotification: "buried, buried, buried",
    DropChannel: "buried, buried, buried",
    ReportBug: "buried, buried, buried"
  }

  it.each(Action.literals)("%s", (action) => {
    const delay = action === "RetryLater" ? Duration.minutes(15) : undefined
    assert.strictEqual(becomes(failure(action, delay)), ends[action])
    const dropped = action === "RetryMayDuplicate" ? "dropped" : ends[action]
    assert.strictEqual(becomes(failure(action, delay), "Drop"), dropped)
  })

  it("a push that a pause held back waits for its end, without end and without doubling", () => {
    assert.strictEqual(becomes(failure("Retry", Duration.minutes(3))), "3m, 5m, 5m")
    assert.strictEqual(becomes(failure("Retry", Duration.minutes(15))), "15m, 15m, 15m")
  })

  it("a push without an answer was interrupted: it is retried at once, or dropped", () => {
    const ended = (onUnknown: Plan.OnUnknown) => Plan.sort([7, 8], [], { interrupted, onUnknown })
    assert.strictEqual(afterAll(ended("Repeat").rest), "0, 0, 0")
    assert.deepStrictEqual(ended("Drop").dropped, [{ target: 7, error: interrupted }, {
      target: 8,
      error: interrupted
    }])
  })

  it("an unreported dead target is retried even if unknown pushes are dropped", () => {
    const rest = Plan.unreported(
      sort(failure("DropToken"), "Drop").dead,
      new DeadTargets.NotReported({ detail: "the database is away" })
    )
    assert.strictEqual(afterAll(rest), "1m, 5m, buried")
  })

  it("the service's delay doubles each time, up to an hour", () => {
    const { rest } = sort(failure("RetryLater", Duration.minutes(15)), "Repeat")
    const delays = [1, 2, 3, 4].map((attempt) =>
      Duration.format(Plan.next(rest, 1, { attempt, scheduled: minute, isOld: false }).again!.delay)
    )
    assert.deepStrictEqual(delays, ["15m", "30m", "1h", "1h"])
  })
})
