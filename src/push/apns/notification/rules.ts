/**
 * Apple's rules for notifications, checked before a push: what APNs would refuse, and
 * what the device would silently ignore.
 *
 * A rule is a pure function of the notification. A rule that APNs enforces names the
 * reason that APNs would give. The device enforces the others and reports nothing.
 */
import { isPlain } from "../../../internal/plainJson.ts"
import { safeName } from "../../../internal/text.ts"
import type { Reason } from "../answer/Reason.ts"
import { isMade } from "./madeKeys.ts"
import type { Notification } from "./Notification.ts"
import type { Aps } from "./Payload.ts"
import { documentedAlertKey, documentedApsKey, isOn } from "./Payload.ts"
import type { PushType } from "./PushType.ts"
import { otherKind, table } from "./PushType.ts"

/** A broken rule. */
export interface Problem {
  /** A path from the notification: `payload.aps.badge`. */
  readonly field: string
  /** The rule, and what to do. */
  readonly rule: string
  /** The reason that APNs would give. */
  readonly apple?: Reason
}

type Rule = (notification: Notification, aps: Aps) => Problem | undefined

/** Makes a problem. The field may contain keys of others, so it is escaped. */
export const problem = (field: string, rule: string, apple?: Reason): Problem => ({
  field: safeName(field),
  rule,
  ...(apple === undefined ? {} : { apple })
})

const utf8 = new TextEncoder()

/** The size of a text in UTF-8, in bytes. */
const bytes = (text: string): number => utf8.encode(text).byteLength

// -----------------------------------------------------------------------------
// Headers
// -----------------------------------------------------------------------------

/** Whether a text has the form of a bundle id: parts separated by single dots. */
export const isBundleId = (text: string): boolean => /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/.test(text)

/** The rule of {@link isBundleId}. */
export const bundleIdRule = "must have only letters, digits, \"-\" and \"_\", with single dots between them"

const topic: Rule = ({ pushType, topic }) => {
  if (topic === undefined) return undefined
  if (!isBundleId(topic)) return problem("topic", bundleIdRule, "BadTopic")
  const other = otherKind(pushType, topic)
  return other === undefined
    ? undefined
    : problem("topic", `must not be a topic for ${other} with the push type ${pushType}: use the bundle id`, "BadTopic")
}

const priority: Rule = ({ priority, pushType }) => {
  const allowed = table[pushType].priorities
  return priority === undefined || allowed.includes(priority)
    ? undefined
    : problem("priority", `must be ${allowed.join(" or ")} for ${pushType}, not ${priority}`, "BadPriority")
}

/** Whether a time may be in milliseconds by mistake: as seconds it is after the year 5138. */
const looksLikeMillis = (seconds: number): boolean => seconds >= 1e11

/** The last expiration with 10 digits, in the year 2286. */
const lastExpiration = 9_999_999_999

const expiration: Rule = ({ expiration }) => {
  if (expiration === undefined) return undefined
  if (!Number.isInteger(expiration) || expiration < 0) {
    return problem("expiration", "must be whole seconds since 1970, or 0 for one attempt", "BadExpirationDate")
  }
  if (looksLikeMillis(expiration)) {
    return problem("expiration", "must be seconds since 1970, not milliseconds", "BadExpirationDate")
  }
  return expiration > lastExpiration
    ? problem(
      "expiration",
      "must have at most 10 digits: omit it for as long as APNs stores a notification",
      "BadExpirationDate"
    )
    : undefined
}

const maxCollapseIdBytes = 64

const collapseId: Rule = ({ collapseId }) => {
  if (collapseId === undefined) return undefined
  const size = bytes(collapseId)
  if (size === 0 || size > maxCollapseIdBytes) {
    return problem("collapseId", `must have 1 to ${maxCollapseIdBytes} bytes of UTF-8, not ${size}`, "BadCollapseId")
  }
  // RFC 9113, section 8.2.1.
  return /[\p{Cc}\p{Cs}]|^ | $/u.test(collapseId)
    ? problem(
      "collapseId",
      "must not have control characters, lone surrogates, or spaces at its ends",
      "BadCollapseId"
    )
    : undefined
}

