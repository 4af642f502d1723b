/**
 * The checks of APNs, in its order: the first fault is the answer. Pure, except
 * that a connection keeps its last provider token.
 *
 * It repeats rules of `backq/apns` on purpose: shared code would hide a mistake of
 * the client.
 *
 * Source: Apple, "Sending notification requests to APNs" and "Sending broadcast
 * push notification requests to APNs". Apple lists the reasons but not their
 * precedence; comments here note each choice of ours.
 */
import * as Schema from "effect/Schema"
import { parseJson } from "../../internal/json.ts"
import { PushType, type Reason } from "../../push/apns/index.ts"
import type { Channels } from "./channels.ts"
import { appOf, type Incoming, isUuid, type Kind, type Refusal, tokenOf } from "./incoming.ts"
import type { Judge, Shown } from "./providerTokens.ts"
import type { Dead } from "./Script.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** The provider of a connection. */
export interface Provider {
  /** The client's certificate; `validUntil` is in milliseconds since the epoch. */
  readonly certificate: { readonly topics: ReadonlyArray<string>; readonly validUntil: number } | undefined
  /** The last provider token of the connection. */
  shown: Shown | undefined
}

/** What the simulator knows. */
export interface World {
  /** Milliseconds since the epoch. */
  readonly now: number
  readonly judge: Judge
  readonly dead: ReadonlyMap<string, Dead>
  readonly apps: ReadonlyMap<string, string>
  readonly channels: Channels
}

// -----------------------------------------------------------------------------
// Rules of headers and bodies
// -----------------------------------------------------------------------------

const isPushType = Schema.is(PushType.PushType)

/** Apple's rules for a push type; those of alerts if it is missing or unknown. */
const rulesOf = ({ headers }: Incoming): PushType.Rules => {
  const pushType = headers["apns-push-type"]
  return PushType.table[isPushType(pushType) ? pushType : "alert"]
}

const topicForm = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/

/** Only the raw headers show a duplicate: Node.js joins or drops it. */
const checkDuplicates = ({ rawHeaders }: Incoming): Reason.Reason | undefined => {
  const seen = new Set<string>()
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!
    if (name !== "authorization" && !name.startsWith("apns-")) continue
    if (seen.has(name)) return "DuplicateHeaders"
    seen.add(name)
  }
  return undefined
}

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null && !Array.isArray(value)

// -----------------------------------------------------------------------------
// Authentication
// -----------------------------------------------------------------------------

/** Checks the provider, and whether it may push to this topic of this app. */
const authenticate = (
  { headers }: Incoming,
  provider: Provider,
  world: World,
  to: { readonly topic: string; readonly bundleId: string },
  forbidden: Reason.Reason
): Reason.Reason | undefined => {
  if (provider.certificate !== undefined) {
    if (provider.certificate.validUntil < world.now) return "BadCertificate"
    return provider.certificate.topics.includes(to.topic) ? undefined : forbidden
  }
  const verdict = world.judge(headers["authorization"], world.now, provider.shown)
  if (verdict._tag === "Refused") return verdict.reason
  provider.shown = verdict.shown
  return verdict.bundleIds?.includes(to.bundleId) === false ? forbidden : undefined
}

// -----------------------------------------------------------------------------
// Pushes to devices
// -----------------------------------------------------------------------------

/** The topic of a push. With a certificate of one topic the header is optional. */
const topicOf = ({ headers }: Incoming, { certificate }: Provider): string | undefined =>
  headers["apns-topic"] ?? (certificate?.topics.length === 1 ? certificate.topics[0] : undefined)

type Check = (push: Incoming, provider: Provider, world: World) => Reason.Reason | Refusal | undefined

const addressOf = (push: Incoming, provider: Provider) => {
  const topic = topicOf(push, provider)!
  return { topic, bundleId: topic.slice(0, topic.length - rulesOf(push).suffix.length) }
}

const checkId: Check = ({ headers }) => {
  const id = headers["apns-id"] ?? headers["apns-request-id"]
  return id === undefined || isUuid(id) ? undefined : "BadMessageId"
}

const checkPost: Check = ({ method }) => method === "POST" ? undefined : "MethodNotAllowed"

const checkTopic: Check = (push, provider) => {
  const topic = topicOf(push, provider)
  return topic === undefined ? "MissingTopic" : topicForm.test(topic) ? undefined : "BadTopic"
}

/** In Node.js each byte of a header is one character. */
const checkCollapseId: Check = ({ headers }) =>
  (headers["apns-collapse-id"]?.length ?? 0) > 64 ? "BadCollapseId" : undefined

const checkPriority: Check = (push) => {
  const priority = push.headers["apns-priority"]
  return priority === undefined || rulesOf(push).priorities.some((allowed) => String(allowed) === priority)
    ? undefined
    : "BadPriority"
}

const checkExpiration: Check = ({ headers }) => {
  const expiration = headers["apns-expiration"]
  return expiration === undefined || /^\d{1,10}$/.test(expiration) ? undefined : "BadExpirationDate"
}

