/** What every broker checks alike: a row per rule. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import { type JobId, type Lease, maxDelay, type Settlement } from "../../../src/Broker.ts"
import type { BrokerError } from "../../../src/BrokerError.ts"
import { Rules } from "../../../src/brokers/shared/index.ts"

const lease: Lease = { id: "7" as JobId, queue: "q", body: new Uint8Array(), info: undefined }
const released = (delay: Duration.Duration): Settlement => ({ _tag: "Release", lease, delay })

/** `ok`, or which option or size is wrong. */
const brief = (result: Result.Result<unknown, BrokerError>): string => {
  if (Result.isSuccess(result)) return "ok"
  const { reason } = result.failure
  return reason._tag === "OptionInvalid" ? reason.option : reason._tag
}

describe("rules of all brokers", () => {
  const settlements: ReadonlyArray<readonly [rule: string, settlement: Settlement, expected: string]> = [
    ["no options", { _tag: "Delete", lease }, "ok"],
    ["no delay", released(Duration.zero), "ok"],
    ["the longest delay", released(maxDelay), "ok"],
    ["an infinite delay", released(Duration.infinity), "delay"],
    ["a negative delay", released(Duration.millis(-1)), "delay"],
    ["the most urgent", { _tag: "Bury", lease, reason: "", priority: 0 }, "ok"],
    ["the least urgent", { _tag: "Bury", lease, reason: "", priority: 2 ** 32 - 1 }, "ok"],
    ["a priority beyond it", { _tag: "Bury", lease, reason: "", priority: 2 ** 32 }, "priority"],
    ["a priority that is not an integer", { _tag: "Bury", lease, reason: "", priority: 0.5 }, "priority"]
  ]

  it.each(settlements)("a settlement, %s: $2", (_, settlement, expected) => {
    assert.strictEqual(brief(Rules.checkSettlement(settlement)), expected)
  })

  const counts: ReadonlyArray<readonly [max: number, expected: string]> = [
    [1, "ok"],
    [1000, "ok"],
    [0, "max"],
    [-1, "max"],
    [1.5, "max"],
    [NaN, "max"],
    [Infinity, "max"]
  ]

  it.each(counts)("at most %d jobs: %s", (max, expected) => {
    assert.strictEqual(brief(Rules.checkMax(max)), expected)
  })

  const sizes: ReadonlyArray<readonly [size: number, expected: string]> = [[0, "ok"], [10, "ok"], [11, "JobTooBig"]]

  it.each(sizes)("%d bytes of at most 10: %s", (size, expected) => {
    assert.strictEqual(brief(Rules.checkSize("q", new Uint8Array(size), 10)), expected)
  })
})
