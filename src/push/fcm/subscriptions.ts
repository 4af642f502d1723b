/** Reads Google's answer about topic subscriptions: a result for each token, by its index. Pure. */
import * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import { parseJson } from "../../internal/json.ts"
import * as ErrorCode from "./answer/ErrorCode.ts"
import * as FcmError from "./answer/FcmError.ts"
import type { TopicResult } from "./Gateway.ts"

const failureOf = (token: string, errorCode: string): FcmError.FcmError => {
  switch (errorCode) {
    case "NOT_FOUND":
      return FcmError.make(new FcmError.DeadToken({ status: 200, errorCode, token }))
    case "INVALID_ARGUMENT":
      return FcmError.make(new FcmError.WrongToken({ status: 200, errorCode, token, kind: "Malformed" }))
    case "PERMISSION_DENIED":
      return FcmError.make(new FcmError.WrongToken({ status: 200, errorCode, token, kind: "OtherProject" }))
    case "TOO_MANY_TOPICS":
      return FcmError.make(
        new FcmError.InvalidMessage({ field: "topic", rule: "must be one of at most 2000 topics of an installation" })
      )
    default:
      return FcmError.make(
        new FcmError.TooManyRequests({
          status: 200,
          errorCode,
          scope: "Target",
          delay: Duration.minutes(1),
          wasSent: true
        })
      )
  }
}

const strange = FcmError.make(
  new FcmError.ConfigFault({ detail: "the server for topics answered without a result for each token: check the host" })
)

/** The results of a change. */
export const resultsOf = (
  tokens: ReadonlyArray<string>,
  body: string
): Result.Result<ReadonlyArray<TopicResult>, FcmError.FcmError> => {
  const answer = parseJson(body)
  const results: unknown = typeof answer === "object" && answer !== null && "results" in answer
    ? answer.results
    : undefined
  if (!Array.isArray(results) || results.length !== tokens.length || !results.every(Predicate.isObject)) {
    return Result.fail(strange)
  }
  return Result.succeed(tokens.map((token, index): TopicResult => {
    const error = results[index]?.["error"]
    if (error === undefined) return { token, result: Result.void }
    return { token, result: Result.fail(failureOf(token, ErrorCode.codeOf(error) ?? "UNKNOWN")) }
  }))
}
