/**
 * How many requests the connection can take.
 *
 * The mean size of recent bodies estimates how much of the peer's window the next
 * bodies need. The mean costs little, and it is wrong for at most a round trip.
 */

/** The mean covers about this many bodies. */
const recentBodies = 16

/** The capacity of one connection, in requests. */
export class Capacity {
  /** How many streams may be open: 1 until the peer's SETTINGS arrive. */
  limit = 1
  /** The mean size of recent bodies, in bytes. */
  private bodySize = 0

  /** Records the body size of a submitted request, in bytes. */
  submitted(size: number): void {
    this.bodySize += (size - this.bodySize) / recentBodies
  }

  /**
   * How many requests can follow the `pending` ones, of which `waiting` have no
   * stream yet. `window` is the peer's for all streams together, in bytes.
   */
  left(window: number, pending: number, waiting: number): number {
    return window <= 0 ? 0 : Math.max(0, Math.min(this.limit - pending, this.carried(window) - waiting))
  }

  /** Whether the window is what limits the capacity. */
  isNarrow(window: number, pending: number, waiting: number): boolean {
    return this.carried(window) - waiting < this.limit - pending || window <= 0
  }

  private carried(window: number): number {
    return Math.ceil(window / this.bodySize)
  }
}
