/** Jobs that are put together share statements, and each still has its own answer. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { text } from "../../conformance/Harness.ts"
import { allow, withManyCases } from "../../support/limits.ts"
import { file, request } from "./harness.ts"

allow(withManyCases)

/** A job's size, delay and priority. */
const Request = Schema.Struct({
  isTooBig: Schema.Boolean,
  isDelayed: Schema.Boolean,
  priority: Schema.Literals([0, 1024, 4_294_967_295])
})

const maxJobSize = 20

describe("putAll", () => {
  it.effect.prop(
    "each id belongs to its body, and a body that is too big fails alone",
    { requests: Schema.Array(Request).pipe(Schema.check(Schema.isMaxLength(40))) },
    ({ requests }) =>
      Effect.gen(function*() {
        const { broker, inspector } = yield* SqliteBroker.make({ path: yield* file, durability: "normal", maxJobSize })
        const bodyOf = (i: number) => `${i}${requests[i]!.isTooBig ? "x".repeat(maxJobSize) : ""}`
        const results = yield* broker.putAll(
          "q",
          requests.map(({ isDelayed, priority }, i) =>
            request(bodyOf(i), { priority, delay: isDelayed ? "1 hour" : 0, ttr: `${i + 1} seconds` })
          )
        )
        assert.strictEqual(results.length, requests.length)
        const ids = results.filter(Result.isSuccess).map((result) => Number(result.success))
        assert.deepStrictEqual(ids, ids.toSorted((a, b) => a - b))
        for (const [i, result] of results.entries()) {
          const { isDelayed, isTooBig, priority } = requests[i]!
          assert.strictEqual(Result.isFailure(result), isTooBig)
          if (Result.isFailure(result)) {
            assert.strictEqual(result.failure.reason._tag, "JobTooBig")
            continue
          }
          assert.strictEqual(text(Option.getOrThrow(yield* inspector.peek(result.success))), bodyOf(i))
          const stats = yield* inspector.statsJob(result.success)
          assert.include(stats, { priority, state: isDelayed ? "delayed" : "ready" })
          assert.strictEqual(Duration.toSeconds(stats.ttr), i + 1)
        }
      })
  )
})
