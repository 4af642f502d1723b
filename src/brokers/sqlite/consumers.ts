/**
 * The consumers of this process, and how many of them each queue has. A queue
 * exists while it has one.
 */
import * as Effect from "effect/Effect"
import type { SqliteConsumer } from "./consumer.ts"
import type { Session } from "./session.ts"

/** The consumers of this process. */
export class Consumers {
  private readonly all = new Set<SqliteConsumer>()
  private readonly byQueue = new Map<string, number>()

  /** The queues that are consumed. */
  get queues(): Iterable<string> {
    return this.byQueue.keys()
  }

  /** Is a queue consumed? */
  readonly has = (queue: string): boolean => this.byQueue.has(queue)

  add(consumer: SqliteConsumer): void {
    this.all.add(consumer)
    for (const queue of consumer.queues) this.byQueue.set(queue, (this.byQueue.get(queue) ?? 0) + 1)
  }

  /** Forgets a consumer and closes it. */
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

  /** Goes on with what was opened anew. */
  move(session: Session, isSameFile: boolean): void {
    for (const consumer of this.all) consumer.move(session, isSameFile)
  }
}
