/**
 * The layer below `Apns`: the connections of one credential.
 *
 * A gateway gets checked and encoded pushes. It manages connections, sends a push again
 * if Apple certainly did not process it, and settles each push once.
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
 * Apple's acceptance of a push. It does not say whether the device shows it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Receipt {
  /** The push's id. */
  readonly apnsId: string
  /** The id in the Push Notifications Console. Only in the sandbox. */
  readonly apnsUniqueId: string | undefined
  /** How many times it was sent: more than 1 if Apple did not process earlier attempts. */
  readonly attempts: number
  /** From the call to the answer, in milliseconds. */
  readonly duration: number
}

/**
 * An encoded push.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outgoing {
  readonly notification: Notification
  /** The encoded notification: the same object for all pushes of one notification. */
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
  /** The kind of credential, since some push types need one of them. `undefined`: it can send all push types. */
  readonly credential: "Key" | "Certificate" | undefined
  /**
   * The bundle ids that the credential covers, with or without the suffix of a push type; `"any"` for a key without a
   * list. A new credential has a new array.
   */
  readonly topics: ReadonlyArray<string> | "any"
  /** The bundle id for notifications without a topic. */
  readonly defaultTopic: string | undefined
  /** The useful number of pushes in flight. */
  readonly inFlight: number
  /**
   * Sends a push. It calls `settle` exactly once, and never before `submit` returns. It
   * returns a function that cancels the push; `settle` is not called after that.
   */
  readonly submit: (push: Outgoing, settle: (result: Result.Result<Receipt, ApnsError.ApnsError>) => void) => () => void
  /** Sends a channel request and waits for the answer. It succeeds with answers of any status. */
  readonly exchange: (
    request: BroadcastChannel.Request
  ) => Effect.Effect<BroadcastChannel.Response, ApnsError.ApnsError>
}

// -----------------------------------------------------------------------------
// Routing
// -----------------------------------------------------------------------------

/**
 * An app and its gateway.
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

/** Whether Apple accepts this push type with the gateway's kind of credential. */
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
      rule: `must not be ${pushType} with ${given}, which covers ${topic}: configure ${needed}`,
      apple: "TopicDisallowed"
    })
  ))
}

/** The topics that a credential for the app may name, the full topic first. Without a push type, those of all types. */
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
 * Finds the gateway for a push to an app, among those whose kind of credential Apple
 * accepts for the push type. It is the first one that names the bundle id, with or
 * without the suffix of the push type, else the first one that covers any. Without a
 * bundle id it is the one of the first default topic.
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
    return fault("the notification and the credential have no topic: set the app's bundle id")
  }
  const gateway = find(able, topic, pushType)
  if (gateway !== undefined) return Result.succeed({ gateway, topic })
  return pushType !== undefined && find(gateways, topic, pushType) !== undefined
    ? unable(pushType, topic)
    : fault(`no credential covers the topic ${topic} (covered: ${known(gateways)}): add one that does`)
}

/**
 * The bundle id of a notification: its topic without the suffix of its push type.
 *
 * @category functions
 * @since 0.1.0
 */
export const bundleIdOf = ({ pushType, topic }: Notification): string | undefined => {
  const suffix = PushType.table[pushType]?.suffix ?? ""
  return topic !== undefined && suffix !== "" && topic.endsWith(suffix) ? topic.slice(0, -suffix.length) : topic
}
