/**
 * The connection that puts and the commands of operators share.
 *
 * The server executes batches in the order of their submission. So this side
 * knows which tube is in use, and sends a `use` only if a command needs another
 * tube, in the same batch.
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

/** A `use` that was sent. If it fails, the results of all commands in its tube are invalid. */
export interface Use {
  readonly queue: string
  failure: BrokerError | undefined
}

interface Greeting {
  readonly maxJobSize: number
  /** The last `use`, which holds for the next command. */
  use: Use
}

/** The open connection, with its limit and its tube. */
export type OpenConnection = Reconnect.OpenConnection<Greeting>

/** Turns an answer into a result. */
export type Read<A> = (answer: Answer | undefined) => Result.Result<A, BrokerError>

/** The failure of a command without a reply. It has its own fate, whatever happened to the `use` before it. */
export const unanswered = (answer: Answer | undefined): Result.Result<never, BrokerError> | undefined =>
  answer?._tag === "Unanswered" ? Result.fail(answer.error) : undefined

export class SharedConnection {
  /** The server, for messages. */
  readonly name: string
  /** The open connection. Waits for an attempt that is under way; fails during the pause after a failed one. */
  readonly current: Effect.Effect<OpenConnection, BrokerError>

  constructor(name: string, current: Effect.Effect<OpenConnection, BrokerError>) {
    this.name = name
    this.current = current
  }

  /** Sends a command that does not depend on the tube in use. */
  one<A>(command: Command, read: Read<A>): Effect.Effect<A, BrokerError> {
    return Effect.flatMap(this.current, ({ connection }) =>
      Effect.flatMap(
        connection.request([command]),
        ([answer]) => Effect.fromResult(readOn(connection, answer, read))
      ))
  }

  /** Sends commands to a tube. */
  inQueue(
    { connection, greeting }: OpenConnection,
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

  /** Sends one command to a tube. */
  oneInQueue<A>(queue: string, command: Command, read: Read<A>): Effect.Effect<A, BrokerError> {
    return Effect.gen({ self: this }, function*() {
      yield* Effect.fromResult(checkQueue(queue))
      const open = yield* this.current
      const { answers, use } = yield* this.inQueue(open, queue, [command])
      return yield* Effect.fromResult(
        use.failure === undefined ? read(answers[0]) : unanswered(answers[0]) ?? Result.fail(use.failure)
      )
    })
  }

  /** Sends a command about one job. A text that can't be an id is not sent: no job has it. */
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
