import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { httpDate, maxRetryAfter, pastTime, retryAfter, wholeNumber } from "../../src/internal/peerNumber.ts"

/** Sun, 06 Nov 1994 08:49:37 GMT, the date of the RFC's examples. */
const date = 784_111_777_000

const seconds = (header: string, now = date): number | undefined =>
  Option.getOrUndefined(Option.map(Option.fromUndefinedOr(retryAfter(header, now)), Duration.toSeconds))

describe("wholeNumber", () => {
  it.each<readonly [string, number | undefined]>([
    ["0", 0],
    ["007", 7],
    ["999999999999999", 999_999_999_999_999],
    ["1000000000000000", undefined],
    ["", undefined],
    ["-5", undefined],
    ["+5", undefined],
    ["0x10", undefined],
    ["1e3", undefined],
    ["1.0", undefined],
    [" 5", undefined],
    ["5\n", undefined],
    ["٣", undefined],
    ["1_000", undefined],
    ["Infinity", undefined]
  ])("%j: %s", (text, value) => assert.strictEqual(wholeNumber(text), value))
})

describe("retryAfter", () => {
  it.each<readonly [string, number | undefined]>([
    ["0", 0],
    ["7", 7],
    [" 5 ", 5],
    ["\t12", 12],
    ["3600", 3600],
    ["3601", 3600],
    ["34560000000000", 3600],
    ["9".repeat(400), 3600],
    // a date, in its three forms: a minute from then on, past, and far away
    ["Sun, 06 Nov 1994 08:50:37 GMT", 60],
    ["Sunday, 06-Nov-94 08:50:37 GMT", 60],
    ["Sun Nov  6 08:50:37 1994", 60],
    ["Sun, 06 Nov 1994 08:49:36 GMT", 0],
    ["Thu, 01 Jan 1970 00:00:00 GMT", 0],
    ["Fri, 31 Dec 9999 23:59:59 GMT", 3600],
    // neither
    ["400000000 days", undefined],
    ["-5", undefined],
    ["0x10", undefined],
    ["1e3", undefined],
    ["5, 6", undefined],
    ["5;", undefined],
    ["5.5", undefined],
    ["", undefined],
    [" ", undefined],
    ["soon", undefined],
    ["NaN", undefined],
    ["Sun, 06 Nov 1994 24:49:37 GMT", undefined],
    ["Sun, 00 Nov 1994 08:49:37 GMT", undefined],
    ["Thu, 31 Nov 1994 08:49:37 GMT", undefined],
    ["Tue, 29 Feb 2095 00:00:00 GMT", undefined],
    ["Wed, 29 Feb 2096 00:00:00 GMT", 3600],
    ["Wednesday, 31-Feb-95 00:00:00 GMT", undefined],
    ["Fri Feb 30 00:00:00 2095", undefined],
    ["Sun, 06 Nov 1994 08:49:37 CET", undefined],
    ["Sun, 06 Nov 1994 08:49:37 GMT, 5", undefined],
    ["1994-11-06T08:50:37Z", undefined]
  ])("%j asks for %s s", (header, value) => assert.strictEqual(seconds(header), value))

  it.prop(
    "is a time that a fiber can wait for, or nothing",
    { header: Schema.String, now: Schema.Int },
    ({ header, now }) => {
      const wait = retryAfter(header, now)
      assert.isTrue(wait === undefined || Duration.between(wait, { minimum: Duration.zero, maximum: maxRetryAfter }))
    }
  )
})

describe("httpDate", () => {
  it("reads a year of two digits as the nearest one", () => {
    const year = (text: string, now: number) => new Date(httpDate(text, now)!).getUTCFullYear()
    const now = Date.UTC(2026, 10, 30)
    assert.strictEqual(year("Sunday, 06-Nov-26 08:49:37 GMT", now), 2026)
    assert.strictEqual(year("Sunday, 06-Nov-76 08:49:37 GMT", now), 2076)
    assert.strictEqual(year("Sunday, 06-Nov-77 08:49:37 GMT", now), 1977)
  })
})

describe("pastTime", () => {
  const now = 1_764_000_000_000

  it.each<readonly [unknown, number | undefined]>([
    [1_732_000_000_123, 1_732_000_000_123],
    [1_732_000_000_123.9, 1_732_000_000_123],
    [now, now],
    [now + 1, now],
    [8.64e15, now],
    [Number.MAX_VALUE, now],
    [0, undefined],
    [-1, undefined],
    [7, undefined],
    // in seconds
    [1_732_000_000, undefined],
    [Infinity, undefined],
    [Number.NaN, undefined],
    ["1732000000123", undefined],
    [null, undefined],
    [[1_732_000_000_123], undefined],
    [undefined, undefined]
  ])("%j: %s", (value, expected) => assert.strictEqual(pastTime(value, now), expected))

  it("trusts the peer more than our clock, if that was never set", () => {
    assert.strictEqual(pastTime(now, 3_600_000), now)
  })
})
