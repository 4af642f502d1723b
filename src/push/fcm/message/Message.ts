/**
 * Messages: what devices receive through Firebase Cloud Messaging. A message is plain
 * data without a target, so backq encodes it once for any number of devices.
 *
 * The keys are those of Google's API in camel case. The API also reads the names with
 * underscores (`collapse_key`), and so does backq. Keys that backq does not know pass
 * through, since Google adds some every year; Google's answer decides about them.
 *
 * ```ts
 * const shipped: Message.Message = {
 *   notification: { title: "Order 42", body: "Your order was shipped" },
 *   data: { order: "42" },
 *   android: { priority: "HIGH", ttl: "3600s", collapseKey: "order-42" }
 * }
 * ```
 *
 * Source: Google, "REST Resource: projects.messages" of the FCM API v1.
 */
import * as Schema from "effect/Schema"
import * as Rules from "./rules.ts"

// -----------------------------------------------------------------------------
// Parts
// -----------------------------------------------------------------------------

const rest = [Schema.Record(Schema.String, Schema.Unknown)] as const

/** A struct that keeps unknown keys. */
const open = <const Fields extends Schema.Struct.Fields>(fields: Fields) =>
  Schema.StructWithRest(Schema.Struct(fields), rest)

const optional = Schema.optionalKey

const text = Schema.declare((u: unknown): u is string => typeof u === "string", { expected: "a string" })

const flag = Schema.declare((u: unknown): u is boolean => typeof u === "boolean", { expected: "true or false" })

const texts = Schema.Array(text)

/** A text with a rule. */
const textThat = (rule: (value: string) => string | undefined) => text.check(Schema.makeFilter(rule))

/** FCM carries only strings: nothing is converted silently. */
const dataText = Schema.declare((u: unknown): u is string => typeof u === "string", {
  expected: "a string, since FCM carries only strings in data: convert the value"
})

/** The app's own keys and values. */
const data = Schema.Record(Schema.String, dataText).check(Schema.makeFilter(Rules.reservedKey))

const headers = Schema.Record(Schema.String, text)

const analyticsLabel = optional(textThat(Rules.analyticsLabel))

const unit = Schema.Finite.check(
  Schema.makeFilter((n) => n >= 0 && n <= 1 ? undefined : "must be a number from 0 to 1")
)

const count = Schema.Finite.check(
  Schema.makeFilter((n) => Number.isInteger(n) && n >= 0 ? undefined : "must be a whole number of at least 0")
)

const Color = open({ red: optional(unit), green: optional(unit), blue: optional(unit), alpha: optional(unit) })

const LightSettings = open({
  color: Color,
  lightOnDuration: textThat(Rules.duration),
  lightOffDuration: textThat(Rules.duration)
})

const AndroidNotification = open({
  title: optional(text),
  body: optional(text),
  icon: optional(text),
  /** `#rrggbb`. */
  color: optional(textThat(Rules.color)),
  sound: optional(text),
  /** Replaces the notification with the same tag on the device. */
  tag: optional(text),
  clickAction: optional(text),
  bodyLocKey: optional(text),
  bodyLocArgs: optional(texts),
  titleLocKey: optional(text),
  titleLocArgs: optional(texts),
  channelId: optional(text),
  ticker: optional(text),
  sticky: optional(flag),
  /** RFC 3339. */
  eventTime: optional(textThat(Rules.timestamp)),
  localOnly: optional(flag),
  notificationPriority: optional(
    Schema.Literals(["PRIORITY_MIN", "PRIORITY_LOW", "PRIORITY_DEFAULT", "PRIORITY_HIGH", "PRIORITY_MAX"])
  ),
  defaultSound: optional(flag),
  defaultVibrateTimings: optional(flag),
  defaultLightSettings: optional(flag),
  vibrateTimings: optional(Schema.Array(textThat(Rules.duration))),
  visibility: optional(Schema.Literals(["PRIVATE", "PUBLIC", "SECRET"])),
  notificationCount: optional(count),
  lightSettings: optional(LightSettings),
  image: optional(textThat(Rules.url)),
  proxy: optional(Schema.Literals(["ALLOW", "DENY", "IF_PRIORITY_LOWERED"])),
  bypassProxyNotification: optional(flag)
}).check(Schema.makeFilter(Rules.argumentsNeedKey))

const FcmOptions = open({ analyticsLabel })

const Android = open({
  /** A device stores at most 4 keys; the newest message of a key replaces the others. */
  collapseKey: optional(text),
  priority: optional(Schema.Literals(["NORMAL", "HIGH", "normal", "high"])),
  /** How long FCM keeps the message for a device that is offline: `"3600s"`. At most 4 weeks; 0: now or never. Default: 4 weeks. */
  ttl: optional(textThat(Rules.ttl)),
  restrictedPackageName: optional(text),
  /** Replaces `data` of the message. */
  data: optional(data),
  notification: optional(AndroidNotification),
  fcmOptions: optional(FcmOptions),
  directBootOk: optional(flag),
  bandwidthConstrainedOk: optional(flag),
  restrictedSatelliteOk: optional(flag)
})

const Apns = open({
  /** Apple's headers, such as `apns-priority`. */
  headers: optional(headers),
  /** Apple's payload, with `aps`. */
  payload: optional(Schema.Record(Schema.String, Schema.Unknown)),
  fcmOptions: optional(open({ analyticsLabel, image: optional(textThat(Rules.url)) })),
  liveActivityToken: optional(text)
})

const Webpush = open({
  /** Headers of the web push protocol, such as `TTL` and `Urgency`. */
  headers: optional(headers),
  data: optional(data),
  /** Any field of the web's Notification API. */
  notification: optional(Schema.Record(Schema.String, Schema.Unknown)),
  fcmOptions: optional(open({ analyticsLabel, link: optional(textThat(Rules.httpsUrl)) }))
})

// -----------------------------------------------------------------------------
// The message
// -----------------------------------------------------------------------------

/**
 * A message for any number of devices.
 *
 * @category models
 * @since 0.1.0
 */
export const Message = open({
  notification: optional(open({ title: optional(text), body: optional(text), image: optional(textThat(Rules.url)) })),
  /** The app's own keys and values. Values are strings. */
  data: optional(data),
  android: optional(Android),
  apns: optional(Apns),
  webpush: optional(Webpush),
  fcmOptions: optional(FcmOptions)
}).check(Schema.makeFilter(Rules.noTarget))

/**
 * The decoded {@link Message}.
 *
 * @category models
 * @since 0.1.0
 */
export type Message = typeof Message.Type
