/**
 * The connection that puts and an operator's commands share.
 *
 * The order in which batches are submitted is the order in which the server
 * sees them, so which tube is used is known here without asking: a `use` is
 * sent only where another is needed, together with what relies on it.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { checkQueue, type JobId } from "../../Broker.ts"
import type { BrokerError } from "../../BrokerError.ts"
import { isId } from "./arguments.ts"
import type { Command } from "./command.ts"
import type { Driver } from "./Connection.ts"
import type { Answer } from "./pipeline.ts"
import * as Reconnect from "./reconnect.ts"
import { failure, readOn, tubeStats } from "./replies.ts"
import type { TubeStats } from "./stats.ts"

/** A `use` that was sent. Its failure makes everything worthless that relied on it. */
export interface Use {
  readonly queue: string
  failure: BrokerError | undefined
}

interface Greeting {
  readonly maxJobSize: number
  /** The `use` that counts for what is sent next. */
  use: Use
}

/** The connection of the moment, and what is known of it. */
export type Ready = Reconnect.Ready<Greeting>

/** From an answer to a result. */
export type Read<A> = (answer: Answer | undefined) => Result.Result<A, BrokerError>

/** What becomes of a command without an answer: what became of itself, not of the `use` before it. */
export const unanswered = (answer: Answer | undefined): Result.Result<never, BrokerError> | undefined =>
  answer?._tag === "Unanswered" ? Result.fail(answer.error) : undefined

/** The shared connection. */
export class SharedConnection {
  /** The server, for messages. */
  readonly name: string
  /** Waits for an attempt to connect that is under way; fails at once between two. */
  readonly current: Effect.Effect<Ready, BrokerError>

  constructor(name: string, current: Effect.Effect<Ready, BrokerError>) {
    this.name = name
    this.current = current
  }

  /** Sends a command that is about no used tube. */
  one<A>(command: Command, read: Read<A>): Effect.Effect<A, BrokerError> {
    return Effect.flatMap(this.current, ({ connection }) =>
      Effect.flatMap(
        connection.request([command]),
        ([answer]) => Effect.fromResult(readOn(connection, answer, read))
      ))
  }

  /** Sends commands that are about the used tube. */
  inQueue(
    { connection, greeting }: Ready,
    queue: string,
    commands: ReadonlyArray<Command>
  ): Effect.Effect<{ readonly answers: ReadonlyArray<Answer>; readonly use: Use }> {
    return Effect.callback((resume) => {
      const fresh = greeting.use.queue !== queue || greeting.use.failure !== undefined
      const use: Use = fresh ? { queue, failure: undefined } : greeting.use
      greeting.use = use
      connection.submit(fresh ? [{ _tag: "Use", tube: queue }, ...commands] : commands, (answers) => {
        const first = answers[0]
        if (fresh && first?._tag !== "Using") {
          use.failure = Option.getOrThrow(Result.getFailure(failure(this.name, "Use", first)))
        }
        resume(Effect.succeed({ answers: fresh ? answers.slice(1) : answers, use }))
      })
    })
  }

  /** Sends a command that is about the used tube. */
  oneInQueue<A>(queue: string, command: Command, read: Read<A>): Effect.Effect<A, BrokerError> {
    return Effect.gen({ self: this }, function*() {
      yield* Effect.fromResult(checkQueue(queue))
      const ready = yield* this.current
      const { answers, use } = yield* this.inQueue(ready, queue, [command])
      return yield* Effect.fromResult(
        use.failure === undefined ? read(answers[0]) : unanswered(answers[0]) ?? Result.fail(use.failure)
      )
    })
  }

  /** Sends a command about one job. What can't be an id is not sent. */
  aboutJob<A>(
    tag: "Delete" | "KickJob" | "StatsJob" | "Peek",
    id: JobId,
    read: Read<A>
  ): Effect.Effect<A, BrokerError> {
    return isId(id) ? this.one({ _tag: tag, id }, read) : Effect.fromResult(read({ _tag: "NotFound" }))
  }

  /** The statistics of a tube. */
  statsTube(queue: string): Effect.Effect<TubeStats, BrokerError> {
    return Effect.andThen(
      Effect.fromResult(checkQueue(queue)),
      this.one({ _tag: "StatsTube", tube: queue }, (answer) => tubeStats(this.name, queue, answer))
    )
  }
}

/** Keeps a shared connection alive until the scope closes. */
export const make = (driver: Driver) =>
  Effect.map(
    Reconnect.make(driver, (stats): Greeting => ({
      maxJobSize: stats["max-job-size"],
      use: { queue: "default", failure: undefined }
    })),
    ({ current }) => new SharedConnection(driver.name, current)
  )