// -----------------------------------------------------------------------------
// Data
// -----------------------------------------------------------------------------

const data: Rule = ({ data, payload, pushType }) => {
  if (data === undefined) return undefined
  if (typeof data !== "object" || data === null || !isPlain(data)) {
    return problem(
      "data",
      "must be a plain object of the app's own keys, not a string, array, map or instance of a class"
    )
  }
  const taken = Object.keys(data).find((key) => isMade(pushType, payload, key))
  return taken === undefined
    ? problem("data", "must not be set: put the app's own keys into the payload, beside aps")
    : problem(
      `data.${taken}`,
      `must not replace "${safeName(taken)}", which the other options set: rename the key, or write the payload by hand`
    )
}

// -----------------------------------------------------------------------------
// Spelling
// -----------------------------------------------------------------------------

const spelling = (
  path: string,
  dictionary: object,
  meant: (key: string) => string | undefined
): Problem | undefined => {
  for (const key of Object.keys(dictionary)) {
    const right = meant(key)
    if (right !== undefined) return problem(`${path}.${key}`, `must be spelled "${right}": devices ignore this key`)
  }
  return undefined
}

const apsSpelling: Rule = (_, aps) => spelling("payload.aps", aps, documentedApsKey)

const alertSpelling: Rule = (_, { alert }) =>
  typeof alert === "object" ? spelling("payload.aps.alert", alert, documentedAlertKey) : undefined

// -----------------------------------------------------------------------------
// Visible notifications
// -----------------------------------------------------------------------------

const visible = (aps: Aps): boolean => aps.alert !== undefined || aps.badge !== undefined || aps.sound !== undefined

const alertShowsSomething: Rule = ({ pushType }, aps) =>
  pushType !== "alert" || visible(aps) || isOn(aps["content-available"])
    ? undefined
    : problem("payload.aps", "must have alert, badge or sound for an alert: otherwise use the push type background")

const mutableContent: Rule = (_, aps) =>
  !isOn(aps["mutable-content"]) || aps.alert !== undefined
    ? undefined
    : problem("payload.aps.mutable-content", "must come with an alert: otherwise the service extension does not run")

const relevanceScore: Rule = ({ pushType }, { "relevance-score": score }) =>
  pushType === "liveactivity" || score === undefined || (score >= 0 && score <= 1)
    ? undefined
    : problem("payload.aps.relevance-score", "must be a number from 0 to 1")

/** Other notifications must not use the forms of a Live Activity's alert. */
const alertForm: Rule = ({ pushType }, { alert }) => {
  if (pushType === "liveactivity" || typeof alert !== "object") return undefined
  if (typeof alert.title === "object") {
    return problem("payload.aps.alert.title", "must be a string, except in a Live Activity: use title-loc-key")
  }
  if (typeof alert.body === "object") {
    return problem("payload.aps.alert.body", "must be a string, except in a Live Activity: use loc-key")
  }
  return alert.sound === undefined
    ? undefined
    : problem("payload.aps.alert.sound", "must be beside the alert, except in a Live Activity: move it")
}

// -----------------------------------------------------------------------------
// The other push types
// -----------------------------------------------------------------------------

const background: Rule = ({ pushType }, aps) => {
  if (pushType !== "background") return undefined
  if (!isOn(aps["content-available"])) {
    return problem("payload.aps.content-available", "must be 1 for background")
  }
  const other = Object.keys(aps).find((key) => key !== "content-available")
  return other === undefined
    ? undefined
    : problem(
      `payload.aps.${other}`,
      "must not be set for background: use the push type alert, or put the key beside aps"
    )
}

/** The push types that some keys of `aps` are limited to. */
const owners: Readonly<Record<string, ReadonlyArray<PushType>>> = {
  event: ["liveactivity"],
  timestamp: ["liveactivity"],
  "content-state": ["liveactivity"],
  "stale-date": ["liveactivity"],
  "dismissal-date": ["liveactivity"],
  "attributes-type": ["liveactivity"],
  attributes: ["liveactivity"],
  "input-push-token": ["liveactivity"],
  "input-push-channel": ["liveactivity"],
  "content-changed": ["widgets", "controls"]
}

