/** Reads JSON of others, which may be none. Pure. */
import * as Result from "effect/Result"

/** The value of a JSON text; `undefined` if it is not JSON. */
export const parseJson = (text: string): unknown => Result.getOrUndefined(Result.try((): unknown => JSON.parse(text)))
