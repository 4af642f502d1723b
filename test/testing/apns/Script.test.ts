/** What a script decides, without a server. */
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Script from "../../../src/testing/apns/Script.ts"

const reasons = (script: Script.Script, targets: ReadonlyArray<string>) => {
  const decide = Script.compile(script)
  return targets.map((target) => {
    const behaviour = decide(target)
    return behaviour?._tag === "Refuse" ? behaviour.reason : undefined
  })
}

const targets = Array.from({ length: 10_000 }, (_, index) => `target ${index}`)

const halves: Script.Script = {
  rules: [
    { do: Script.refuse("InternalServerError"), share: 0.2 },
    { do: Script.refuse("ServiceUnavailable"), share: 0.3 }
  ]
}

describe("Script", () => {
  it.prop("the answer to a target's n-th push depends only on the seed", {
    seed: Schema.Natural,
    order: Schema.Array(Schema.Literals(["a", "b", "c"]))
  }, ({ order, seed }) => {
    const together = reasons({ ...halves, seed }, order)
    for (const target of ["a", "b", "c"]) {
      const alone = reasons({ ...halves, seed }, order.filter((other) => other === target))
      assert.deepStrictEqual(together.filter((_, index) => order[index] === target), alone)
    }
  })

  it("shares hold over targets and over pushes to one target", () => {
    for (const seed of [0, 1, 0x7fffffff]) {
      for (const to of [targets, targets.map(() => "one")]) {
        const decided = reasons({ ...halves, seed }, to)
        const share = (reason: string | undefined) => decided.filter((one) => one === reason).length / to.length
        assert.approximately(share("InternalServerError"), 0.2, 0.02)
        assert.approximately(share("ServiceUnavailable"), 0.3, 0.02)
        assert.approximately(share(undefined), 0.5, 0.02)
      }
    }
  })

  it("a share of 1 hits every push, and a share of 0 none", () => {
    const all = reasons(
      { rules: [{ do: Script.refuse("Shutdown"), share: 0 }, { do: Script.refuse("Forbidden") }] },
      targets
    )
    assert.isTrue(all.every((reason) => reason === "Forbidden"))
  })
})
