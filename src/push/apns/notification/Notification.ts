/**
 * A notification: push type, topic, headers and payload. It has no device token, so
 * that one notification can go to any number of devices.
 *
 * A notification is plain data. Build it with the constructor of its push type, or by
 * hand with Apple's names in `payload`. The constructors check nothing; `encode` in
 * `Encoder.ts` checks everything before a push. Data of the app can't replace a key
 * that a constructor sets: `encode` refuses it.
 *
 * ```ts
 * const notification = Notification.alert({
 *   topic: "com.example.app",
 *   title: "Order 42",
 *   body: "Your order was shipped",
 *   badge: 1,
 *   data: { order: 42 }
 * })
 * ```
 */
import * as DateTime from "effect/DateTime"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { isPlain } from "../../../internal/plainJson.ts"
import { isMade } from "./madeKeys.ts"
import type { AlertKeys, Aps, ApsKeys } from "./Payload.ts"
import { Payload } from "./Payload.ts"
import * as PushType from "./PushType.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A notification for any number of devices.
 *
 * @category models
 * @since 0.1.0
 */
export const Notification = Schema.Struct({
  pushType: PushType.PushType,
  /**
   * The app's bundle id; the encoder adds the suffix of the push type. For `mdm` the
   * UID of the certificate's subject. Default: the topic of the service.
   */
  topic: Schema.optionalKey(Schema.String),
  /** Default: 10; for background 5. */
  priority: Schema.optionalKey(PushType.Priority),
  /**
   * When APNs stops trying to deliver, in seconds since 1970; 0 means one attempt.
   * Default: as long as APNs stores it (at most 30 days); 0 for voip and pushtotalk.
   */
  expiration: Schema.optionalKey(Schema.Finite),
  /** The notification replaces one with the same id on the device. At most 64 bytes of UTF-8. */
  collapseId: Schema.optionalKey(Schema.String),
  payload: Payload,
  /** Data of the app that do not fit into the payload: they use a constructor's keys, or are not an object. The encoder refuses them. */
  data: Schema.optionalKey(Schema.Unknown)
})

/**
 * The decoded {@link Notification}.
 *
 * @category models
 * @since 0.1.0
 */
export type Notification = typeof Notification.Type

// -----------------------------------------------------------------------------
// Options of the constructors
// -----------------------------------------------------------------------------

/**
 * A point in time; a number means seconds since 1970.
 *
 * @category models
 * @since 0.1.0
 */
export type Time = number | DateTime.DateTime

/**
 * The app's own keys.
 *
 * @category models
 * @since 0.1.0
 */
export type Data = Readonly<Record<string, Schema.Json>> & { readonly aps?: never }

/**
 * The options of every constructor.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The app's bundle id; the encoder adds the suffix of the push type. Default: the topic of the service. */
  readonly topic?: string | undefined
  /** 10: at once; 5: when it suits the device's power; 1: only if the device is awake. Default: 10; 5 for background. */
  readonly priority?: PushType.Priority | undefined
  /** When APNs stops trying to deliver; 0 means one attempt. Default: at most 30 days; 0 for voip and pushtotalk. */
  readonly expiration?: Time | undefined
  /** The notification replaces one with the same id on the device. At most 64 bytes of UTF-8. */
  readonly collapseId?: string | undefined
  /** The app's own keys, beside `aps`. */
  readonly data?: Data | undefined
}

/** Turns `content-available` into `contentAvailable`. */
type Camel<Key> = Key extends `${infer Head}-${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}` : Key

/** Apple's keys in camel case. A flag is a boolean. */
type Friendly<Keys> = {
  readonly [K in keyof Keys as Camel<K>]?:
    | (Exclude<Keys[K], undefined> extends 0 | 1 | boolean ? boolean : Keys[K])
    | undefined
}

/** The keys of `aps` for visible notifications. */
type VisibleKeys = Pick<
  ApsKeys,
  | "badge"
  | "sound"
  | "thread-id"
  | "category"
  | "content-available"
  | "mutable-content"
  | "target-content-id"
  | "interruption-level"
  | "relevance-score"
  | "filter-criteria"
  | "url-args"
>

/**
 * The options of {@link alert}: the keys of the alert and of `aps` on one level.
 *
 * @category models
 * @since 0.1.0
 */
export interface AlertOptions
  extends Options, Friendly<Omit<AlertKeys, "sound" | "title" | "body">>, Friendly<VisibleKeys>
{
  readonly title?: string | undefined
  readonly body?: string | undefined
}

