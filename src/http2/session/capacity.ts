/**
 * How many requests may be open, and how many more have room.
 *
 * What bodies will need of the peer's window is guessed from those before them:
 * a mean costs next to nothing, and is wrong for a round trip at most.
 */

/** About so many bodies count for their mean size. */
const recentBodies = 16

/** The room of one connection. */
export class Capacity {
  /** How many streams may be open: one until the peer has said so. */
  limit = 1
  /** The mean size of recent bodies, in bytes. */
  private bodySize = 0

  /** A request with a body of so many bytes is to leave. */
  submitted(size: number): void {
    this.bodySize += (size - this.bodySize) / recentBodies
  }

  /**
   * How many requests can follow those that are pending, some of which wait for
   * a stream. `window` is that of all streams, in bytes.
   */
  left(window: number, pending: number, waiting: number): number {
    return window <= 0 ? 0 : Math.max(0, Math.min(this.limit - pending, this.carried(window) - waiting))
  }

  /** Is it the window that leaves no more room? */
  isNarrow(window: number, pending: number, waiting: number): boolean {
    return this.carried(window) - waiting < this.limit - pending || window <= 0
  }

  private carried(window: number): number {
    return Math.ceil(window / this.bodySize)
  }
}
