/** Turns answers into results and errors of the broker. */
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import { checkQueue, type JobState, type LeaseInfo } from "../../Broker.ts"
import * as BrokerError from "../../BrokerError.ts"
import { safeName } from "../../internal/text.ts"
import type { Command } from "./command.ts"
import type { Connection } from "./Connection.ts"
import type { Answer } from "./pipeline.ts"
import {
  decodeJobStats,
  decodeServerStats,
  decodeTubeStats,
  type JobStats,
  parseList,
  type ServerStats,
  type TubeStats
} from "./stats.ts"

type Failed = Result.Result<never, BrokerError.BrokerError>

/** The error if the server broke the protocol after a command was sent. */
export const violation = (broker: string, detail: string): BrokerError.BrokerError =>
  BrokerError.make(new BrokerError.ProtocolViolation({ broker, fate: "Unknown", detail }))

/**
 * Reads an answer, whose kind was checked already. If its content belongs to another command the connection ends,
 * because the next answer may do so, too.
 */
export const readOn = <A>(
  connection: Connection,
  answer: Answer | undefined,
  read: (answer: Answer | undefined) => Result.Result<A, BrokerError.BrokerError>
): Result.Result<A, BrokerError.BrokerError> => {
  const result = read(answer)
  if (answer?._tag === "Ok" && Result.isFailure(result) && result.failure.reason._tag === "ProtocolViolation") {
    connection.giveUp(result.failure.reason.detail)
  }
  return result
}

/** The error of an answer that does not mean success. `notFound` is the reason for `NOT_FOUND`. */
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
          hint: command === "ReserveJob"
            ? "this server does not know the command: upgrade it to beanstalkd 1.12 or newer"
            : "this server does not know the command, or a proxy on the way puts something before it, such as the header " +
              "of the PROXY protocol: turn that off"
        })
      ))
  }
  return Result.fail(violation(broker, `it answered "${answer?._tag ?? "nothing"}" to ${command}`))
}

/** The reason if there is no such job. */
export const noJob = (id: string) => new BrokerError.NotFound({ what: "job", name: id })

/** The reason if there is no such queue. */
export const noQueue = (name: string) => new BrokerError.NotFound({ what: "queue", name })

/** The failure of a body that is above the server's limit. */
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
    ? about(broker, "job", id, (stats) => stats.id, decodeJobStats(answer.body))
    : failure(broker, "StatsJob", answer, noJob(id))

/** Reads the answer to `stats-tube`. */
export const tubeStats = (broker: string, tube: string, answer: Answer | undefined): Result.Result<
  TubeStats,
  BrokerError.BrokerError
> =>
  answer?._tag === "Ok"
    ? about(broker, "tube", tube, (stats) => stats.name, decodeTubeStats(answer.body))
    : failure(broker, "StatsTube", answer, noQueue(tube))

/** No server has more tubes. Strings take far more memory than the bytes of the list, so the list is limited. */
const maxTubes = 1_000_000

const hasMoreLines = (body: Uint8Array, max: number): boolean => {
  // The first line is not a tube, but the marker of a list.
  let at = body.indexOf(10)
  for (let lines = 0; at !== -1 && lines <= max; lines++) at = body.indexOf(10, at + 1)
  return at !== -1
}

/** Reads the answer to `list-tubes` and `list-tubes-watched`. */
export const tubeList = (
  broker: string,
  command: "ListTubes" | "ListTubesWatched",
  answer: Answer | undefined
): Result.Result<ReadonlyArray<string>, BrokerError.BrokerError> => {
  if (answer?._tag !== "Ok") return failure(broker, command, answer)
  if (hasMoreLines(answer.body, maxTubes)) {
    return Result.fail(violation(broker, `the list has more than ${maxTubes} lines`))
  }
  const tubes = parseList(answer.body)
  if (tubes === undefined) return Result.fail(violation(broker, "the list is not lines of the form \"- value\""))
  const bad = tubes.find((tube) => Result.isFailure(checkQueue(tube)))
  if (bad !== undefined) {
    return Result.fail(violation(broker, `the list has "${safeName(bad)}", which is not a valid name of a tube`))
  }
  const seen = new Set<string>()
  const twice = tubes.find((tube) => seen.size === seen.add(tube).size)
  return twice === undefined ? Result.succeed(tubes) : Result.fail(violation(broker, `the list has "${twice}" twice`))
}

const about = <A>(
  broker: string,
  what: "job" | "tube",
  asked: string,
  nameOf: (stats: A) => string,
  decoded: Result.Result<A, string>
): Result.Result<A, BrokerError.BrokerError> => {
  if (Result.isFailure(decoded)) return Result.fail(violation(broker, decoded.failure))
  const name = nameOf(decoded.success)
  return name === asked
    ? Result.succeed(decoded.success)
    : Result.fail(violation(broker, `it answered a question about ${what} ${asked} with "${safeName(name)}"`))
}

/**
 * The figures of a delivery. `reserves` counts every delivery. `kicks` counts requeues and kicks by operators, and each
 * allows one more attempt. A delivery without a release or a burial ended with its time to run or with its connection.
 */
export const leaseInfo = (stats: JobStats, held: boolean): LeaseInfo => ({
  attempt: Math.max(held ? 1 : 0, stats.reserves - stats.kicks),
  abandoned: Math.max(0, stats.reserves - (held ? 1 : 0) - stats.releases - stats.buries),
  buries: stats.buries,
  priority: stats.pri,
  // The server rounds a smaller ttr up to 1.
  ttr: Duration.seconds(Math.max(1, stats.ttr))
})

/** Whether a connection holds the job, so that its last delivery has not ended. */
export const isHeld = (state: JobState): boolean => state === "reserved"

/** Whole seconds, rounded up. */
export const wholeSeconds = (duration: Duration.Duration): number => Math.ceil(Duration.toMillis(duration) / 1000)
