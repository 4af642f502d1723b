import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { type Entry, Heap } from "../../../src/brokers/memory/heap.ts"

const drain = <A>(heap: Heap<A>): Array<A> => {
  const values: Array<A> = []
  for (let value = heap.pop(); value !== undefined; value = heap.pop()) values.push(value)
  return values
}

const numeric = (a: number, b: number) => a - b

describe("Heap", () => {
  it.prop("pops in order after any removals from the middle", [
    Schema.Array(Schema.Natural),
    Schema.Array(Schema.Natural)
  ], ([values, picks]) => {
    const heap = new Heap<number>((a, b) => a < b)
    const entries: Array<Entry<number>> = values.map((value) => heap.push(value))
    for (const pick of picks) {
      const [entry] = entries.splice(pick % (entries.length || 1), 1)
      if (entry === undefined) continue
      assert.isTrue(heap.remove(entry))
      assert.isFalse(heap.remove(entry))
    }
    const left = entries.map((entry) => entry.value).sort(numeric)
    assert.strictEqual(heap.size, left.length)
    assert.strictEqual(heap.peek(), left[0])
    assert.deepStrictEqual(drain(heap), left)
    assert.strictEqual(heap.size, 0)
  }, { arbitrary: { runs: 300, size: 60 } })

  it("needs a logarithmic number of comparisons per value", () => {
    let comparisons = 0
    const heap = new Heap<number>((a, b) => {
      comparisons++
      return a < b
    })
    const count = 100_000
    for (let i = 0; i < count; i++) heap.push((i * 7919) % count)
    drain(heap)
    assert.isBelow(comparisons / count, 3 * Math.log2(count))
  })
})
