/**
 * The push types, and Apple's rules for each.
 *
 * Source: Apple, "Sending notification requests to APNs" (apns-push-type), and
 * the pages about each push type.
 */
import * as Schema from "effect/Schema"

/**
 * The type of a push: the value of the header `apns-push-type`.
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
 * The decoded {@link PushType}.
 *
 * @category models
 * @since 0.1.0
 */
export type PushType = typeof PushType.Type

/**
 * The priority of a push. 10: at once. 5: when it suits the device's power. 1: only if the device is awake.
 *
 * @category models
 * @since 0.1.0
 */
export const Priority = Schema.Literals([1, 5, 10])

/**
 * The decoded {@link Priority}.
 *
 * @category models
 * @since 0.1.0
 */
export type Priority = typeof Priority.Type

/**
 * Apple's rules for a push type.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rules {
  /** The suffix that the topic adds to the bundle id. */
  readonly suffix: string
  /** The allowed priorities. */
  readonly priorities: ReadonlyArray<Priority>
  /** The default priority. */
  readonly priority: Priority
  /** The default expiration; with `undefined` APNs stores the notification for at most 30 days. */
  readonly expiration: 0 | undefined
  /** The maximum size of the payload, in bytes. */
  readonly limit: number
  /** The credential that Apple requires; `undefined` if it accepts both. */
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
 * Apple's rules for each push type.
 *
 * @category constants
 * @since 0.1.0
 */
export const table: Readonly<Record<PushType, Rules>> = {
  alert: rules(""),
  background: rules("", { priorities: [5], priority: 5 }),
  // An old call must not ring when the device comes back.
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
 * The topic of a push: the bundle id with the suffix of the push type. A topic that
 * already ends with that suffix stays as it is.
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

/** The push types whose suffix can't be the end of a bundle id by chance. */
const unmistakable = Object.entries(table).filter(([, { suffix }]) => /\w[.-]/.test(suffix))

/**
 * The other push type whose suffix a topic has, or `undefined`.
 *
 * @category functions
 * @since 0.1.0
 */
export const otherKind = (pushType: PushType, topic: string): string | undefined =>
  unmistakable.find(([kind, { suffix }]) => kind !== pushType && topic.endsWith(suffix))?.[0]
