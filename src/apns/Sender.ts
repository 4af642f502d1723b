/**
 * The seam below `Apns`: what the connections of one credential do.
 *
 * A sender gets pushes that are checked and encoded. It keeps connections,
 * sends again what certainly was not processed, and settles each push once.
 */
import type * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as ApnsError from "./ApnsError.ts"
import type * as Channel from "./Channel.ts"
import type { Encoded } from "./Encoder.ts"
import type { Environment } from "./Endpoint.ts"
import type { Notification } from "./Notification.ts"
import * as PushType from "./PushType.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** Apple has accepted a push. Whether the device shows it is not known here. */
export interface Receipt {
  /** The push's id. */
  readonly apnsId: string
  /** The id by which the Push Notifications Console finds it. Only in the sandbox. */
  readonly apnsUniqueId: string | undefined
  /** How many times it was sent: more than 1 where connections ended before Apple had taken it. */
  readonly attempts: number
  /** From the call to the answer, in milliseconds. */
  readonly duration: number
}

/** A push, ready to be sent. */
export interface Outgoing {
  readonly notification: Notification
  /** The notification on the wire. The same object for all pushes of one notification. */
  readonly encoded: Encoded
  readonly token: string
  readonly apnsId: string
}

/** The connections of one credential to one environment. */
export interface Sender {
  readonly environment: Environment
  /** The bundle ids that the credential covers; `"any"` for a key that says nothing about it. */
  readonly topics: ReadonlyArray<string> | "any"
  /** The bundle id of notifications that have no topic. */
  readonly defaultTopic: string | undefined
  /** How many pushes may usefully be under way. */
  readonly inFlight: number
  /**
   * Sends a push. `settle` is called exactly once, and never before `submit`
   * returns. The function that comes back gives the push up: `settle` is not
   * called after it.
   */
  readonly submit: (push: Outgoing, settle: (result: Result.Result<Receipt, ApnsError.ApnsError>) => void) => () => void
  /** Sends a request about channels and waits for the answer. Answers of every status are successes. */
  readonly exchange: (request: Channel.Request) => Effect.Effect<Channel.Response, ApnsError.ApnsError>
}

// -----------------------------------------------------------------------------
// Routing
// -----------------------------------------------------------------------------

/** An app and who sends its pushes. */
export interface Route {
  readonly sender: Sender
  /** The app's bundle id. */
  readonly topic: string
}

const covers = (bundleId: string) => ({ topics }: Sender): boolean => topics !== "any" && topics.includes(bundleId)

const fault = (detail: string) => Result.fail(ApnsError.make(new ApnsError.ConfigFault({ detail })))

const known = (senders: ReadonlyArray<Sender>): string =>
  senders.flatMap(({ topics }) => topics === "any" ? [] : topics).join(", ") || "none"

/**
 * Finds the sender for an app: the first that names the bundle id, else the
 * first that takes any. Without a bundle id, the first that has a default.
 */
export const route = (
  senders: ReadonlyArray<Sender>,
  bundleId: string | undefined
): Result.Result<Route, ApnsError.ApnsError> => {
  const topic = bundleId ?? senders.find(({ defaultTopic }) => defaultTopic !== undefined)?.defaultTopic
  if (topic === undefined) {
    return fault("neither the notification nor the credential has a topic: give the app's bundle id")
  }
  const sender = senders.find(covers(topic)) ?? senders.find(({ topics }) => topics === "any")
  return sender === undefined
    ? fault(`no credential covers the topic ${topic} (they cover: ${known(senders)}): add one that does`)
    : Result.succeed({ sender, topic })
}

/** The bundle id in a notification's topic, which may have the suffix of its push type. */
export const bundleIdOf = ({ pushType, topic }: Notification): string | undefined => {
  const suffix = PushType.table[pushType]?.suffix ?? ""
  return topic !== undefined && suffix !== "" && topic.endsWith(suffix) ? topic.slice(0, -suffix.length) : topic
}
