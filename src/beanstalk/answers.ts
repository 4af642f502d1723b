/**
 * From the answers to a command to its result, and to the broker's errors.
 */
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import type { JobState, LeaseInfo } from "../Broker.ts"
import * as BrokerError from "../BrokerError.ts"
import type { Command } from "./Command.ts"
import type { Answer } from "./Pipeline.ts"
import { decodeJobStats, decodeServerStats, type JobStats, type ServerStats } from "./Stats.ts"

type Failed = Result.Result<never, BrokerError.BrokerError>

/** A failure of this server. */
export const violation = (broker: string, detail: string): BrokerError.BrokerError =>
  BrokerError.make(new BrokerError.ProtocolViolation({ broker, detail }))

/** The error of an answer that doesn't mean success. `notFound` says what was looked for. */
export const failure = (
  broker: string,
  command: Command["_tag"],
  answer: Answer | undefined,
  notFound?: BrokerError.BrokerErrorReason
): Failed => {
  switch (answer?._tag) {
    case "Unanswered":
      return Result.fail(answer.error)
    case "NotFound":
      if (notFound !== undefined) return Result.fail(BrokerError.make(notFound))
      break
    case "OutOfMemory":
      return Result.fail(BrokerError.make(new BrokerError.OutOfMemory({ broker })))
    case "Draining":
      return Result.fail(BrokerError.make(new BrokerError.Draining({ broker })))
    case "UnknownCommand":
      return Result.fail(BrokerError.make(
        new BrokerError.Unsupported({
          broker,
          operation: command,
          hint: "this server does not know the command; beanstalkd 1.12 or later does"
        })
      ))
  }
  return Result.fail(violation(broker, `it answered "${answer?._tag ?? "nothing"}" to ${command}`))
}

/** That there is no such job. */
export const noJob = (id: string) => new BrokerError.NotFound({ what: "job", name: id })

/** That there is no such queue. */
export const noQueue = (name: string) => new BrokerError.NotFound({ what: "queue", name })

/** That a body is over the server's limit. */
export const tooBig = (queue: string, size: number, limit: number): Failed =>
  Result.fail(BrokerError.jobTooBig(queue, size, limit, "raise the limit (beanstalkd -z)"))

/** Reads the answer to `stats`. */
export const serverStats = (broker: string, answer: Answer | undefined): Result.Result<
  ServerStats,
  BrokerError.BrokerError
> =>
  answer?._tag === "Ok"
    ? Result.mapError(decodeServerStats(answer.body), (detail) => violation(broker, detail))
    : failure(broker, "Stats", answer)

/** Reads the answer to `stats-job`. */
export const jobStats = (broker: string, id: string, answer: Answer | undefined): Result.Result<
  JobStats,
  BrokerError.BrokerError
> =>
  answer?._tag === "Ok"
    ? Result.mapError(decodeJobStats(answer.body), (detail) => violation(broker, detail))
    : failure(broker, "StatsJob", answer, noJob(id))

/**
 * What is known of a delivery. Every delivery counts in `reserves`; a give-back
 * counts in `kicks` too, as does an operator's kick, which forgives one. A
 * delivery that was neither released nor buried ended with its time to run or
 * with its connection.
 */
export const leaseInfo = (stats: JobStats, held: boolean): LeaseInfo => ({
  attempt: Math.max(held ? 1 : 0, stats.reserves - stats.kicks),
  lost: Math.max(0, stats.reserves - (held ? 1 : 0) - stats.releases - stats.buries),
  buries: stats.buries,
  priority: stats.pri,
  ttr: Duration.seconds(stats.ttr)
})

/** Is somebody holding the job, so that its last delivery has not ended? */
export const isHeld = (state: JobState): boolean => state === "reserved"

/** Whole seconds, rounded up. */
export const wholeSeconds = (duration: Duration.Duration): number => Math.ceil(Duration.toMillis(duration) / 1000)
