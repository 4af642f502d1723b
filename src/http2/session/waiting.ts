/** The requests that wait for a stream, in order. */
import type { Exchange } from "./exchange.ts"

/** So many settled ones are kept at most, and as many as there are others. */
const maxDropped = 64

/** A queue from which those that were settled meanwhile are dropped when their turn comes, or when they are too many. */
export class Waiting {
  /** How many wait, without those that were settled. */
  size = 0
  private exchanges: Array<Exchange> = []
  private next = 0

  push(exchange: Exchange): void {
    this.exchanges.push(exchange)
    this.size++
  }

  /** One that waits was settled. */
  dropped(): void {
    this.size--
    const kept = this.exchanges.length - this.next
    if (kept - this.size <= Math.max(maxDropped, this.size)) return
    this.exchanges = this.exchanges.slice(this.next).filter(({ isSettled }) => !isSettled)
    this.next = 0
  }

  /** Looks at the first. */
  peek(): Exchange | undefined {
    while (this.next < this.exchanges.length) {
      const exchange = this.exchanges[this.next]!
      if (!exchange.isSettled) return exchange
      this.pass()
    }
    return undefined
  }

  /** Takes the first. */
  shift(): Exchange | undefined {
    const exchange = this.peek()
    if (exchange === undefined) return undefined
    this.pass()
    this.size--
    return exchange
  }

  private pass(): void {
    this.next++
    if (this.next < this.exchanges.length && this.next < 4096) return
    this.exchanges = this.exchanges.slice(this.next)
    this.next = 0
  }

  /** Looks at each of those that wait now. They may be settled meanwhile. */
  forEach(look: (exchange: Exchange) => void): void {
    const { next, exchanges } = this
    for (let i = next; i < exchanges.length; i++) look(exchanges[i]!)
  }
}
