/** The pages of a list: a row per rule. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { Paging } from "../../../src/brokers/shared/index.ts"
import type { ListedJob, ListOptions } from "../../../src/Inspector.ts"

const request = (options: ListOptions): unknown =>
  Result.match(Paging.request(options), {
    onSuccess: ({ after, limit }) => [limit, after],
    onFailure: ({ reason }) => reason._tag === "OptionInvalid" ? reason.option : reason._tag
  })

describe("a requested page", () => {
  const rows: ReadonlyArray<readonly [rule: string, options: ListOptions, expected: unknown]> = [
    ["100 jobs from the first by default", { state: "ready" }, [100, undefined]],
    ["1000 at most", { state: "ready", limit: 1000 }, [1000, undefined]],
    ["more than 1000 is refused", { state: "ready", limit: 1001 }, "limit"],
    ["0 is refused", { state: "ready", limit: 0 }, "limit"],
    ["a fraction is refused", { state: "ready", limit: 1.5 }, "limit"],
    ["a page begins after the place that the one before names", { state: "ready", after: "ready.3.7" }, [100, {
      order: 3,
      number: 7
    }]],
    ["a place in another state is refused", { state: "ready", after: "buried.3.7" }, "after"],
    ["a place without a number is refused", { state: "ready", after: "ready.3" }, "after"],
    ["a place with one number too many is refused", { state: "ready", after: "ready.3.7.9" }, "after"],
    ["a negative number is refused", { state: "ready", after: "ready.-3.7" }, "after"],
    ["a number of 17 digits is refused", { state: "ready", after: `ready.3.${"7".repeat(17)}` }, "after"]
  ]

  it.each(rows)("%s", (_, options, expected) => {
    assert.deepStrictEqual(request(options), expected)
  })
})

describe("a page that was found", () => {
  const rows: ReadonlyArray<readonly [rule: string, found: number, shown: number, next: string | undefined]> = [
    ["none", 0, 0, undefined],
    ["fewer than requested", 1, 1, undefined],
    ["as many as requested", 2, 2, undefined],
    ["more: the next begins after the last that is shown", 3, 2, "ready.10.2"]
  ]

  it.each(rows)("%s", (_, count, shown, next) => {
    const asked = { state: "ready", limit: 2, after: undefined } as const
    const found = Array.from({ length: count }, (_, i) => i + 1)
    const placeOf = (number: number) => ({ order: 10, number })
    const page = Paging.page(asked, found, placeOf, (number) => ({ id: String(number) }) as unknown as ListedJob)
    assert.deepStrictEqual([page.jobs.length, page.next], [shown, next])
  })
})
