import { assert, describe, it } from "@effect/vitest"
import { Waiting } from "../../../src/push/pool/waiting.ts"

const all = <A>(waiting: Waiting<A>): Array<A> => {
  const taken: Array<A> = []
  for (let entry = waiting.take(); entry !== undefined; entry = waiting.take()) taken.push(entry)
  return taken
}

describe("Waiting", () => {
  it("requests that were put back come first, in their order", () => {
    const waiting = new Waiting<number>()
    for (let i = 1; i <= 6; i++) waiting.put(i)
    const [first, second, third] = [waiting.take()!, waiting.take()!, waiting.take()!]
    for (const entry of [first, second, third]) waiting.putBack(entry)
    assert.strictEqual(waiting.size, 6)
    assert.deepStrictEqual(all(waiting), [1, 2, 3, 4, 5, 6])
    assert.strictEqual(waiting.size, 0)
  })

  it("keeps the order of many requests", () => {
    const waiting = new Waiting<number>()
    const expected: Array<number> = []
    for (let i = 0; i < 10_000; i++) waiting.put(i)
    for (let i = 0; i < 4000; i++) expected.push(waiting.take()!)
    for (let i = 0; i < 3000; i++) waiting.putBack(i)
    assert.strictEqual(waiting.size, 9000)
    assert.deepStrictEqual(expected.concat(all(waiting)), [
      ...Array.from({ length: 4000 }, (_, i) => i),
      ...Array.from({ length: 3000 }, (_, i) => i),
      ...Array.from({ length: 6000 }, (_, i) => 4000 + i)
    ])
  })

  it("takes the requests at the front for which a condition holds", () => {
    const waiting = new Waiting<number>()
    for (const i of [5, 6, 7]) waiting.put(i)
    for (const i of [1, 2, 9]) waiting.putBack(i)
    assert.deepStrictEqual(waiting.takeWhile((i) => i < 7), [1, 2, 5, 6])
    assert.deepStrictEqual(waiting.takeAll(), [9, 7])
    assert.strictEqual(waiting.size, 0)
  })
})
