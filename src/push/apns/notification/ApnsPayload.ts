/**
 * What a push job says: one notification, for one or many device tokens.
 *
 * The wire form is plain JSON, so that any language can publish it:
 *
 * ```json
 * {
 *   "tokens": ["0a1b..."],
 *   "topic": "com.example.app",
 *   "pushType": "alert",
 *   "priority": 10,
 *   "expiration": 1764000000,
 *   "collapseId": "order-42",
 *   "payload": { "aps": { "alert": { "title": "Order 42", "body": "Shipped" }, "badge": 0 }, "order": 42 }
 * }
 * ```
 *
 * Only `tokens` and `payload` are required, and unknown keys beside them are
 * ignored; `backqOrigin` is what a worker writes when it publishes pushes again.
 * Without a `pushType` it is inferred where that is certain. A notification that
 * breaks a rule of Apple's is refused when it is published, and when it is read.
 * A token is not judged here: one that is wrong is not to keep the notification
 * from the others.
 */
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { exactNumbers } from "../../../Job.ts"
import { check } from "./Encoder.ts"
import { Notification } from "./Notification.ts"
import type { Payload } from "./Payload.ts"
import { PushType } from "./PushType.ts"

/**
 * The push type that a payload is certainly for: `alert` where there is
 * something to see or hear, `background` where `aps` has `content-available`
 * alone.
 *
 * @category functions
 * @since 0.1.0
 */
export const inferPushType = ({ aps = {} }: Payload): PushType | undefined => {
  const keys = Object.keys(aps)
  if (keys.includes("event") || keys.includes("content-changed")) return undefined
  if (["alert", "badge", "sound"].some((key) => keys.includes(key))) return "alert"
  return keys.length === 1 && keys[0] === "content-available" ? "background" : undefined
}

/**
 * Where pushes that are published again come from: the first job that they were in.
 *
 * @category models
 * @since 0.1.0
 */
export const Origin = Schema.Struct({
  /** The id of its envelope, by which the ids of the pushes are made. */
  id: Schema.String,
  /** How many attempts there were since. */
  attempts: Schema.Natural,
  /** When it was published, in milliseconds since the epoch. */
  publishedAt: Schema.Finite,
  /** Why they are not to be tried again: they are buried in this queue, and pushed only when somebody kicks or moves them. */
  buried: Schema.optionalKey(Schema.Struct({ reason: Schema.String, queue: Schema.String }))
})

/**
 * Where pushes that are published again come from: the first job that they were in.
 *
 * @category models
 * @since 0.1.0
 */
export type Origin = typeof Origin.Type

const tokens = Schema.NonEmptyArray(Schema.String)
const origin = Schema.optionalKey(Origin)

// nothing comes with it that makers could not put into a payload
const { data: _, ...fields } = Notification.fields

const Wire = Schema.Struct({
  tokens,
  ...fields,
  pushType: Schema.optionalKey(PushType),
  backqOrigin: origin
}).check(
  Schema.makeFilter(({ payload, pushType = inferPushType(payload) }) =>
    pushType === undefined
      ? { path: ["pushType"], issue: "Expected a push type: what the payload is for can't be told from its keys" }
      : undefined
  )
)

/**
 * One notification, for one or many device tokens.
 *
 * @category models
 * @since 0.1.0
 */
export const ApnsPayload = Wire.pipe(
  Schema.decodeTo(
    Schema.Struct({
      /** In hexadecimal, as the app registered them. */
      tokens,
      notification: Schema.toType(Notification),
      /** Only in what a worker has published again. */
      origin
    }).check(
      Schema.makeFilter(({ notification }) => {
        const broken = check(notification)
        return broken === undefined ? undefined : `${broken.field}: ${broken.rule}`
      })
    ),
    SchemaTransformation.transform({
      decode: ({ backqOrigin: origin, tokens, pushType, ...rest }) => ({
        tokens,
        notification: { pushType: pushType ?? inferPushType(rest.payload) ?? "alert", ...rest },
        ...(origin === undefined ? undefined : { origin })
      }),
      encode: ({ notification, origin, tokens }) => ({
        tokens,
        ...notification,
        ...(origin === undefined ? undefined : { backqOrigin: origin })
      })
    })
  ),
  // what an app keeps in a payload, such as an id, is handed on as it was published
  Schema.annotate({ [exactNumbers]: true })
)

/**
 * The decoded {@link ApnsPayload}.
 *
 * @category models
 * @since 0.1.0
 */
export type ApnsPayload = typeof ApnsPayload.Type
