/**
 * What is pushed, to whomever: push type, topic, headers and payload. A device
 * token is not part of it, so that one notification goes to any number.
 *
 * A notification is plain data. It is written with a maker for its kind, or by
 * hand with Apple's names in `payload`. The makers check nothing; `encode` in
 * `Encoder.ts` does, before anything is sent. Keys that a maker makes are its
 * own: data of the app under the same name is refused there.
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
import { isPlain } from "./json.ts"
import { isMade } from "./madeKeys.ts"
import type { AlertKeys, Aps, ApsKeys } from "./Payload.ts"
import { Payload } from "./Payload.ts"
import * as PushType from "./PushType.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What is pushed.
 *
 * @category models
 * @since 0.1.0
 */
export const Notification = Schema.Struct({
  pushType: PushType.PushType,
  /**
   * The app's bundle id; the suffix of the push type is added where it is
   * missing. For `mdm` the UID of the certificate's subject. Default: the topic
   * of the service.
   */
  topic: Schema.optionalKey(Schema.String),
  /** Default: 10; for background 5. */
  priority: Schema.optionalKey(PushType.Priority),
  /**
   * Until when APNs keeps trying, in seconds since 1970; 0 means one attempt.
   * Default: as long as APNs stores it (at most 30 days); for voip and
   * pushtotalk 0.
   */
  expiration: Schema.optionalKey(Schema.Finite),
  /** A notification replaces the one with the same id on the device. At most 64 bytes of UTF-8. */
  collapseId: Schema.optionalKey(Schema.String),
  payload: Payload,
  /** Data of the app that could not go into the payload: under keys of the maker's own, or no object of keys. Such a notification is refused. */
  data: Schema.optionalKey(Schema.Unknown)
})

/**
 * What is pushed.
 *
 * @category models
 * @since 0.1.0
 */
export type Notification = typeof Notification.Type

// -----------------------------------------------------------------------------
// Options of the makers
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
 * What every maker takes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The app's bundle id; the suffix of the push type is added. Default: the topic of the service. */
  readonly topic?: string | undefined
  /** 10: now; 5: when it suits the device's power; 1: only if the device is awake. Default: 10; for background 5. */
  readonly priority?: PushType.Priority | undefined
  /** Until when APNs keeps trying; 0 means one attempt. Default: up to 30 days; for voip and pushtotalk 0. */
  readonly expiration?: Time | undefined
  /** A notification replaces the one with the same id on the device. At most 64 bytes of UTF-8. */
  readonly collapseId?: string | undefined
  /** The app's own keys, beside `aps`. */
  readonly data?: Data | undefined
}

/** `content-available` as TypeScript writes it: `contentAvailable`. */
type Camel<Key> = Key extends `${infer Head}-${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}` : Key

/** Keys of Apple's under names of TypeScript. A flag is a boolean. */
type Friendly<Keys> = {
  readonly [K in keyof Keys as Camel<K>]?:
    | (Exclude<Keys[K], undefined> extends 0 | 1 | boolean ? boolean : Keys[K])
    | undefined
}

/** The keys of `aps` that a visible notification has. */
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
 * What {@link alert} takes: the keys of the alert and of `aps`, side by side.
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
 * What every maker for Live Activities takes.
 *
 * @category models
 * @since 0.1.0
 */
