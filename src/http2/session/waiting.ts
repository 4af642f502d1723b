/** The queue of requests that wait for a stream. */
import type { Exchange } from "./exchange.ts"

/** The queue keeps at most this many settled exchanges, or as many as there are waiting ones. */
const maxDropped = 64

/** The array is cut from this many passed exchanges on. */
const maxPassed = 4096

/** A queue that drops settled exchanges when their turn comes, or when there are too many. */
export class Waiting {
  /** How many wait, without the settled ones. */
  size = 0
  /** Passed places are empty: an old array must not keep its exchanges alive. Else a push costs 1.1 times the CPU. */
  private exchanges: Array<Exchange | undefined> = []
  private next = 0

  push(exchange: Exchange): void {
    this.exchanges.push(exchange)
    this.size++
  }

  /** One in the queue was settled. */
  dropped(): void {
    this.size--
    const kept = this.exchanges.length - this.next
    if (kept - this.size <= Math.max(maxDropped, this.size)) return
    this.exchanges = this.exchanges.slice(this.next).filter((exchange) => exchange?.isSettled === false)
    this.next = 0
  }

  peek(): Exchange | undefined {
    while (this.next < this.exchanges.length) {
      const exchange = this.exchanges[this.next]!
      if (!exchange.isSettled) return exchange
      this.pass()
    }
    return undefined
  }

  shift(): Exchange | undefined {
    const exchange = this.peek()
    if (exchange === undefined) return undefined
    this.pass()
    this.size--
    return exchange
  }

  private pass(): void {
    this.exchanges[this.next++] = undefined
    if (this.next < this.exchanges.length && this.next < maxPassed) return
    this.exchanges = this.exchanges.slice(this.next)
    this.next = 0
  }

  /** Calls `look` for each exchange in the queue now. It may settle them, and add others. */
  forEach(look: (exchange: Exchange) => void): void {
    const { next, exchanges } = this
    const end = exchanges.length
    for (let i = next; i < end; i++) {
      const exchange = exchanges[i]
      if (exchange !== undefined) look(exchange)
    }
  }
}
