/**
 * The JSON for a device: the dictionary `aps`, which the system reads, and the app's
 * own keys beside it.
 *
 * The schemas have the keys that Apple documents, under Apple's names. They keep
 * unknown keys, since Apple adds some every year. `rules.ts` checks combinations of
 * keys with the push type.
 *
 * Source: Apple, "Generating a remote notification" (payload key reference) and
 * "Starting and updating Live Activities with ActivityKit push notifications".
 */
import * as Schema from "effect/Schema"
import { isRawNumber } from "../../../internal/exactNumbers.ts"

const unit = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))

const rest = [Schema.Record(Schema.String, Schema.Json)] as const

const args = Schema.Array(Schema.String)

/** The arguments of a localized text: devices also format numbers, with all of their digits. */
const formatted = Schema.Array(
  Schema.Union([Schema.String, Schema.Finite, Schema.declare(isRawNumber, { expected: "a number" })])
)

/** Apple documents 1. Devices also accept 0 and booleans, which other languages write. */
const flag = Schema.Union([Schema.Literals([0, 1]), Schema.Boolean])

/**
 * Whether a flag is set.
 *
 * @category guards
 * @since 0.1.0
 */
export const isOn = (value: typeof flag.Type | undefined): boolean => value === 1 || value === true

/**
 * A text that the app localizes. Only in the alert of a Live Activity.
 *
 * @category models
 * @since 0.1.0
 */
export const Localized = Schema.Struct({
  /** The key in the app's string table. */
  "loc-key": Schema.String,
  /** The arguments for the format specifiers of the text. */
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
    /** 1: plays even if the device is muted. The app needs Apple's permission. */
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
  /** The name of the launch image or storyboard. */
  "launch-image": Schema.optionalKey(Schema.String),
  /** The key of the title in the app's string table. */
  "title-loc-key": Schema.optionalKey(Schema.String),
  "title-loc-args": Schema.optionalKey(formatted),
  /** The key of the subtitle in the app's string table. */
  "subtitle-loc-key": Schema.optionalKey(Schema.String),
  "subtitle-loc-args": Schema.optionalKey(formatted),
  /** The key of the body in the app's string table. */
  "loc-key": Schema.optionalKey(Schema.String),
  "loc-args": Schema.optionalKey(formatted),
  /** The text of the button of a website's push. */
  action: Schema.optionalKey(Schema.String),
  /** Only in the alert of a Live Activity; in other notifications the sound is beside the alert. */
  sound: Schema.optionalKey(Sound)
} as const

/**
 * The visible texts of a notification.
 *
 * @category models
 * @since 0.1.0
 */
export const Alert = Schema.StructWithRest(Schema.Struct(alertFields), rest)

/**
 * The decoded {@link Alert}.
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
  /** The device groups the notifications of a thread. */
  "thread-id": Schema.optionalKey(Schema.String),
  /** The category whose actions the app has registered. */
  category: Schema.optionalKey(Schema.String),
  /** Wakes the app in the background. */
  "content-available": Schema.optionalKey(flag),
  /** Lets the app's service extension change the notification before the device shows it. */
  "mutable-content": Schema.optionalKey(flag),
  /** The window to bring forward. */
  "target-content-id": Schema.optionalKey(Schema.String),
  /** How much the notification interrupts. Default: active. */
  "interruption-level": Schema.optionalKey(Schema.Literals(["passive", "active", "time-sensitive", "critical"])),
  /** From 0 to 1: the summary shows the highest first. Any number for a Live Activity. */
  "relevance-score": Schema.optionalKey(Schema.Finite),
  /** A Focus of the user may filter the notification by this. */
  "filter-criteria": Schema.optionalKey(Schema.String),
  /** Live Activity: what happens to it. */
  event: Schema.optionalKey(Schema.Literals(["start", "update", "end"])),
  /** Live Activity: the time of the state, in seconds since 1970. The device ignores a state older than the one that it shows. */
  timestamp: Schema.optionalKey(Schema.Finite),
  /** Live Activity: the new state, as `JSONDecoder` reads it by default. */
  "content-state": Schema.optionalKey(Schema.JsonObject),
  /** Live Activity: when the state becomes stale, in seconds since 1970. */
  "stale-date": Schema.optionalKey(Schema.Finite),
  /** Live Activity: when the device removes an ended one, in seconds since 1970; a time in the past removes it at once. */
  "dismissal-date": Schema.optionalKey(Schema.Finite),
  /** Live Activity, start: the name of the Swift type of the attributes. */
  "attributes-type": Schema.optionalKey(Schema.String),
  /** Live Activity, start: the data that do not change while it lives. */
  attributes: Schema.optionalKey(Schema.JsonObject),
  /** Live Activity, start, iOS 18: requests a push token for the activity. */
  "input-push-token": Schema.optionalKey(Schema.Literal(1)),
  /** Live Activity, start, iOS 18: the broadcast channel (base64) that updates it. */
  "input-push-channel": Schema.optionalKey(Schema.String),
  /** Widgets and controls: reload the content. */
  "content-changed": Schema.optionalKey(Schema.Boolean),
  /** The arguments for the URL of a website's push. */
  "url-args": Schema.optionalKey(args)
} as const

/**
 * The dictionary `aps`, which the system reads.
 *
 * @category models
 * @since 0.1.0
 */
export const Aps = Schema.StructWithRest(Schema.Struct(apsFields), rest)

/**
 * The decoded {@link Aps}.
 *
 * @category models
 * @since 0.1.0
 */
export type Aps = typeof Aps.Type

/**
 * The payload of a notification.
 *
 * @category models
 * @since 0.1.0
 */
export const Payload = Schema.StructWithRest(Schema.Struct({ aps: Schema.optionalKey(Aps) }), rest)

/**
 * The decoded {@link Payload}.
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

/** Finds the documented key for another spelling: `contentAvailable`, `content_available`. */
const speller = (fields: object): (key: string) => string | undefined => {
  const byLetters = new Map(Object.keys(fields).map((key) => [letters(key), key]))
  return (key) => {
    const meant = byLetters.get(letters(key))
    return meant === key ? undefined : meant
  }
}

/**
 * The documented key of `aps` for another spelling; `undefined` for a correct or unknown key.
 *
 * @category functions
 * @since 0.1.0
 */
export const documentedApsKey: (key: string) => string | undefined = speller(apsFields)

/**
 * The documented key of an alert for another spelling; `undefined` for a correct or unknown key.
 *
 * @category functions
 * @since 0.1.0
 */
export const documentedAlertKey: (key: string) => string | undefined = speller(alertFields)
