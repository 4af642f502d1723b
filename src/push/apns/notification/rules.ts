/**
 * What Apple refuses, or takes and then ignores: found here before anything is
 * sent.
 *
 * A rule is a pure function of the notification. A rule that Apple's servers
 * enforce names the reason that they would give; the others are enforced by the
 * device, which says nothing to anybody.
 */
import { safeName } from "../../../internal/text.ts"
import type { Reason } from "../answer/Reason.ts"
import { isPlain } from "./json.ts"
import { isMade } from "./madeKeys.ts"
import type { Notification } from "./Notification.ts"
import type { Aps } from "./Payload.ts"
import { documentedAlertKey, documentedApsKey, isOn } from "./Payload.ts"
import type { PushType } from "./PushType.ts"
import { otherKind, table } from "./PushType.ts"

/** A rule that is broken. */
export interface Problem {
  /** A path from the notification: `payload.aps.badge`. */
  readonly field: string
  /** What is wrong and what is allowed. */
  readonly rule: string
  /** The reason that APNs would have given. */
  readonly apple?: Reason
}

type Rule = (notification: Notification, aps: Aps) => Problem | undefined

/** Keys of others may be in the field. */
export const problem = (field: string, rule: string, apple?: Reason): Problem => ({
  field: safeName(field),
  rule,
  ...(apple === undefined ? {} : { apple })
})

const utf8 = new TextEncoder()

/** The length of a text in bytes of UTF-8. */
const bytes = (text: string): number => utf8.encode(text).byteLength

// -----------------------------------------------------------------------------
// Headers
// -----------------------------------------------------------------------------

/** Is it the form of a bundle id? Its parts are separated by single dots. */
export const isBundleId = (text: string): boolean => /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/.test(text)

/** What {@link isBundleId} asks for. */
export const bundleIdRule = "a bundle id has only letters, digits, \"-\" and \"_\", and single dots between them"

const topic: Rule = ({ pushType, topic }) => {
  if (topic === undefined) return undefined
  if (!isBundleId(topic)) return problem("topic", bundleIdRule, "BadTopic")
  const other = otherKind(pushType, topic)
  return other === undefined
    ? undefined
    : problem("topic", `this is a topic for ${other}, and the push type is ${pushType}: give the bundle id`, "BadTopic")
}

const priority: Rule = ({ priority, pushType }) => {
  const allowed = table[pushType].priorities
  return priority === undefined || allowed.includes(priority)
    ? undefined
    : problem("priority", `${pushType} allows ${allowed.join(" or ")}, not ${priority}`, "BadPriority")
}

/** A time of the year 5138 in seconds is one of 1973 in milliseconds, which somebody meant. */
const looksLikeMillis = (seconds: number): boolean => seconds >= 1e11

/** In the year 2286. */
const lastExpiration = 9_999_999_999

const expiration: Rule = ({ expiration }) => {
  if (expiration === undefined) return undefined
  if (!Number.isInteger(expiration) || expiration < 0) {
    return problem("expiration", "give whole seconds since 1970, or 0 for one attempt", "BadExpirationDate")
  }
  if (looksLikeMillis(expiration)) {
    return problem("expiration", "this looks like milliseconds: give seconds since 1970", "BadExpirationDate")
  }
  return expiration > lastExpiration
    ? problem("expiration", "it has more than 10 digits: give none for as long as APNs stores it", "BadExpirationDate")
    : undefined
}

/** The most that a collapse id may have, in bytes. */
const collapseIdLimit = 64