const ownKeys: Rule = ({ pushType }, aps) => {
  const key = Object.keys(aps).find((key) => owners[key]?.includes(pushType) === false)
  return key === undefined
    ? undefined
    : problem(
      `payload.aps.${key}`,
      `must not be set for ${pushType}, only for ${owners[key]?.join(" and ")}: remove it, or change the push type`
    )
}

const contentChanged: Rule = ({ pushType }, aps) =>
  (pushType !== "widgets" && pushType !== "controls") || aps["content-changed"] === true
    ? undefined
    : problem("payload.aps.content-changed", `must be true for ${pushType}`)

const mdm: Rule = ({ payload, pushType }) => {
  if (pushType !== "mdm") return undefined
  if (typeof payload["mdm"] !== "string") {
    return problem("payload.mdm", "must be the PushMagic of the device")
  }
  const other = Object.keys(payload).find((key) => key !== "mdm")
  return other === undefined
    ? undefined
    : problem(`payload.${other}`, "must not be set: the payload of mdm has only the key mdm")
}

const fileProvider: Rule = ({ payload, pushType }) => {
  if (pushType !== "fileprovider") return undefined
  const { "container-identifier": container, domain } = payload
  if (typeof container !== "string") {
    return problem("payload.container-identifier", "must be the identifier of the container that changed")
  }
  return domain === undefined || typeof domain === "string"
    ? undefined
    : problem("payload.domain", "must be the domain's identifier, a string")
}

// -----------------------------------------------------------------------------
// Live Activities
// -----------------------------------------------------------------------------

const needed = {
  start: ["timestamp", "attributes-type", "attributes", "content-state", "alert"],
  update: ["timestamp", "content-state"],
  end: ["timestamp"]
} as const

const liveActivityKeys: Rule = ({ pushType }, aps) => {
  if (pushType !== "liveactivity") return undefined
  const { event } = aps
  if (event === undefined) return problem("payload.aps.event", "must be start, update or end for liveactivity")
  const missing = needed[event].find((key) => aps[key] === undefined)
  return missing === undefined ? undefined : problem(`payload.aps.${missing}`, `must be set for the event ${event}`)
}

const liveActivityTimes: Rule = (_, aps) => {
  for (const key of ["timestamp", "stale-date", "dismissal-date"] as const) {
    const time = aps[key]
    if (time !== undefined && looksLikeMillis(time)) {
      return problem(`payload.aps.${key}`, "must be seconds since 1970, not milliseconds")
    }
  }
  return undefined
}

const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

const liveActivityInput: Rule = (_, aps) => {
  const { event, "input-push-channel": channel, "input-push-token": token } = aps
  const key = channel !== undefined ? "input-push-channel" : "input-push-token"
  if (channel === undefined && token === undefined) return undefined
  if (event !== "start") return problem(`payload.aps.${key}`, "must not be set, except for the event start")
  if (channel === undefined) return undefined
  if (token !== undefined) {
    return problem(
      "payload.aps.input-push-channel",
      "must not be set with input-push-token: an activity is updated by channel or by token"
    )
  }
  return channel !== "" && base64.test(channel)
    ? undefined
    : problem("payload.aps.input-push-channel", "must be the channel id in base64, as createChannel returned it")
}

// -----------------------------------------------------------------------------
// All
// -----------------------------------------------------------------------------

const rules: ReadonlyArray<Rule> = [
  topic,
  priority,
  expiration,
  collapseId,
  data,
  apsSpelling,
  alertSpelling,
  ownKeys,
  alertShowsSomething,
  alertForm,
  mutableContent,
  relevanceScore,
  background,
  contentChanged,
  mdm,
  fileProvider,
  liveActivityKeys,
  liveActivityTimes,
  liveActivityInput
]

/** The first rule that a notification breaks. */
export const firstBroken = (notification: Notification): Problem | undefined => {
  if (Object.keys(notification.payload).length === 0) {
    return problem("payload", "must not be empty: add aps, or the app's own keys", "PayloadEmpty")
  }
  const aps = notification.payload.aps ?? {}
  for (const rule of rules) {
    const broken = rule(notification, aps)
    if (broken !== undefined) return broken
  }
  return undefined
}
