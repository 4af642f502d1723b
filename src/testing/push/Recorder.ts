/** Records the pushes of a simulator: the newest ones, counts of all, and those from now on as a stream. */
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"

/** What a recorder reads of a push. */
export interface Recorded {
  /** The HTTP status of the answer; `undefined` if it had none. */
  readonly status: number | undefined
  /** The service's reason, if the push was refused. */
  readonly reason: string | undefined
}

/**
 * The counts of a simulator since it was started or cleared.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counts {
  /** All connections. */
  readonly connections: number
  /** Open connections. */
  readonly open: number
  /** All pushes. */
  readonly pushes: number
  /** Accepted pushes. */
  readonly accepted: number
  /** Pushes that the script left unanswered or a GOAWAY disowned. */
  readonly unanswered: number
  /** Answers by HTTP status. */
  readonly statuses: Readonly<Record<number, number>>
  /** Refusals by the service's reason. */
  readonly reasons: Readonly<Record<string, number>>
}

/** Keeps the newest items, at most `capacity`. */
export class Newest<A> {
  readonly #capacity: number
  #items: Array<A> = []
  #next = 0

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  add(item: A): void {
    if (this.#capacity === 0) return
    this.#items[this.#next] = item
    this.#next = (this.#next + 1) % this.#capacity
  }

  /** Replaces an item, if it is still kept. */
  replace(item: A, other: A): void {
    const index = this.#items.lastIndexOf(item)
    if (index >= 0) this.#items[index] = other
  }

  /** The items, the oldest first. */
  toArray(): Array<A> {
    return this.#items.length < this.#capacity
      ? this.#items.slice()
      : [...this.#items.slice(this.#next), ...this.#items.slice(0, this.#next)]
  }

  clear(): void {
    this.#items = []
    this.#next = 0
  }
}

/** Counts pushes and their answers. */
export class Tally {
  connections = 0
  #pushes = 0
  #unanswered = 0
  #statuses: Record<number, number> = {}
  #reasons: Record<string, number> = {}

  add(status: number | undefined, reason: string | undefined): void {
    this.#pushes++
    if (status === undefined) this.#unanswered++
    else this.#statuses[status] = (this.#statuses[status] ?? 0) + 1
    if (reason !== undefined) this.#reasons[reason] = (this.#reasons[reason] ?? 0) + 1
  }

  /** Counts an answered push as unanswered instead. */
  disown(status: number | undefined, reason: string | undefined): void {
    if (status === undefined) return
    this.#unanswered++
    this.#statuses[status]!--
    if (reason !== undefined) this.#reasons[reason]!--
  }

  counts(open: number): Counts {
    return {
      connections: this.connections,
      open,
      pushes: this.#pushes,
      accepted: (this.#statuses[200] ?? 0) + (this.#statuses[201] ?? 0),
      unanswered: this.#unanswered,
      statuses: { ...this.#statuses },
      reasons: { ...this.#reasons }
    }
  }

  clear(): void {
    this.connections = 0
    this.#pushes = 0
    this.#unanswered = 0
    this.#statuses = {}
    this.#reasons = {}
  }
}

/** Records pushes, and counts them. */
export class Recorder<P extends Recorded> {
  readonly tally = new Tally()
  /** The pushes from now on. A reader that is more than 1024 behind misses the oldest. */
  readonly changes: Stream.Stream<P>
  /** The kept pushes, the oldest first. */
  readonly pushes: Effect.Effect<ReadonlyArray<P>> = Effect.sync(() => this.#newest.toArray())
  readonly clear: Effect.Effect<void> = Effect.sync(() => {
    this.tally.clear()
    this.#newest.clear()
  })
  readonly #newest: Newest<P>
  readonly #live: PubSub.PubSub<P>

  /** Keeps at most `capacity` pushes, and publishes each. */
  constructor(capacity: number, live: PubSub.PubSub<P>) {
    this.#newest = new Newest(capacity)
    this.#live = live
    this.changes = Stream.fromPubSub(live)
  }

  /** Records a push. Call the returned function if it was not processed after all. */
  readonly record = (push: P): () => void => {
    const { reason, status } = push
    this.tally.add(status, reason)
    this.#newest.add(push)
    PubSub.publishUnsafe(this.#live, push)
    return () => {
      this.tally.disown(status, reason)
      this.#newest.replace(push, { ...push, status: undefined, reason: undefined })
    }
  }
}

/** Makes a recorder. It keeps the newest pushes, at most `capacity`; `false` for none. */
export const make = <P extends Recorded>(capacity: number | false = 10_000): Effect.Effect<Recorder<P>> =>
  Effect.map(PubSub.sliding<P>(1024), (live) => new Recorder(capacity === false ? 0 : capacity, live))