/**
 * The options of every constructor for Live Activities.
 *
 * @category models
 * @since 0.1.0
 */
export interface LiveActivityOptions extends Options {
  /** The time of the state. The device ignores a state that is older than the one that it shows. */
  readonly timestamp: Time
  /** When the state becomes stale. */
  readonly staleDate?: Time | undefined
  /** The Dynamic Island shows the app's Live Activity with the highest score. */
  readonly relevanceScore?: number | undefined
  /** Alerts the user to the change. */
  readonly alert?: ActivityAlert | undefined
}

/**
 * The alert of a Live Activity.
 *
 * @category models
 * @since 0.1.0
 */
export interface ActivityAlert extends Pick<AlertKeys, "title" | "body" | "sound"> {}

/**
 * The options of {@link liveActivityStart}.
 *
 * @category models
 * @since 0.1.0
 */
export interface LiveActivityStartOptions extends LiveActivityOptions {
  readonly alert: ActivityAlert
  /** The name of the Swift type of the attributes. */
  readonly attributesType: string
  /** The data that do not change while the activity lives. */
  readonly attributes: Schema.JsonObject
  readonly contentState: Schema.JsonObject
  /** iOS 18: requests a push token for the activity. Default: false. */
  readonly inputPushToken?: boolean | undefined
  /** iOS 18: the broadcast channel (base64) that updates it. */
  readonly inputPushChannel?: string | undefined
}

/**
 * The options of {@link liveActivityUpdate}.
 *
 * @category models
 * @since 0.1.0
 */
export interface LiveActivityUpdateOptions extends LiveActivityOptions {
  readonly contentState: Schema.JsonObject
}

/**
 * The options of {@link liveActivityEnd}.
 *
 * @category models
 * @since 0.1.0
 */
export interface LiveActivityEndOptions extends LiveActivityOptions {
  /** The last state. Default: the state that the device shows. */
  readonly contentState?: Schema.JsonObject | undefined
  /** When the lock screen removes it; a time in the past removes it at once. Default: after at most 4 hours. */
  readonly dismissalDate?: Time | undefined
}

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

/** Seconds since 1970. */
const seconds = (time: Time | undefined): number | undefined =>
  DateTime.isDateTime(time) ? Math.floor(DateTime.toEpochMillis(time) / 1000) : time

const flag = (on: boolean | undefined): 1 | undefined => on === true ? 1 : undefined

/** Removes the keys that are `undefined`, for JSON and `exactOptionalPropertyTypes`. */
const present = <A extends object>(values: A): { readonly [K in keyof A]: Exclude<A[K], undefined> } =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never

/** The entries of a plain object; `undefined` for a map, a list or a text, whose keys would be lost or be indices. */
const entriesOf = (data: unknown): ReadonlyArray<[string, Schema.Json]> | undefined => {
  if (data === undefined || data === null) return []
  return typeof data === "object" && isPlain(data) ? Object.entries(data) : undefined
}

const make = (pushType: PushType.PushType, options: Options, made: Payload): Notification => {
  const isTaken = (key: string) => isMade(pushType, made, key)
  const given = entriesOf(options.data)
  const entries = given ?? []
  const taken = entries.filter(([key]) => isTaken(key))
  return present({
    pushType,
    topic: options.topic,
    priority: options.priority,
    expiration: seconds(options.expiration),
    collapseId: options.collapseId,
    payload: { ...made, ...Object.fromEntries(entries.filter(([key]) => !isTaken(key))) },
    data: given === undefined ? options.data : taken.length === 0 ? undefined : Object.fromEntries(taken)
  })
}

/**
 * A notification that the user sees or hears. The keys of the alert, such as title and
 * body, and the keys of `aps` are on one level.
 *
 * @category constructors
 * @since 0.1.0
 */
export const alert = (options: AlertOptions): Notification => {
  const shown: Record<string, Schema.Json> = present({
    title: options.title,
    subtitle: options.subtitle,
    body: options.body,
    "launch-image": options.launchImage,
    "title-loc-key": options.titleLocKey,
    "title-loc-args": options.titleLocArgs,
    "subtitle-loc-key": options.subtitleLocKey,
    "subtitle-loc-args": options.subtitleLocArgs,
    "loc-key": options.locKey,
    "loc-args": options.locArgs,
    action: options.action
  })
  const aps: Aps = present({
    alert: Object.keys(shown).length === 0 ? undefined : shown,
    badge: options.badge,
    sound: options.sound,
    "thread-id": options.threadId,
    category: options.category,
    "content-available": flag(options.contentAvailable),
    "mutable-content": flag(options.mutableContent),
    "target-content-id": options.targetContentId,
    "interruption-level": options.interruptionLevel,
    "relevance-score": options.relevanceScore,
    "filter-criteria": options.filterCriteria,
    "url-args": options.urlArgs
  })
  return make("alert", options, { aps })
}

