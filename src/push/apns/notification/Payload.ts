/**
 * The JSON that a device gets: the dictionary `aps`, which the system reads, and
 * the app's own keys beside it.
 *
 * The schemas have the keys that Apple documents, under Apple's names, and keep
 * the keys that they don't know: Apple adds some every year. What the keys mean
 * together is judged with the push type, in `rules.ts`.
 *
 * Source: Apple, "Generating a remote notification" (payload key reference) and
 * "Starting and updating Live Activities with ActivityKit push notifications".
 */
import * as Schema from "effect/Schema"
import { isRawNumber } from "../../../internal/exactNumbers.ts"

const unit = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))

const rest = [Schema.Record(Schema.String, Schema.Json)] as const

const args = Schema.Array(Schema.String)

/** Devices format numbers as well as texts, with all of their digits. */
const formatted = Schema.Array(
  Schema.Union([Schema.String, Schema.Finite, Schema.declare(isRawNumber, { expected: "a number" })])
)

/** Apple documents 1; what other languages write for yes and no means the same to a device. */
const flag = Schema.Union([Schema.Literals([0, 1]), Schema.Boolean])

/**
 * Is a flag set?
 *
 * @category guards
 * @since 0.1.0
 */
export const isOn = (value: typeof flag.Type | undefined): boolean => value === 1 || value === true

/**
 * Text that the app looks up in its own language. Only in the alert of a Live Activity.
 *
 * @category models
 * @since 0.1.0
 */
export const Localized = Schema.Struct({
  /** The key in the app's table of texts. */
  "loc-key": Schema.String,
  /** What replaces the format specifiers of the text. */
  "loc-args": Schema.optionalKey(args)
})

/**
 * A sound: the name of a file of the app, or `"default"`; a critical one has a volume.
 *
 * @category models
 * @since 0.1.0
 */
export const Sound = Schema.Union([
  Schema.String,
  Schema.Struct({
    /** 1: sounds even when the device is muted. The app needs Apple's permission. */
    critical: Schema.optionalKey(Schema.Literals([0, 1])),
    name: Schema.String,
    /** 0 is silent, 1 full volume. Default: 1. */
    volume: Schema.optionalKey(unit)
  })
])

const alertFields = {
  title: Schema.optionalKey(Schema.Union([Schema.String, Localized])),
  subtitle: Schema.optionalKey(Schema.String),
  body: Schema.optionalKey(Schema.Union([Schema.String, Localized])),
  /** The name of the image, or storyboard, that is shown when the app starts. */
  "launch-image": Schema.optionalKey(Schema.String),
  /** The key of the title in the app's table of texts. */
  "title-loc-key": Schema.optionalKey(Schema.String),
  "title-loc-args": Schema.optionalKey(formatted),
  /** The key of the subtitle in the app's table of texts. */
  "subtitle-loc-key": Schema.optionalKey(Schema.String),
  "subtitle-loc-args": Schema.optionalKey(formatted),
  /** The key of the body in the app's table of texts. */
  "loc-key": Schema.optionalKey(Schema.String),
  "loc-args": Schema.optionalKey(formatted),
  /** The text of the button of a website's push. */
  action: Schema.optionalKey(Schema.String),
  /** Only in the alert of a Live Activity; elsewhere it stands beside the alert. */
  sound: Schema.optionalKey(Sound)
} as const

/**
 * What is shown.
 *
 * @category models
 * @since 0.1.0
 */
export const Alert = Schema.StructWithRest(Schema.Struct(alertFields), rest)

/**
 * What is shown.
 *
 * @category models
 * @since 0.1.0
 */
export type Alert = typeof Alert.Type

