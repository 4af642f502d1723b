/** The provider of APNs for the pool of connections. */
import type { Provider } from "../pool/index.ts"
import { failureOf, judge, judgeDial, judgeEnd } from "./answer/answerPolicy.ts"
import * as ApnsError from "./answer/ApnsError.ts"
import type * as Reason from "./answer/Reason.ts"

const { make } = ApnsError

/** Judges the answers of APNs and makes its errors. */
export const provider: Provider.Provider<Reason.Classification, ApnsError.ApnsError> = {
  name: "APNs",
  judge,
  judgeEnd,
  judgeDial,
  failures: {
    refused: (refusal) => ApnsError.fromClassification(refusal),
    // No answer of APNs asks for a pause.
    paused: (refusal, retryAfter) => ApnsError.fromClassification(refusal, { retryAfter }),
    unanswered: (error) => make(failureOf(error)),
    unprocessed: (detail) => make(new ApnsError.Refused({ detail })),
    notSent: (detail) => make(new ApnsError.NotSent({ detail })),
    timedOut: (after, detail) => make(new ApnsError.Timeout({ stage: "Queue", after, detail })),
    expired: (expiresAt) => make(new ApnsError.Expired({ expiration: expiresAt / 1000 })),
    // APNs calls a new provider token expired, so this machine's clock is wrong.
    unauthorized: () => ApnsError.fromAnswer({ status: 403, reason: "ExpiredProviderToken", timestamp: undefined })
  },
  // The topic of a push, or the kind of a channel request.
  scopeOf: ({ method, path, shared }) => shared.find(([name]) => name === "apns-topic")?.[1] ?? `${method} ${path}`,
  isRepeated: (name) => name !== "apns-collapse-id"
}
