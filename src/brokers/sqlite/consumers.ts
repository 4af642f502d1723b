/**
 * The consumers of this process, also by queue. A queue exists at least as long
 * as it has a consumer.
 */
import * as Effect from "effect/Effect"
import type { SqliteConsumer } from "./consumer.ts"
import type { Session } from "./session.ts"

export class Consumers {
  private readonly all = new Set<SqliteConsumer>()
  private readonly byQueue = new Map<string, number>()

  /** The queues that have a consumer. */
  get queues(): Iterable<string> {
    return this.byQueue.keys()
  }

  /** Whether a queue has a consumer. */
  readonly has = (queue: string): boolean => this.byQueue.has(queue)

  add(consumer: SqliteConsumer): void {
    this.all.add(consumer)
    for (const queue of consumer.queues) this.byQueue.set(queue, (this.byQueue.get(queue) ?? 0) + 1)
  }

  /** Removes a consumer and closes it. */
  end(consumer: SqliteConsumer): Effect.Effect<void> {
    return Effect.suspend(() => {
      for (const queue of consumer.queues) {
        const left = (this.byQueue.get(queue) ?? 1) - 1
        if (left > 0) this.byQueue.set(queue, left)
        else this.byQueue.delete(queue)
      }
      this.all.delete(consumer)
      return consumer.close(this.has)
    })
  }

  /** Lets all consumers go on with the next session. */
  move(session: Session, isSameFile: boolean): void {
    for (const consumer of this.all) consumer.move(session, isSameFile)
  }
}