/** Our choice: a topic without the suffix of its push type, or with another suffix, is `BadTopic`. */
const checkPushType: Check = (push, provider) => {
  const { "apns-push-type": pushType = "alert" } = push.headers
  if (!isPushType(pushType)) return "InvalidPushType"
  const { suffix } = PushType.table[pushType]
  const topic = topicOf(push, provider)!
  const fits = topic.length > suffix.length && topic.endsWith(suffix) &&
    PushType.otherKind(pushType, topic) === undefined
  return fits ? undefined : "BadTopic"
}

/** Tokens have at least 32 bytes; Apple does not publish a maximum. */
const checkToken: Check = (push) => {
  const token = tokenOf(push.path)
  if (token === "") return "MissingDeviceToken"
  return /^([0-9a-f]{2}){32,}$/i.test(token) ? undefined : "BadDeviceToken"
}

const checkDead: Check = (push, _provider, { dead }) => {
  const found = dead.get(tokenOf(push.path))
  return found === undefined ? undefined : { reason: found.reason ?? "Unregistered", timestamp: found.since }
}

const checkApp: Check = (push, provider, { apps }) => {
  const app = apps.get(tokenOf(push.path))
  return app === undefined || app === addressOf(push, provider).bundleId ? undefined : "DeviceTokenNotForTopic"
}

const checkProvider: Check = (push, provider, world) =>
  authenticate(push, provider, world, addressOf(push, provider), "TopicDisallowed")

/** Our choice: a push type that needs the other kind of credential is `TopicDisallowed`. */
const checkCredential: Check = (push, { certificate }) => {
  const { needs } = rulesOf(push)
  return needs === undefined || (needs === "Certificate") === (certificate !== undefined)
    ? undefined
    : "TopicDisallowed"
}

/** Our choice: a payload that is not a JSON object is `PayloadEmpty`. */
const checkPayload = (limit: (push: Incoming) => number): Check => (push) =>
  push.size > limit(push) ? "PayloadTooLarge" : isObject(parseJson(push.body)) ? undefined : "PayloadEmpty"

const deviceChecks: ReadonlyArray<Check> = [
  checkDuplicates,
  checkId,
  checkPost,
  checkTopic,
  checkCollapseId,
  checkPriority,
  checkExpiration,
  checkPushType,
  checkToken,
  checkDead,
  checkApp,
  checkProvider,
  checkCredential,
  checkPayload((push) => rulesOf(push).limit)
]

// -----------------------------------------------------------------------------
// Broadcasts and channels
// -----------------------------------------------------------------------------

const checkBundleId: Check = ({ path }) => {
  if (appOf(path).endsWith(PushType.table.liveactivity.suffix)) return "TopicDisallowed"
  return topicForm.test(appOf(path)) ? undefined : "BadRequestParams"
}

const checkBroadcaster: Check = (push, provider, world) =>
  authenticate(push, provider, world, { topic: appOf(push.path), bundleId: appOf(push.path) }, "TopicMismatch")

const checkChannelId: Check = ({ headers }) => {
  const id = headers["apns-channel-id"]
  if (id === undefined) return "MissingChannelId"
  return /^[A-Za-z0-9+/_-]+={0,2}$/.test(id) ? undefined : "BadChannelId"
}

/** A broadcast must have a priority, and 1 is allowed, too. */
const checkBroadcastPriority: Check = ({ headers }) =>
  /^(10|5|1)$/.test(headers["apns-priority"] ?? "") ? undefined : "BadPriority"

const broadcastChecks: ReadonlyArray<Check> = [
  checkDuplicates,
  checkId,
  checkPost,
  checkChannelId,
  checkBroadcastPriority,
  ({ headers }) => headers["apns-expiration"] === undefined ? "BadExpirationDate" : undefined,
  checkExpiration,
  ({ headers }) => {
    const pushType = headers["apns-push-type"]
    return pushType === undefined ? "MissingPushType" : pushType === "liveactivity" ? undefined : "InvalidPushType"
  },
  checkBundleId,
  checkBroadcaster,
  (push, _provider, { channels }) => {
    const channel = channels.find(appOf(push.path), push.headers["apns-channel-id"]!)
    if (channel === undefined) return "ChannelNotRegistered"
    return channel["message-storage-policy"] === 0 && push.headers["apns-expiration"] !== "0"
      ? "BadExpirationDate"
      : undefined
  },
  checkPayload(() => 5120)
]

const managementChecks: ReadonlyArray<Check> = [checkDuplicates, checkId, checkBundleId, checkBroadcaster]

// -----------------------------------------------------------------------------
// All of them
// -----------------------------------------------------------------------------

const checks: Readonly<Record<Kind, ReadonlyArray<Check>>> = {
  push: deviceChecks,
  broadcast: broadcastChecks,
  channels: managementChecks,
  unknown: [() => "BadPath"]
}

/** The first fault of a request, or `undefined`. */
export const check = (kind: Kind, incoming: Incoming, provider: Provider, world: World): Refusal | undefined => {
  for (const one of checks[kind]) {
    const fault = one(incoming, provider, world)
    if (fault !== undefined) return typeof fault === "string" ? { reason: fault } : fault
  }
  return undefined
}
