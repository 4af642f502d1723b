import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as InFlight from "../../../src/push/pool/InFlight.ts"

/** A request: it fails at once, or is answered after a number of ticks. */
const Request = Schema.Struct({
  refused: Schema.Boolean,
  failed: Schema.Boolean,
  ticks: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 }))
})
type Request = typeof Request.Type

const world = () => {
  const seen = { open: 0, most: 0 }
  const submit: InFlight.Submit<readonly [number, Request], number, string> = ([n, request], settle) => {
    if (request.refused) return Result.fail(`${n} refused`)
    seen.most = Math.max(seen.most, ++seen.open)
    const later = (ticks: number) => {
      if (ticks > 0) return setImmediate(later, ticks - 1)
      seen.open--
      return settle(request.failed ? Result.fail(`${n} failed`) : Result.succeed(n))
    }
    setImmediate(later, request.ticks)
    return Result.succeed(() => {})
  }
  return { seen, submit }
}

describe("inFlight", () => {
  it.effect.prop(
    "gives each element its own answer, with at most `limit` in flight",
    {
      requests: Schema.Array(Request).check(Schema.isMaxLength(60)),
      limit: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 })),
      chunk: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 20 }))
    },
    ({ chunk, limit, requests }) =>
      Effect.gen(function*() {
        const { seen, submit } = world()
        const inputs = Stream.rechunk(Stream.fromIterable(requests.map((one, n) => [n, one] as const)), chunk)
        const settled = yield* Stream.runCollect(InFlight.all(submit, inputs, limit))
        assert.strictEqual(settled.length, requests.length)
        assert.strictEqual(new Set(settled.map(({ input: [n] }) => n)).size, requests.length)
        for (const { input: [n, request], result } of settled) {
          const expected = request.refused
            ? Result.fail(`${n} refused`)
            : request.failed
            ? Result.fail(`${n} failed`)
            : Result.succeed(n)
          assert.deepStrictEqual(result, expected)
        }
        assert.isAtMost(seen.most, limit)
        assert.strictEqual(seen.open, 0)
      })
  )

  it.live("emits the answers of one tick together, and starts as many new requests at once", () =>
    Effect.gen(function*() {
      const open: Array<() => void> = []
      const begun: Array<number> = []
      const submit: InFlight.Submit<number, number, never> = (n, settle) => {
        if (open.length === 0) setImmediate(() => open.splice(0).forEach((answer) => answer()))
        begun.push(open.push(() => settle(Result.succeed(n))))
        return Result.succeed(() => {})
      }
      const arrays = yield* InFlight.all(submit, Stream.range(1, 12), 4).pipe(Stream.chunks, Stream.runCollect)
      assert.deepStrictEqual(arrays.map((array) => array.length), [4, 4, 4])
      assert.deepStrictEqual(begun, [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4])
    }))

  it.effect("finishes the open requests and dies if a request throws at its start", () =>
    Effect.gen(function*() {
      const { submit } = world()
      const answered: Array<number> = []
      const request: Request = { refused: false, failed: false, ticks: 3 }
      const dying: typeof submit = (input, settle) => {
        if (input[0] === 2) throw new Error("a bug")
        return submit(input, settle)
      }
      const inputs = Stream.fromIterable([0, 1, 2, 3].map((n) => [n, request] as const))
      const exit = yield* InFlight.all(dying, inputs, 10).pipe(
        Stream.runForEach(({ input: [n] }) => Effect.sync(() => answered.push(n))),
        Effect.exit
      )
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.deepStrictEqual(answered, [0, 1])
    }))
})
