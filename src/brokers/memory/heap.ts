/**
 * A binary heap whose members can be taken out from any place.
 *
 * `push` answers with an entry that remembers where its value stands, so that
 * `remove` needs no search: `push`, `pop` and `remove` cost O(log n), `peek`
 * and `size` O(1). Values that are equal in the order may come out in any
 * order, so an order that matters has to be total.
 */

/** A value's place in a heap. */
export interface Entry<out A> {
  readonly value: A
  /** Where it stands, -1 once it is out. */
  index: number
}

/** A heap that serves its values in an order. */
export class Heap<A> {
  readonly #entries: Array<Entry<A>> = []
  readonly #before: (a: A, b: A) => boolean

  /** `before(a, b)` says whether `a` comes out before `b`; it must not change for a value while the value is in. */
  constructor(before: (a: A, b: A) => boolean) {
    this.#before = before
  }

  /** How many values are in. */
  get size(): number {
    return this.#entries.length
  }

  /** The value that comes out next. */
  peek(): A | undefined {
    return this.#entries[0]?.value
  }

  /** The values, in no particular order. */
  values(): Array<A> {
    return this.#entries.map((entry) => entry.value)
  }

  /** Puts a value in. */
  push(value: A): Entry<A> {
    const entry = { value, index: this.#entries.length }
    this.#entries.push(entry)
    this.#up(entry)
    return entry
  }

  /** Takes the next value out. */
  pop(): A | undefined {
    const first = this.#entries[0]
    if (first === undefined) return undefined
    this.remove(first)
    return first.value
  }

  /** Takes a value out from its place. Says whether it was in. */
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