export interface LiveActivityOptions extends Options {
  /** When this was true. The device ignores what is older than what it shows. */
  readonly timestamp: Time
  /** When the state is out of date. */
  readonly staleDate?: Time | undefined
  /** The highest of the app's Live Activities is shown in the Dynamic Island. */
  readonly relevanceScore?: number | undefined
  /** Tells the user of the change. */
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
 * What {@link liveActivityStart} takes.
 *
 * @category models
 * @since 0.1.0
 */
export interface LiveActivityStartOptions extends LiveActivityOptions {
  readonly alert: ActivityAlert
  /** The name of the Swift type of the attributes. */
  readonly attributesType: string
  /** What stays the same while the activity lives. */
  readonly attributes: Schema.JsonObject
  readonly contentState: Schema.JsonObject
  /** iOS 18: ask for a push token of its own. Default: false. */
  readonly inputPushToken?: boolean | undefined
  /** iOS 18: the broadcast channel (base64) that updates it. */
  readonly inputPushChannel?: string | undefined
}

/**
 * What {@link liveActivityUpdate} takes.
 *
 * @category models
 * @since 0.1.0
 */
export interface LiveActivityUpdateOptions extends LiveActivityOptions {
  readonly contentState: Schema.JsonObject
}

/**
 * What {@link liveActivityEnd} takes.
 *
 * @category models
 * @since 0.1.0
 */
export interface LiveActivityEndOptions extends LiveActivityOptions {
  /** The last state. Default: the one that is shown. */
  readonly contentState?: Schema.JsonObject | undefined
  /** When it is removed from the lock screen; a time in the past removes it at once. Default: after up to 4 hours. */
  readonly dismissalDate?: Time | undefined
}

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

/** Seconds since 1970. */
const seconds = (time: Time | undefined): number | undefined =>
  DateTime.isDateTime(time) ? Math.floor(DateTime.toEpochMillis(time) / 1000) : time

const flag = (on: boolean | undefined): 1 | undefined => on === true ? 1 : undefined

/** Without the keys that have no value: `exactOptionalPropertyTypes` and JSON know no `undefined`. */
const present = <A extends object>(values: A): { readonly [K in keyof A]: Exclude<A[K], undefined> } =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never

/** Of a map, a list or a text the app's keys would be lost, or be indices. */
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
 * Something that the user sees or hears. Title, body and the other keys of the
 * alert stand beside the keys of `aps`.
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
 * Wakes the app for a while; nobody sees it. Apple advises at most two or three an hour, and may drop them.
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
        // what else a program without types may give, the encoder judges
        alert: Predicate.isObject(options.alert) ? present(options.alert) : options.alert,
        "stale-date": seconds(options.staleDate),
        "relevance-score": options.relevanceScore
      }),
      ...aps
    }
  })

/**
 * Starts a Live Activity, on a push-to-start token.
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
 * Changes the state of a Live Activity, on its own token or on a broadcast channel.
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
 * A call comes in.
 *
 * @category constructors
 * @since 0.1.0
 */
export const voip = (options: Options = {}): Notification => make("voip", options, { aps: {} })

/**
 * Somebody talks in a Push to Talk channel.
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
 * Asks the location push service extension of the app where the device is. Needs a key; a certificate can't do it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const location = (options: Options = {}): Notification => make("location", options, { aps: {} })

/**
 * Has the app's widgets load their content again.
 *
 * @category constructors
 * @since 0.1.0
 */
export const widgets = (options: Options = {}): Notification =>
  make("widgets", options, { aps: { "content-changed": true } })

/**
 * Has the app's controls load their state again.
 *
 * @category constructors
 * @since 0.1.0
 */
export const controls = (options: Options = {}): Notification =>
  make("controls", options, { aps: { "content-changed": true } })

/**
 * What {@link fileProvider} takes.
 *
 * @category models
 * @since 0.1.0
 */
export interface FileProviderOptions extends Options {
  readonly containerIdentifier: string
  readonly domain?: string | undefined
}

/**
 * Tells a File Provider extension that something changed.
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
 * What {@link mdm} takes.
 *
 * @category models
 * @since 0.1.0
 */
export interface MdmOptions extends Omit<Options, "data"> {
  /** The UID of the MDM certificate's subject. Default: the topic of the service. */
  readonly topic?: string | undefined
  /** The `PushMagic` that the device gave when it enrolled. */
  readonly pushMagic: string
}

/**
 * Has a managed device ask its MDM server for commands.
 *
 * @category constructors
 * @since 0.1.0
 */
export const mdm = (options: MdmOptions): Notification => make("mdm", options, { mdm: options.pushMagic })