const apsFields = {
  alert: Schema.optionalKey(Schema.Union([Schema.String, Alert])),
  /** The number on the app's icon; 0 removes it. */
  badge: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))),
  sound: Schema.optionalKey(Sound),
  /** Notifications of one thread are shown as one group. */
  "thread-id": Schema.optionalKey(Schema.String),
  /** Selects the buttons that the app has registered. */
  category: Schema.optionalKey(Schema.String),
  /** Wakes the app in the background. */
  "content-available": Schema.optionalKey(flag),
  /** Lets the app's service extension change the notification before it is shown. */
  "mutable-content": Schema.optionalKey(flag),
  /** The window that is brought forward. */
  "target-content-id": Schema.optionalKey(Schema.String),
  /** How much the notification interrupts. Default: active. */
  "interruption-level": Schema.optionalKey(Schema.Literals(["passive", "active", "time-sensitive", "critical"])),
  /** From 0 to 1: the highest is shown first in the summary. For a Live Activity any number. */
  "relevance-score": Schema.optionalKey(Schema.Finite),
  /** Decides, by the user's Focus, whether the notification is shown. */
  "filter-criteria": Schema.optionalKey(Schema.String),
  /** Live Activity: what happens to it. */
  event: Schema.optionalKey(Schema.Literals(["start", "update", "end"])),
  /** Live Activity: when this was true, in seconds since 1970. The device ignores what is older than what it shows. */
  timestamp: Schema.optionalKey(Schema.Finite),
  /** Live Activity: the new state, as `JSONDecoder` reads it by default. */
  "content-state": Schema.optionalKey(Schema.JsonObject),
  /** Live Activity: when the state is out of date, in seconds since 1970. */
  "stale-date": Schema.optionalKey(Schema.Finite),
  /** Live Activity: when an ended one is removed, in seconds since 1970; a time in the past removes it at once. */
  "dismissal-date": Schema.optionalKey(Schema.Finite),
  /** Live Activity, start: the name of the Swift type of the attributes. */
  "attributes-type": Schema.optionalKey(Schema.String),
  /** Live Activity, start: what stays the same while it lives. */
  attributes: Schema.optionalKey(Schema.JsonObject),
  /** Live Activity, start, iOS 18: ask for a push token of its own. */
  "input-push-token": Schema.optionalKey(Schema.Literal(1)),
  /** Live Activity, start, iOS 18: the broadcast channel (base64) that updates it. */
  "input-push-channel": Schema.optionalKey(Schema.String),
  /** Widgets and controls: load the content again. */
  "content-changed": Schema.optionalKey(Schema.Boolean),
  /** What replaces the placeholders in the URL of a website's push. */
  "url-args": Schema.optionalKey(args)
} as const

/**
 * What the system reads.
 *
 * @category models
 * @since 0.1.0
 */
export const Aps = Schema.StructWithRest(Schema.Struct(apsFields), rest)

/**
 * What the system reads.
 *
 * @category models
 * @since 0.1.0
 */
export type Aps = typeof Aps.Type

/**
 * What a device gets.
 *
 * @category models
 * @since 0.1.0
 */
export const Payload = Schema.StructWithRest(Schema.Struct({ aps: Schema.optionalKey(Aps) }), rest)

/**
 * What a device gets.
 *
 * @category models
 * @since 0.1.0
 */
export type Payload = typeof Payload.Type

/**
 * The keys of an alert that Apple documents, with their types.
 *
 * @category models
 * @since 0.1.0
 */
export type AlertKeys = Schema.Struct.Type<typeof alertFields>

/**
 * The keys of `aps` that Apple documents, with their types.
 *
 * @category models
 * @since 0.1.0
 */
export type ApsKeys = Schema.Struct.Type<typeof apsFields>

const letters = (key: string): string => key.toLowerCase().replace(/[^a-z]/g, "")

/** Finds the documented key that another spelling means: `contentAvailable`, `content_available`. */
const speller = (fields: object): (key: string) => string | undefined => {
  const byLetters = new Map(Object.keys(fields).map((key) => [letters(key), key]))
  return (key) => {
    const meant = byLetters.get(letters(key))
    return meant === key ? undefined : meant
  }
}

/**
 * The documented key of `aps` that a key which is spelt in another way means.
 *
 * @category functions
 * @since 0.1.0
 */
export const documentedApsKey: (key: string) => string | undefined = speller(apsFields)

/**
 * The documented key of an alert that a key which is spelt in another way means.
 *
 * @category functions
 * @since 0.1.0
 */
export const documentedAlertKey: (key: string) => string | undefined = speller(alertFields)
