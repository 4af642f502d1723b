/**
 * The kinds of push, and what Apple asks of each.
 *
 * Source: Apple, "Sending notification requests to APNs" (apns-push-type), and
 * the pages about each kind.
 */
import * as Schema from "effect/Schema"

/**
 * What is pushed: the value of the header `apns-push-type`.
 *
 * @category models
 * @since 0.1.0
 */
export const PushType = Schema.Literals([
  "alert",
  "background",
  "voip",
  "complication",
  "fileprovider",
  "mdm",
  "location",
  "liveactivity",
  "pushtotalk",
  "widgets",
  "controls"
])

/**
 * What is pushed: the value of the header `apns-push-type`.
 *
 * @category models
 * @since 0.1.0
 */
export type PushType = typeof PushType.Type

/**
 * 10: now. 5: when it suits the device's power. 1: only if the device is awake anyway.
 *
 * @category models
 * @since 0.1.0
 */
export const Priority = Schema.Literals([1, 5, 10])

/**
 * 10: now. 5: when it suits the device's power. 1: only if the device is awake anyway.
 *
 * @category models
 * @since 0.1.0
 */
export type Priority = typeof Priority.Type

/**
 * What Apple asks of a kind of push.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rules {
  /** What follows the bundle id in the topic. */
  readonly suffix: string
  readonly priorities: ReadonlyArray<Priority>
  /** The priority of a notification that has none: the first of these. */
  readonly priority: Priority
  /** The expiration of a notification that has none; without one, APNs stores it for up to 30 days. */
  readonly expiration: 0 | undefined
  /** The most that the payload may have, in bytes. */
  readonly limit: number
  /** The one kind of credential with which Apple takes it; `undefined` where both do. */
  readonly needs: "Key" | "Certificate" | undefined
}

const any: ReadonlyArray<Priority> = [10, 5, 1]

const rules = (suffix: string, others?: Partial<Rules>): Rules => ({
  suffix,
  priorities: any,
  priority: 10,
  expiration: undefined,
  limit: 4096,
  needs: undefined,
  ...others
})

/**
 * What Apple asks of each kind of push.
 *
 * @category constants
 * @since 0.1.0
 */
export const table: Readonly<Record<PushType, Rules>> = {
  alert: rules(""),
  background: rules("", { priorities: [5], priority: 5 }),
  // A call, or a talk, that rang long ago is not to ring when the device comes back.
  voip: rules(".voip", { limit: 5120, expiration: 0 }),
  complication: rules(".complication"),
  fileprovider: rules(".pushkit.fileprovider"),
  mdm: rules("", { needs: "Certificate" }),
  location: rules(".location-query", { priorities: [10, 5], needs: "Key" }),
  liveactivity: rules(".push-type.liveactivity", { priorities: [10, 5] }),
  pushtotalk: rules(".voip-ptt", { expiration: 0 }),
  widgets: rules(".push-type.widgets"),
  controls: rules(".push-type.controls")
}

/**
 * The topic of a push: the bundle id with the suffix of the kind. A topic that
 * ends with that suffix already is complete.
 *
 * **Example**
 *
 * ```ts
 * topic("voip", "com.example.app") // => "com.example.app.voip"
 * topic("voip", "com.example.app.voip") // => "com.example.app.voip"
 * ```
 *
 * @category functions
 * @since 0.1.0
 */
export const topic = (pushType: PushType, bundleId: string): string =>
  bundleId.endsWith(table[pushType].suffix) ? bundleId : `${bundleId}${table[pushType].suffix}`

/** The suffixes that no bundle id ends with by chance. */
const unmistakable = Object.entries(table).filter(([, { suffix }]) => /\w[.-]/.test(suffix))

/**
 * The kind that a topic's suffix names, where it names another than this one.
 *
 * @category functions
 * @since 0.1.0
 */
export const otherKind = (pushType: PushType, topic: string): string | undefined =>
  unmistakable.find(([kind, { suffix }]) => kind !== pushType && topic.endsWith(suffix))?.[0]
