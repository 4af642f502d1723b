/**
 * A binary heap that can remove any value.
 *
 * `push` returns an entry that knows the place of its value, so that `remove`
 * needs no search: `push`, `pop` and `remove` cost O(log n), `peek` and `size`
 * O(1).
 *
 * Limit: values that compare as equal come out in any order.
 */

/** A value's place in a heap. */
export interface Entry<out A> {
  readonly value: A
  /** The index in the heap. -1 after the removal. */
  index: number
}

/** A heap of values in the order of `before`. */
export class Heap<A> {
  readonly #entries: Array<Entry<A>> = []
  readonly #before: (a: A, b: A) => boolean

  /** `before(a, b)` tells whether `a` comes out before `b`. It must not change while both are in the heap. */
  constructor(before: (a: A, b: A) => boolean) {
    this.#before = before
  }

  get size(): number {
    return this.#entries.length
  }

  /** The next value. It stays in the heap. */
  peek(): A | undefined {
    return this.#entries[0]?.value
  }

  /** The values, in no particular order. */
  values(): Array<A> {
    return this.#entries.map((entry) => entry.value)
  }

  /** Adds a value. */
  push(value: A): Entry<A> {
    const entry = { value, index: this.#entries.length }
    this.#entries.push(entry)
    this.#up(entry)
    return entry
  }

  /** Removes the next value and returns it. */
  pop(): A | undefined {
    const first = this.#entries[0]
    if (first === undefined) return undefined
    this.remove(first)
    return first.value
  }

  /** Removes a value. Returns whether it was in the heap. */
  remove(entry: Entry<A>): boolean {
    const index = entry.index
    if (index === -1) return false
    const last = this.#entries.pop()!
    if (last !== entry) {
      this.#set(index, last)
      this.#up(last)
      this.#down(last)
    }
    entry.index = -1
    return true
  }

  #set(index: number, entry: Entry<A>): void {
    this.#entries[index] = entry
    entry.index = index
  }

  #up(entry: Entry<A>): void {
    let index = entry.index
    while (index > 0) {
      const parent = this.#entries[(index - 1) >> 1]!
      if (!this.#before(entry.value, parent.value)) break
      const above = parent.index
      this.#set(index, parent)
      index = above
    }
    this.#set(index, entry)
  }

  #down(entry: Entry<A>): void {
    const size = this.#entries.length
    let index = entry.index
    while (true) {
      const left = 2 * index + 1
      if (left >= size) break
      const right = left + 1
      const least = right < size && this.#before(this.#entries[right]!.value, this.#entries[left]!.value) ? right : left
      const child = this.#entries[least]!
      if (!this.#before(child.value, entry.value)) break
      this.#set(index, child)
      index = least
    }
    this.#set(index, entry)
  }
}
