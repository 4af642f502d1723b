/** Apple's service, as the pool of connections sees it. */
import type { Provider } from "../pool/index.ts"
import { failureOf, judge, judgeDial, judgeEnd } from "./answer/answerPolicy.ts"
import * as ApnsError from "./answer/ApnsError.ts"
import type * as Reason from "./answer/Reason.ts"

const { make } = ApnsError

/** What the pool makes of APNs. */
export const provider: Provider.Provider<Reason.Classification, ApnsError.ApnsError> = {
  name: "APNs",
  judge,
  judgeEnd,
  judgeDial,
  failures: {
    refused: (refusal) => ApnsError.fromClassification(refusal),
    unanswered: (error) => make(failureOf(error)),
    unprocessed: (detail) => make(new ApnsError.Refused({ detail })),
    notSent: (detail) => make(new ApnsError.NotSent({ detail })),
    timedOut: (after, detail) => make(new ApnsError.Timeout({ stage: "Queue", after, detail })),
    expired: (expiresAt) => make(new ApnsError.Expired({ expiration: expiresAt / 1000 })),
    // a provider token that was made just now is refused as expired: the clock is wrong
    unauthorized: () => ApnsError.fromAnswer({ status: 403, reason: "ExpiredProviderToken", timestamp: undefined })
  },
  // the topic of a push, each kind of call about a channel
  scopeOf: ({ method, path, shared }) => shared.find(([name]) => name === "apns-topic")?.[1] ?? `${method} ${path}`,
  isRepeated: (name) => name !== "apns-collapse-id"
}
