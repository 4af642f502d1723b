/** What a simulator remembers of the pushes that it got: the newest ones, and counts of all. */

/**
 * A push, or a broadcast, and how it was answered.
 *
 * @category models
 * @since 0.1.0
 */
export interface Push {
  /** The number of the connection on which it came; the first is 1. */
  readonly connection: number
  /** When it came: milliseconds since the epoch. */
  readonly at: number
  /** The device token, or the channel id of a broadcast. */
  readonly target: string
  readonly headers: Readonly<Record<string, string | undefined>>
  /** The payload as it came. */
  readonly body: string
  /** The id that it was answered with. */
  readonly apnsId: string
  /** The HTTP status of the answer; none where the script leaves it out, or a GOAWAY says that it was not processed. */
  readonly status: number | undefined
  /** Apple's reason, where it was refused. */
  readonly reason: string | undefined
}

/**
 * What a simulator has seen since it was started or cleared.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counts {
  /** Connections that were opened. */
  readonly connections: number
  /** Connections that are open now. */
  readonly open: number
  /** Pushes and broadcasts, answered or not. */
  readonly pushes: number
  /** Those that were accepted. */
  readonly accepted: number
  /** Those that the script left without an answer, or a GOAWAY disowned. */
  readonly unanswered: number
  /** Answers to pushes and broadcasts by HTTP status. */
  readonly statuses: Readonly<Record<number, number>>
  /** Refusals of them by Apple's reason. */
  readonly reasons: Readonly<Record<string, number>>
}

/** Remembers the newest of what it is given. */
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

  /** Puts another in the place of one that is still remembered. */
  replace(item: A, other: A): void {
    const index = this.#items.lastIndexOf(item)
    if (index >= 0) this.#items[index] = other
  }

  /** The oldest first. */
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

/** Counts what is answered. */
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

  /** Takes back how a push was answered. */
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
      accepted: this.#statuses[200] ?? 0,
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
