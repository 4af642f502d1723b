/** The harness finds the faults that it is made for. */
import { assert, describe, it } from "@effect/vitest"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fuzz from "./fuzz.ts"
import * as Hostile from "./hostile.ts"
import { allow, withManyCases } from "./limits.ts"
import { Random } from "./Random.ts"

allow(withManyCases)

class Refused extends Data.TaggedError("Refused")<{ readonly message: string }> {}

const target = (
  feed: (text: string) => void | Result.Result<unknown, unknown> | Effect.Effect<unknown, unknown>,
  { largest = 1 << 16, patienceMillis = 50 } = {}
) =>
  Fuzz.make({
    name: "it",
    about: "",
    make: (random, size) => Hostile.text(random, size + 1),
    feed,
    grow: [(size) => " ".repeat(size)],
    largest,
    patienceMillis
  })

const failure = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
  throw new Error("it passed")
}

describe("the fuzz harness", () => {
  it("is content with success and typed errors", async () => {
    const refused = new Refused({ message: "it must be shorter" })
    for (const feed of [() => {}, () => Result.fail(refused), () => Effect.fail(refused), () => Effect.void]) {
      assert.strictEqual(await Fuzz.feedMany(target(feed), { rounds: 20 }), 20)
    }
  })

  it.each<[string, Parameters<typeof target>[0]]>([
    ["boom", () => {
      throw new Error("boom")
    }],
    ["boom", () => Effect.die(new Error("boom"))],
    ["interrupt", () => Effect.interrupt],
    ["no end after 50 ms", () => Effect.never],
    ["not a typed error", () => Effect.fail({ unknown: true })],
    ["a message with \"\\u001b\" in it", () => Result.fail(new Refused({ message: "\u001b[31m" }))],
    ["a message of 30000 characters", () => Result.fail("x".repeat(30_000))]
  ])("finds: %s", async (expected, feed) => {
    const message = await failure(Fuzz.feedOne(target(feed), "7", 3))
    assert.include(message, expected)
    assert.include(message, "--seed 7 --from 3 --rounds 1")
  })

  it("finds what takes more time per character, the more there are, before it takes long", async () => {
    const quadratic = target((text) => {
      let spaces = 0
      for (let i = 0; i < text.length; i++) {
        for (let j = 0; j < 4 * text.length; j++) spaces += text.charCodeAt(j >> 2) & 1
      }
      if (spaces > 0) throw new Error("no blank")
    }, { largest: 1 << 14, patienceMillis: 30_000 })
    assert.match(await failure(Fuzz.checkGrowth(quadratic)), /ms for 64, .* ms for 1024|ms for 1024, .* ms for 16384/)
  })

  it("finds what takes much more memory than it is given", async () => {
    const greedy = target((text) => void Buffer.alloc(text.length * 5500, 1))
    assert.match(await failure(Fuzz.checkGrowth(greedy)), /bytes of memory/)
  })

  it("makes the same input from the same seed", () => {
    const inputs = (seed: string) => {
      const random = new Random(seed)
      return [Hostile.text(random, 500), Hostile.json(random, 500), Buffer.from(Hostile.bytes(random, 500)).toString()]
    }
    assert.deepStrictEqual(inputs("a"), inputs("a"))
    assert.notDeepEqual(inputs("a"), inputs("b"))
  })
})
