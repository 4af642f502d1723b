/**
 * The pages of a list, for brokers that keep their jobs in an order.
 *
 * A page ends with the place of its last job: what orders the job in its
 * state, then its number. The next page begins after that place, whether or
 * not the job is still there, so that no job is seen twice or left out because
 * others came or went.
 */
import * as Result from "effect/Result"
import { type BrokerError, optionInvalid } from "../../BrokerError.ts"
import type { ListedJob, ListedState, ListOptions, Page } from "../../Inspector.ts"
import * as Options from "../../internal/options.ts"

/** Where a job stands in the order of its state. */
export interface Place {
  /** Its priority, when it is due, when it was buried, or when it was done. */
  readonly order: number
  readonly number: number
}

/** A list that was asked for, checked. */
export interface Request {
  readonly state: ListedState
  readonly limit: number
  readonly after: Place | undefined
}

const defaultLimit = 100
const maxLimit = 1000

/** Writes down a place. The state is part of it: the orders of two states can't be compared. */
const cursor = (state: ListedState, { number, order }: Place): string => `${state}.${order}.${number}`

const isNumber = (part: string | undefined) => part !== undefined && /^\d{1,16}$/.test(part)

const readCursor = (state: ListedState, text: string): Result.Result<Place, BrokerError> => {
  const [of, order, number, ...rest] = text.split(".")
  return of === state && isNumber(order) && isNumber(number) && rest.length === 0
    ? Result.succeed({ order: Number(order), number: Number(number) })
    : Result.fail(optionInvalid("after", Options.mustBe(`the "next" of a page of ${state} jobs`, text)))
}

/** Checks the options of a list and fills in the defaults. */
export const request = (
  { after, limit = defaultLimit, state }: ListOptions
): Result.Result<Request, BrokerError> => {
  const rule = Options.integer(limit, 1, maxLimit)
  if (rule !== undefined) return Result.fail(optionInvalid("limit", rule))
  return after === undefined
    ? Result.succeed({ state, limit, after })
    : Result.map(readCursor(state, after), (after) => ({ state, limit, after }))
}

/** A page of what was found: of one more than the limit, if there are so many, in the order of their places. */
export const page = <A>(
  { limit, state }: Request,
  found: ReadonlyArray<A>,
  placeOf: (one: A) => Place,
  show: (one: A) => ListedJob
): Page => {
  const shown = found.slice(0, limit)
  return {
    jobs: shown.map(show),
    next: found.length > limit ? cursor(state, placeOf(shown.at(-1)!)) : undefined
  }
}
