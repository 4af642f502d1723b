/**
 * The open streams of a connection, in a ring of slots.
 *
 * A `Map` moves to another table all the time, and the tables that it left keep their
 * exchanges and the next table alive until V8 collects the whole heap. With a `Map` a
 * push costs 1.3 times the CPU.
 */
import type { Exchange } from "./exchange.ts"

/** The slots of the ring, a power of 2: a few times as many as servers allow streams. */
const slots = 4096

/** The ids of a client are odd. */
const slotOf = (id: number): number => (id >>> 1) & (slots - 1)

/** The open streams. Each new id must be higher than all before. */
export class Streams {
  size = 0
  private readonly ring: Array<Exchange | undefined> = Array.from({ length: slots }, () => undefined)
  /** The streams that were still open when another one needed their slot. */
  private readonly old = new Map<number, Exchange>()

  get(id: number): Exchange | undefined {
    const found = this.ring[slotOf(id)]
    return found?.id === id ? found : this.old.get(id)
  }

  has(id: number): boolean {
    return this.get(id) !== undefined
  }

  add(exchange: Exchange): void {
    const slot = slotOf(exchange.id)
    const before = this.ring[slot]
    if (before !== undefined) this.old.set(before.id, before)
    this.ring[slot] = exchange
    this.size++
  }

  delete(id: number): void {
    const slot = slotOf(id)
    if (this.ring[slot]?.id === id) this.ring[slot] = undefined
    else if (!this.old.delete(id)) return
    this.size--
  }

  /** All of them, in the order of their ids. */
  all(): Array<Exchange> {
    const open = [...this.old.values(), ...this.ring.filter((exchange) => exchange !== undefined)]
    return open.sort((a, b) => a.id - b.id)
  }
}
