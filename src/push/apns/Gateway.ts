/**
 * The seam below `Apns`: what the connections of one credential do.
 *
 * A gateway gets pushes that are checked and encoded. It keeps connections,
 * sends again what certainly was not processed, and settles each push once.
 */
import type * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as ApnsError from "./answer/ApnsError.ts"
import type { Environment } from "./Endpoint.ts"
import type * as BroadcastChannel from "./notification/BroadcastChannel.ts"
import type { Encoded } from "./notification/Encoder.ts"
import type { Notification } from "./notification/Notification.ts"
import * as PushType from "./notification/PushType.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Apple has accepted a push. Whether the device shows it is not known here.
 *
 * @category models
 * @since 0.1.0
 */
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

/**
 * A push, ready to be sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outgoing {
  readonly notification: Notification
  /** The notification on the wire. The same object for all pushes of one notification. */
  readonly encoded: Encoded
  readonly token: string
  readonly apnsId: string
}

/**
 * The connections of one credential to one environment.
 *
 * @category models
 * @since 0.1.0
 */
export interface Gateway {
  readonly environment: Environment
  /** Some push types need the one or the other. `undefined`: it stands for both. */
  readonly credential: "Key" | "Certificate" | undefined
  /**
   * What the credential covers: bundle ids, with or without the suffix of a push type; `"any"` for a key that says
   * nothing about it. Another array when the credential is replaced by another.
   */
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
  readonly exchange: (
    request: BroadcastChannel.Request
  ) => Effect.Effect<BroadcastChannel.Response, ApnsError.ApnsError>
}

// -----------------------------------------------------------------------------
// Routing
// -----------------------------------------------------------------------------

/**
 * An app and where its pushes leave.
 *
 * @category models
 * @since 0.1.0
 */
export interface Route {
  readonly gateway: Gateway
  /** The app's bundle id. */
  readonly topic: string
}

const fault = (detail: string) => Result.fail(ApnsError.make(new ApnsError.ConfigFault({ detail })))

const known = (gateways: ReadonlyArray<Gateway>): string =>
  gateways.flatMap(({ topics }) => topics === "any" ? [] : topics).join(", ") || "none"

/** Does Apple take this kind of push with the gateway's kind of credential? */
const isAble = (pushType: PushType.PushType | undefined) => ({ credential }: Gateway): boolean => {
  const needs = pushType === undefined ? undefined : PushType.table[pushType].needs
  return needs === undefined || credential === undefined || needs === credential
}

const unable = (pushType: PushType.PushType, topic: string) => {
  const { needs } = PushType.table[pushType]
  const [needed, given] = needs === "Key" ? ["a key", "a certificate"] : ["an MDM certificate", "a key"]
  return Result.fail(ApnsError.make(
    new ApnsError.InvalidNotification({
      field: "pushType",
      rule: `${pushType} needs ${needed}, and the credential that covers ${topic} is ${given}`,
      apple: "TopicDisallowed"
    })
  ))
}

/** The topics that a credential for the app may name: the whole one first. Without a push type, that of any. */
const topicsOf = (bundleId: string, pushType: PushType.PushType | undefined): ReadonlyArray<string> =>
  pushType === undefined
    ? [bundleId, ...Object.values(PushType.table).map(({ suffix }) => bundleId + suffix)]
    : [PushType.topic(pushType, bundleId), bundleId]

const names = (topic: string) => ({ topics }: Gateway): boolean => topics !== "any" && topics.includes(topic)

const find = (
  gateways: ReadonlyArray<Gateway>,
  bundleId: string,
  pushType: PushType.PushType | undefined
): Gateway | undefined => {
  for (const topic of topicsOf(bundleId, pushType)) {
    const gateway = gateways.find(names(topic))
    if (gateway !== undefined) return gateway
  }
  return gateways.find(({ topics }) => topics === "any")
}

const hasDefault = ({ defaultTopic }: Gateway): boolean => defaultTopic !== undefined

/**
 * Finds the gateway for a push to an app, among those whose kind of credential
 * can do it: the first that names the bundle id, with the suffix of the push
 * type or without it, else the first that takes any. Without a bundle id, the
 * first that has a default.
 *
 * @category functions
 * @since 0.1.0
 */
export const route = (
  gateways: ReadonlyArray<Gateway>,
  bundleId: string | undefined,
  pushType?: PushType.PushType
): Result.Result<Route, ApnsError.ApnsError> => {
  const able = gateways.filter(isAble(pushType))
  const topic = bundleId ?? (able.find(hasDefault) ?? gateways.find(hasDefault))?.defaultTopic
  if (topic === undefined) {
    return fault("neither the notification nor the credential has a topic: give the app's bundle id")
  }
  const gateway = find(able, topic, pushType)
  if (gateway !== undefined) return Result.succeed({ gateway, topic })
  return pushType !== undefined && find(gateways, topic, pushType) !== undefined
    ? unable(pushType, topic)
    : fault(`no credential covers the topic ${topic} (they cover: ${known(gateways)}): add one that does`)
}

/**
 * The bundle id in a notification's topic, which may have the suffix of its push type.
 *
 * @category functions
 * @since 0.1.0
 */
export const bundleIdOf = ({ pushType, topic }: Notification): string | undefined => {
  const suffix = PushType.table[pushType]?.suffix ?? ""
  return topic !== undefined && suffix !== "" && topic.endsWith(suffix) ? topic.slice(0, -suffix.length) : topic
}
