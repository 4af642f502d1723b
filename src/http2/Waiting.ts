/** The requests that wait for a stream, in order. */
import type { Stream } from "./Stream.ts"

/** A queue from which those that were settled meanwhile are dropped when their turn comes. */
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
  }

  /** Takes the first. */
  shift(): Stream | undefined {
    while (this.next < this.streams.length) {
      const stream = this.streams[this.next++]!
      if (this.next === this.streams.length || this.next === 4096) {
        this.streams = this.streams.slice(this.next)
        this.next = 0
      }
      if (stream.isSettled) continue
      this.size--
      return stream
    }
    return undefined
  }

  /** Looks at each. */
  forEach(look: (stream: Stream) => void): void {
    for (let i = this.next; i < this.streams.length; i++) look(this.streams[i]!)
  }
}
