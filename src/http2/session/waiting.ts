/** The requests that wait for a stream, in order. */
import type { Stream } from "./exchange.ts"

/** So many settled ones are kept at most, and as many as there are others. */
const maxDropped = 64

/** A queue from which those that were settled meanwhile are dropped when their turn comes, or when they are too many. */
export class Waiting {
  /** How many wait, without those that were settled. */
  size = 0
  private streams: Array<Stream> = []
  private next = 0

  push(stream: Stream): void {
    this.streams.push(stream)
    this.size++
  }

  /** One that waits was settled. */
  dropped(): void {
    this.size--
    const kept = this.streams.length - this.next
    if (kept - this.size <= Math.max(maxDropped, this.size)) return
    this.streams = this.streams.slice(this.next).filter(({ isSettled }) => !isSettled)
    this.next = 0
  }

  /** Looks at the first. */
  peek(): Stream | undefined {
    while (this.next < this.streams.length) {
      const stream = this.streams[this.next]!
      if (!stream.isSettled) return stream
      this.pass()
    }
    return undefined
  }

  /** Takes the first. */
  shift(): Stream | undefined {
    const stream = this.peek()
    if (stream === undefined) return undefined
    this.pass()
    this.size--
    return stream
  }

  private pass(): void {
    this.next++
    if (this.next < this.streams.length && this.next < 4096) return
    this.streams = this.streams.slice(this.next)
    this.next = 0
  }

  /** Looks at each of those that wait now. They may be settled meanwhile. */
  forEach(look: (stream: Stream) => void): void {
    const { next, streams } = this
    for (let i = next; i < streams.length; i++) look(streams[i]!)
  }
}
