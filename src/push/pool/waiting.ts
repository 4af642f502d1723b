/** A queue whose cost to take from is the same for any length. */
class Fifo<A> {
  private entries: Array<A> = []
  private head = 0

  get size(): number {
    return this.entries.length - this.head
  }

  put(entry: A): void {
    this.entries.push(entry)
  }

  take(): A | undefined {
    const entry = this.entries[this.head]
    if (entry === undefined) return undefined
    this.entries[this.head++] = undefined!
    if (this.size === 0) this.cut()
    // what was taken is cut off once it is the larger half
    else if (this.head > 1024 && this.head * 2 > this.entries.length) this.cut()
    return entry
  }

  takeIf(holds: (entry: A) => boolean): Array<A> {
    this.cut()
    const taken = this.entries.filter(holds)
    if (taken.length > 0) this.entries = this.entries.filter((entry) => !holds(entry))
    return taken
  }

  takeWhile(holds: (entry: A) => boolean): Array<A> {
    this.cut()
    const end = this.entries.findIndex((entry) => !holds(entry))
    return this.entries.splice(0, end < 0 ? this.entries.length : end)
  }

  private cut(): void {
    this.entries = this.entries.slice(this.head)
    this.head = 0
  }
}

/**
 * Requests that wait, the oldest first. What is put back comes before what is
 * new, and keeps its order: else some would be overtaken each time that a
 * server refuses all but the first.
 */
export class Waiting<A> {
  private readonly back = new Fifo<A>()
  private readonly fresh = new Fifo<A>()

  get size(): number {
    return this.back.size + this.fresh.size
  }

  put(entry: A): void {
    this.fresh.put(entry)
  }

  putBack(entry: A): void {
    this.back.put(entry)
  }

  take(): A | undefined {
    return this.back.take() ?? this.fresh.take()
  }

  takeAll(): Array<A> {
    return this.takeWhile(() => true)
  }

  /** Takes those that were put back for which it holds, and the new ones up to the first for which it doesn't. */
  takeWhile(holds: (entry: A) => boolean): Array<A> {
    return [...this.back.takeIf(holds), ...this.fresh.takeWhile(holds)]
  }
}
