/**
 * Checks of arguments, before a byte is sent. The server's own are no help: it
 * reads `10abc` as a number, and the body of a refused `put` as commands.
 */
import * as Result from "effect/Result"
import { type BrokerError, optionInvalid } from "../../BrokerError.ts"

const maxUint32 = 4294967295

const integer = (option: string, from: number, to: number, unit: string) => {
  const rule = `it is ${unit} from ${from} to ${to}`
  return (value: number): Result.Result<number, BrokerError> =>
    Number.isInteger(value) && value >= from && value <= to
      ? Result.succeed(value)
      : Result.fail(optionInvalid(option, value, rule))
}

/** How many jobs an operation may take: at least one. */
export const checkMax = integer("max", 1, maxUint32, "an integer")

/** A delay in seconds. */
export const checkDelay = integer("delay", 0, maxUint32, "a whole number of seconds")

/** A time to run in seconds. */
export const checkTtr = integer("ttr", 1, maxUint32, "a whole number of seconds")

/** How long a reserve waits, in seconds. Servers before 1.13 take more for "for ever". */
export const checkTimeout = integer("timeout", 0, 2147483647, "a whole number of seconds")

const idPattern = /^[0-9]{1,20}$/

/** Can this be a job's id: an unsigned integer of 64 bits, in decimal? */
export const isId = (id: string): boolean => idPattern.test(id) && BigInt(id) < 2n ** 64n
