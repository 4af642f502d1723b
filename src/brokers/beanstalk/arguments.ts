/**
 * Checks of arguments, before a byte is sent. The server's own are no help: it
 * reads `10abc` as a number, and the body of a refused `put` as commands.
 */
import * as Result from "effect/Result"
import { type BrokerError, optionInvalid } from "../../BrokerError.ts"
import * as Options from "../../internal/options.ts"
import { maxUint32 } from "../../internal/uint32.ts"

const integer =
  (option: string, min: number, max: number, unit?: string) => (value: number): Result.Result<number, BrokerError> => {
    const rule = Options.integer(value, min, max, unit)
    return rule === undefined ? Result.succeed(value) : Result.fail(optionInvalid(option, rule))
  }

/** How many jobs an operation may take: at least one. */
export const checkMax = integer("max", 1, maxUint32)

/** A delay in seconds. */
export const checkDelay = integer("delay", 0, maxUint32, "seconds")

/** A time to run in seconds. */
export const checkTtr = integer("ttr", 1, maxUint32, "seconds")

/** How long a reserve waits, in seconds. Servers before 1.13 take more for "forever". */
export const checkTimeout = integer("timeout", 0, 2147483647, "seconds")

const idPattern = /^[0-9]{1,20}$/

/** Whether a text can be a job's id: an unsigned integer of 64 bits, in decimal. */
export const isId = (id: string): boolean => idPattern.test(id) && BigInt(id) < 2n ** 64n
