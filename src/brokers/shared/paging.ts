/**
 * The pages of a list, for brokers that keep their jobs in an order.
 *
 * A page ends with the place of its last job: its order within the state, then
 * its number. The next page begins after that place, whether or not the job is
 * still there. So a job that stays in its place is listed exactly once, even if
 * others come or go.
 */
import * as Result from "effect/Result"
import { type BrokerError, optionInvalid } from "../../BrokerError.ts"
import type { ListedJob, ListedState, ListOptions, Page } from "../../Inspector.ts"
import * as Options from "../../internal/options.ts"

/** The place of a job in its state. */
export interface Place {
  /** The priority if ready, the end of the delay or lease, the number of the burial, or of the end if done. */
  readonly order: number
  readonly number: number
}

/** The options of a list, checked and complete. */
export interface Request {
  readonly state: ListedState
  readonly limit: number
  readonly after: Place | undefined
}

const defaultLimit = 100
const maxLimit = 1000

/** A place as text. It includes the state, because the orders of two states can't be compared. */
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

/** A page of jobs in the order of their places. Pass one more than the limit, if there is one: then a page follows. */
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