const collapseId: Rule = ({ collapseId }) => {
  if (collapseId === undefined) return undefined
  const size = bytes(collapseId)
  if (size === 0 || size > collapseIdLimit) {
    return problem("collapseId", `1 to ${collapseIdLimit} bytes of UTF-8 are allowed, not ${size}`, "BadCollapseId")
  }
  // RFC 9113, section 8.2.1.
  return /[\p{Cc}\p{Cs}]|^ | $/u.test(collapseId)
    ? problem(
      "collapseId",
      "a header can't have control characters, half characters, or spaces at its ends",
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
      "it has to be a plain object of the app's own keys: no text, list, map or instance of a class"
    )
  }
  const taken = Object.keys(data).find((key) => isMade(pushType, payload, key))
  return taken === undefined
    ? problem("data", "the app's own keys stand in the payload, beside aps")
    : problem(
      `data.${taken}`,
      `data can't replace "${safeName(taken)}", which is made from the other options: give the key another name, ` +
        "or write the payload by hand"
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
    if (right !== undefined) return problem(`${path}.${key}`, `this key would be ignored: write "${right}"`)
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
    : problem("payload.aps", "an alert needs alert, badge or sound; without one use the push type background")

const mutableContent: Rule = (_, aps) =>
  !isOn(aps["mutable-content"]) || aps.alert !== undefined
    ? undefined
    : problem("payload.aps.mutable-content", "it has no effect without an alert: the service extension is not run")

const relevanceScore: Rule = ({ pushType }, { "relevance-score": score }) =>
  pushType === "liveactivity" || score === undefined || (score >= 0 && score <= 1)
    ? undefined
    : problem("payload.aps.relevance-score", "give a number from 0 to 1")

/** Texts in the form of a Live Activity, elsewhere. */
const alertForm: Rule = ({ pushType }, { alert }) => {
  if (pushType === "liveactivity" || typeof alert !== "object") return undefined
  if (typeof alert.title === "object") {
    return problem("payload.aps.alert.title", "only a Live Activity takes an object: use title-loc-key")
  }
  if (typeof alert.body === "object") {
    return problem("payload.aps.alert.body", "only a Live Activity takes an object: use loc-key")
  }
  return alert.sound === undefined
    ? undefined
    : problem("payload.aps.alert.sound", "only a Live Activity has its sound here: put it beside the alert")
}

// -----------------------------------------------------------------------------
// The other kinds
// -----------------------------------------------------------------------------

const background: Rule = ({ pushType }, aps) => {
  if (pushType !== "background") return undefined
  if (!isOn(aps["content-available"])) {
    return problem("payload.aps.content-available", "background needs it, with the value 1")
  }
  const other = Object.keys(aps).find((key) => key !== "content-available")
  return other === undefined
    ? undefined
    : problem(
      `payload.aps.${other}`,
      "background has content-available alone: use the push type alert, or put the key beside aps"
    )
}

/** The kinds that alone give a meaning to a key of `aps`. */
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
    : problem(`payload.aps.${key}`, `only ${owners[key]?.join(" and ")} have it, and the push type is ${pushType}`)
}

const contentChanged: Rule = ({ pushType }, aps) =>
  (pushType !== "widgets" && pushType !== "controls") || aps["content-changed"] === true
    ? undefined
    : problem("payload.aps.content-changed", `${pushType} needs it, with the value true`)

const mdm: Rule = ({ payload, pushType }) => {
  if (pushType !== "mdm") return undefined
  if (typeof payload["mdm"] !== "string") {
    return problem("payload.mdm", "mdm needs the PushMagic of the device")
  }
  const other = Object.keys(payload).find((key) => key !== "mdm")
  return other === undefined ? undefined : problem(`payload.${other}`, "mdm has no other key than mdm")
}

const fileProvider: Rule = ({ payload, pushType }) => {
  if (pushType !== "fileprovider") return undefined
  const { "container-identifier": container, domain } = payload
  if (typeof container !== "string") {
    return problem("payload.container-identifier", "fileprovider needs the identifier of the container that changed")
  }
  return domain === undefined || typeof domain === "string"
    ? undefined
    : problem("payload.domain", "give the domain's identifier as a text")
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
  if (event === undefined) return problem("payload.aps.event", "liveactivity needs one: start, update or end")
  const missing = needed[event].find((key) => aps[key] === undefined)
  return missing === undefined ? undefined : problem(`payload.aps.${missing}`, `the event ${event} needs it`)
}

const liveActivityTimes: Rule = (_, aps) => {
  for (const key of ["timestamp", "stale-date", "dismissal-date"] as const) {
    const time = aps[key]
    if (time !== undefined && looksLikeMillis(time)) {
      return problem(`payload.aps.${key}`, "this looks like milliseconds: give seconds since 1970")
    }
  }
  return undefined
}

const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

const liveActivityInput: Rule = (_, aps) => {
  const { event, "input-push-channel": channel, "input-push-token": token } = aps
  const key = channel !== undefined ? "input-push-channel" : "input-push-token"
  if (channel === undefined && token === undefined) return undefined
  if (event !== "start") return problem(`payload.aps.${key}`, "only the event start has it")
  if (channel === undefined) return undefined
  if (token !== undefined) {
    return problem("payload.aps.input-push-channel", "an activity is updated by channel or by token, not by both")
  }
  return channel !== "" && base64.test(channel)
    ? undefined
    : problem("payload.aps.input-push-channel", "give the channel id in base64, as it was answered on creation")
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
    return problem("payload", "it is empty: give aps, or keys of your own", "PayloadEmpty")
  }
  const aps = notification.payload.aps ?? {}
  for (const rule of rules) {
    const broken = rule(notification, aps)
    if (broken !== undefined) return broken
  }
  return undefined
}
