/**
 * The payload of a push job: one notification for one or many device tokens.
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
 * Only `tokens` and `payload` are required. Unknown keys are ignored. A worker sets
 * `backqOrigin` when it publishes pushes again. A missing `pushType` is inferred if the
 * payload allows only one. A notification that breaks one of Apple's rules is refused
 * when it is published and when it is read. Tokens are not checked here, so that a
 * wrong one does not keep the notification from the others.
 */
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { exactNumbers } from "../../../Job.ts"
import { PushJob } from "../../job/index.ts"
import { check } from "./Encoder.ts"
import { Notification } from "./Notification.ts"
import type { Payload } from "./Payload.ts"
import { PushType } from "./PushType.ts"

/**
 * The push type that a payload implies: `alert` if it has something to see or hear,
 * `background` if `aps` has only `content-available`, else `undefined`.
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
 * The first job of pushes that were published again.
 *
 * @category models
 * @since 0.1.0
 */
export const Origin = PushJob.Origin

/**
 * The decoded {@link Origin}.
 *
 * @category models
 * @since 0.1.0
 */
export type Origin = PushJob.Origin

const tokens = Schema.NonEmptyArray(Schema.String)
const origin = Schema.optionalKey(Origin)

// Only constructors set `data`, for keys that they can't put into the payload.
const { data: _, ...fields } = Notification.fields

const Wire = Schema.Struct({
  tokens,
  ...fields,
  pushType: Schema.optionalKey(PushType),
  backqOrigin: origin
}).check(
  Schema.makeFilter(({ payload, pushType = inferPushType(payload) }) =>
    pushType === undefined
      ? { path: ["pushType"], issue: "Expected a push type: the keys of the payload do not imply one" }
      : undefined
  )
)

/**
 * One notification for one or many device tokens.
 *
 * @category models
 * @since 0.1.0
 */
export const ApnsPayload = Wire.pipe(
  Schema.decodeTo(
    Schema.Struct({
      /** The device tokens, in hexadecimal digits. */
      tokens,
      notification: Schema.toType(Notification),
      /** Only in jobs that a worker has published again. */
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
  // Numbers of the app, such as ids, reach the device with all digits.
  Schema.annotate({ [exactNumbers]: true })
)

/**
 * The decoded {@link ApnsPayload}.
 *
 * @category models
 * @since 0.1.0
 */
export type ApnsPayload = typeof ApnsPayload.Type
