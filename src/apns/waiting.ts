/** Requests that wait, the oldest first. What is put back comes before what is new. */
export class Waiting<A> {
  private readonly back: Array<A> = []
  private fresh: Array<A> = []
  private head = 0

  get size(): number {
    return this.back.length + this.fresh.length - this.head
  }

  put(entry: A): void {
    this.fresh.push(entry)
  }

  putBack(entry: A): void {
    this.back.push(entry)
  }

  take(): A | undefined {
    if (this.back.length > 0) return this.back.pop()
    const entry = this.fresh[this.head]
    if (entry === undefined) return undefined
    this.fresh[this.head++] = undefined!
    // what was taken is cut off once it is the larger half, so that taking costs the same for any length
    if (this.head > 1024 && this.head * 2 > this.fresh.length) {
      this.fresh = this.fresh.slice(this.head)
      this.head = 0
    }
    return entry
  }

  takeAll(): Array<A> {
    return this.takeWhile(() => true)
  }

  /** Takes those from the front for which it holds. */
  takeWhile(holds: (entry: A) => boolean): Array<A> {
    const taken = this.back.filter(holds)
    this.back.splice(0, this.back.length, ...this.back.filter((entry) => !holds(entry)))
    while (this.head < this.fresh.length && holds(this.fresh[this.head]!)) {
      taken.push(this.fresh[this.head]!)
      this.head++
    }
    this.fresh = this.fresh.slice(this.head)
    this.head = 0
    return taken
  }
}
