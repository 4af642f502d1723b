/**
 * The payload of a job: one message for one or many subscriptions. On the wire:
 *
 * ```json
 * {
 *   "subscriptions": [{ "endpoint": "https://...", "keys": { "p256dh": "...", "auth": "..." }, "key": "2026" }],
 *   "body": { "json": { "title": "Hello" } },
 *   "ttl": 3600,
 *   "urgency": "high",
 *   "topic": "news"
 * }
 * ```
 *
 * A wrong message fails the whole job. A wrong subscription does not: it is reported like
 * a dead one.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { exactNumbers } from "../../Job.ts"
import { PushJob } from "../job/index.ts"
import * as Message from "./Message.ts"
import * as Subscription from "./subscription/Subscription.ts"

/**
 * The first job of messages that were published again.
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
export type Origin = typeof Origin.Type

const subscriptions = Schema.NonEmptyArray(Subscription.Unchecked)
const origin = Schema.optionalKey(Origin)

const Wire = Schema.Struct({ subscriptions, ...Message.Message.fields, backqOrigin: origin })

/**
 * One message for one or many subscriptions.
 *
 * @category models
 * @since 0.1.0
 */
export const WebPushPayload = Wire.pipe(
  Schema.decodeTo(
    Schema.Struct({
      subscriptions,
      message: Schema.toType(Message.Message),
      /** Only in jobs that a worker has published again. */
      origin
    }).check(
      Schema.makeFilter(({ message }) => {
        const encoded = Message.encode(message)
        if (Result.isSuccess(encoded)) return undefined
        const { reason } = encoded.failure
        return reason._tag === "InvalidMessage" ? `${reason.field}: ${reason.rule}` : reason.message
      })
    ),
    SchemaTransformation.transform({
      decode: ({ backqOrigin: origin, subscriptions, ...message }) => ({
        subscriptions,
        message,
        ...(origin === undefined ? undefined : { origin })
      }),
      encode: ({ message, origin, subscriptions }) => ({
        subscriptions,
        ...message,
        ...(origin === undefined ? undefined : { backqOrigin: origin })
      })
    })
  ),
  // Numbers of the page, such as ids, reach it with all digits.
  Schema.annotate({ [exactNumbers]: true })
)

/**
 * The decoded {@link WebPushPayload}.
 *
 * @category models
 * @since 0.1.0
 */
export type WebPushPayload = typeof WebPushPayload.Type