/**
 * Wakes the app for a while, without a visible notification. Apple advises at most 3 an hour, and may drop them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const background = (options: Options = {}): Notification =>
  make("background", options, { aps: { "content-available": 1 } })

const liveActivity = (event: "start" | "update" | "end", options: LiveActivityOptions, aps: Aps): Notification =>
  make("liveactivity", options, {
    aps: {
      ...present({
        timestamp: seconds(options.timestamp),
        event,
        // The encoder checks what a program without types may pass.
        alert: Predicate.isObject(options.alert) ? present(options.alert) : options.alert,
        "stale-date": seconds(options.staleDate),
        "relevance-score": options.relevanceScore
      }),
      ...aps
    }
  })

/**
 * Starts a Live Activity. Send it to a push-to-start token.
 *
 * @category constructors
 * @since 0.1.0
 */
export const liveActivityStart = (options: LiveActivityStartOptions): Notification =>
  liveActivity(
    "start",
    options,
    present({
      "attributes-type": options.attributesType,
      attributes: options.attributes,
      "content-state": options.contentState,
      "input-push-token": flag(options.inputPushToken),
      "input-push-channel": options.inputPushChannel
    })
  )

/**
 * Changes the state of a Live Activity. Send it to the activity's token or to a broadcast channel.
 *
 * @category constructors
 * @since 0.1.0
 */
export const liveActivityUpdate = (options: LiveActivityUpdateOptions): Notification =>
  liveActivity("update", options, { "content-state": options.contentState })

/**
 * Ends a Live Activity.
 *
 * @category constructors
 * @since 0.1.0
 */
export const liveActivityEnd = (options: LiveActivityEndOptions): Notification =>
  liveActivity(
    "end",
    options,
    present({ "content-state": options.contentState, "dismissal-date": seconds(options.dismissalDate) })
  )

/**
 * An incoming call.
 *
 * @category constructors
 * @since 0.1.0
 */
export const voip = (options: Options = {}): Notification => make("voip", options, { aps: {} })

/**
 * A participant talks in a Push to Talk channel.
 *
 * @category constructors
 * @since 0.1.0
 */
export const pushToTalk = (options: Options = {}): Notification => make("pushtotalk", options, { aps: {} })

/**
 * New data for a complication of watchOS.
 *
 * @category constructors
 * @since 0.1.0
 */
export const complication = (options: Options = {}): Notification => make("complication", options, { aps: {} })

/**
 * Asks the app's location push service extension for the device's location. Needs a key, not a certificate.
 *
 * @category constructors
 * @since 0.1.0
 */
export const location = (options: Options = {}): Notification => make("location", options, { aps: {} })

/**
 * Makes the app's widgets reload their content.
 *
 * @category constructors
 * @since 0.1.0
 */
export const widgets = (options: Options = {}): Notification =>
  make("widgets", options, { aps: { "content-changed": true } })

/**
 * Makes the app's controls reload their state.
 *
 * @category constructors
 * @since 0.1.0
 */
export const controls = (options: Options = {}): Notification =>
  make("controls", options, { aps: { "content-changed": true } })

/**
 * The options of {@link fileProvider}.
 *
 * @category models
 * @since 0.1.0
 */
export interface FileProviderOptions extends Options {
  readonly containerIdentifier: string
  readonly domain?: string | undefined
}

/**
 * Notifies a File Provider extension of a change.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fileProvider = (options: FileProviderOptions): Notification =>
  make(
    "fileprovider",
    options,
    present({ "container-identifier": options.containerIdentifier, domain: options.domain })
  )

/**
 * The options of {@link mdm}.
 *
 * @category models
 * @since 0.1.0
 */
export interface MdmOptions extends Omit<Options, "data"> {
  /** The UID of the MDM certificate's subject. Default: the topic of the service. */
  readonly topic?: string | undefined
  /** The `PushMagic` from the device's enrolment. */
  readonly pushMagic: string
}

/**
 * Makes a managed device ask its MDM server for commands.
 *
 * @category constructors
 * @since 0.1.0
 */
export const mdm = (options: MdmOptions): Notification => make("mdm", options, { mdm: options.pushMagic })
