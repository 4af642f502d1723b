/** The checks of arguments that all brokers share. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { checkDuration, checkPriority, type Settlement } from "../../Broker.ts"
import { type BrokerError, jobTooBig, optionInvalid } from "../../BrokerError.ts"
import * as Options from "../../internal/options.ts"

/** Checks the priority and the delay of a settlement. */
export const checkSettlement = (settlement: Settlement): Result.Result<void, BrokerError> => {
  if ("priority" in settlement && settlement.priority !== undefined) {
    const priority = checkPriority(settlement.priority)
    if (Result.isFailure(priority)) return Result.fail(priority.failure)
  }
  return settlement._tag === "Release"
    ? Result.map(checkDuration("delay", settlement.delay), () => undefined)
    : Result.void
}

/** Checks the largest number of jobs of an operation: an integer of at least 1. */
export const checkMax = (max: number): Result.Result<number, BrokerError> => {
  const rule = Options.integer(max, 1)
  return rule === undefined ? Result.succeed(max) : Result.fail(optionInvalid("max", rule))
}

/** A consumer that closes waits at most this long for the broker. */
export const closeFor = "1 second"

/** The default limit of a body in bytes, as in beanstalkd. */
export const defaultMaxJobSize = 65535

/** Checks the option for the largest body. `largest` is what the broker can keep, in bytes. */
export const checkMaxJobSize = (
  bytes: number | undefined,
  largest: number
): Effect.Effect<number, BrokerError> => {
  if (bytes === undefined) return Effect.succeed(defaultMaxJobSize)
  const rule = Options.integer(bytes, 1, largest, "bytes")
  return rule === undefined
    ? Effect.succeed(bytes)
    : Effect.fail(optionInvalid("maxJobSize (max-job-size in the URL)", rule))
}

const raiseLimit = "raise the limit (max-job-size in the broker's URL, maxJobSize in a program)"

/** Checks a body against the limit of a broker in this process. */
export const checkSize = (queue: string, body: Uint8Array, limit: number): Result.Result<void, BrokerError> =>
  body.length > limit ? Result.fail(jobTooBig(queue, body.length, limit, raiseLimit)) : Result.void
