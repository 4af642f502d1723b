/** What every broker checks alike before it does something: what a settlement asks for, how much, and how large. */
import * as Result from "effect/Result"
import { checkDuration, checkPriority, type Settlement } from "../../Broker.ts"
import { type BrokerError, jobTooBig, optionInvalid } from "../../BrokerError.ts"
import * as Options from "../../internal/options.ts"

/** Checks what a settlement asks for: the priority and the delay that the job is to have. */
export const checkSettlement = (settlement: Settlement): Result.Result<void, BrokerError> => {
  if ("priority" in settlement && settlement.priority !== undefined) {
    const priority = checkPriority(settlement.priority)
    if (Result.isFailure(priority)) return Result.fail(priority.failure)
  }
  return settlement._tag === "Release"
    ? Result.map(checkDuration("delay", settlement.delay), () => undefined)
    : Result.void
}

/** Checks how many jobs an operation may take: at least one. */
export const checkMax = (max: number): Result.Result<number, BrokerError> => {
  const rule = Options.integer(max, 1)
  return rule === undefined ? Result.succeed(max) : Result.fail(optionInvalid("max", rule))
}

/** The largest body of a broker that is not told otherwise, in bytes: beanstalkd's own. */
export const defaultMaxJobSize = 65535

const raiseLimit = "raise the limit (max-job-size in the broker's URL, maxJobSize in a program)"

/** Checks a body against the largest that a broker of this process accepts. */
export const checkSize = (queue: string, body: Uint8Array, limit: number): Result.Result<void, BrokerError> =>
  body.length > limit ? Result.fail(jobTooBig(queue, body.length, limit, raiseLimit)) : Result.void
