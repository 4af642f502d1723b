/**
 * From a notification to what goes on the wire: once for any number of tokens.
 *
 * Everything that Apple would refuse is refused here, with the field and the
 * rule, and so is what a device would silently ignore. Nothing is cut short:
 * `fit` in `Fit.ts` does that for those who ask for it.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { safeName } from "../../../internal/text.ts"
import { callSafely, describe } from "../../../internal/thrown.ts"
import * as ApnsError from "../answer/ApnsError.ts"
import type { Reason } from "../answer/Reason.ts"
import { faultIn } from "./json.ts"
import { Notification } from "./Notification.ts"
import * as PushType from "./PushType.ts"
import type { Problem } from "./rules.ts"
import { firstBroken, problem } from "./rules.ts"

/**
 * What goes on the wire, the same for every token: all but `:path`, `authorization` and `apns-id`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Encoded {
  /** Names in lower case, with their values; a value may have characters outside of ASCII and then goes out as UTF-8. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  /** JSON in UTF-8. */
  readonly body: Uint8Array
  /** Until when it may be sent, in seconds since 1970; `undefined` without an end, 0 once. */
  readonly expiration: number | undefined
}

/**
 * What a notification that doesn't say takes from the service.
 *
 * @category models
 * @since 0.1.0
 */
export interface Defaults {
  /** The app's bundle id. */
  readonly topic?: string | undefined
}

const utf8 = new TextEncoder()

// -----------------------------------------------------------------------------
// Checks
// -----------------------------------------------------------------------------

const decode = Schema.decodeUnknownResult(Schema.toType(Notification))

const issuesOf = SchemaIssue.makeFormatterStandardSchemaV1()

const structural: Readonly<Record<string, Reason>> = {
  pushType: "InvalidPushType",
  topic: "BadTopic",
  priority: "BadPriority",
  expiration: "BadExpirationDate",
  collapseId: "BadCollapseId"
}

/** The first place where the notification doesn't have the form that its type says. */
const shapeProblem = (notification: unknown): Problem | undefined => {
  const result = decode(notification)
  if (Result.isSuccess(result)) return undefined
  const first = issuesOf(result.failure.issue).issues[0]
  const path = (first?.path ?? []).map((step) => String(typeof step === "object" ? step.key : step))
  return problem(
    path.length === 0 ? "notification" : path.join("."),
    first?.message ?? "it is not a notification",
    structural[path[0] ?? ""]
  )
}

/** The key of the payload, or of `aps`, in which something can't be sent as JSON. */
const jsonProblem = (payload: unknown): Problem | undefined => {
  const fault = typeof payload === "object" ? faultIn(payload) : undefined
  if (fault === undefined) return undefined
  const named = fault.path[0] === "aps" ? 2 : 1
  const place = fault.path.slice(named).map((step) => typeof step === "number" ? `[${step}]` : `.${step}`).join("")
  return problem(
    ["payload", ...fault.path.slice(0, named)].join("."),
    place === "" ? fault.rule : `at ${safeName(place)}: ${fault.rule}`
  )
}

/** A half of a surrogate pair, as `JSON.stringify` escapes it. No UTF-8 can hold it, and no device reads it. */
const loneSurrogate = /(?<!\\)(?:\\\\)*\\ud[89a-f]/

const tooLarge = (size: number, limit: number): Problem =>
  problem(
    "payload",
    `it has ${size} bytes, and ${limit} are allowed: shorten it, or let fit shorten the alert's body`,
    "PayloadTooLarge"
  )

/** A program's getters and proxies are asked while it is checked. */
const readSafely = <A>(check: () => Result.Result<A, Problem>): Result.Result<A, Problem> =>
  Result.getOrElse(
    callSafely(check),
    (thrown) =>
      Result.fail(problem(
        "notification",
        `it can't be read: a part of it throws ${describe(thrown).name ?? "something"}`
      ))
  )

/**
 * The payload as JSON, where its form and its values are those of a notification; what it means is not judged.
 *
 * @category functions
 * @since 0.1.0
 */
export const json = (notification: Notification): Result.Result<string, Problem> =>
  readSafely(() => {
    const broken = jsonProblem(notification?.payload) ?? shapeProblem(notification)
    return broken === undefined ? Result.succeed(JSON.stringify(notification.payload)) : Result.fail(broken)
  })

/** Checks everything but the presence of a topic, which the service may give. The payload in bytes where nothing is wrong. */
const body = (notification: Notification, max?: number): Result.Result<Uint8Array, Problem> => {
  const written = json(notification)
  if (Result.isFailure(written)) return Result.fail(written.failure)
  const broken = firstBroken(notification)
  if (broken !== undefined) return Result.fail(broken)
  if (loneSurrogate.test(written.success)) {
    return Result.fail(
      problem("payload", "it has half a character (a lone surrogate): cut texts between characters")
    )
  }
  const bytes = utf8.encode(written.success)
  const limit = max ?? PushType.table[notification.pushType].limit
  return bytes.byteLength > limit ? Result.fail(tooLarge(bytes.byteLength, limit)) : Result.succeed(bytes)
}

/**
 * The failure of a push whose notification breaks a rule.
 *
 * @category constructors
 * @since 0.1.0
 */
export const invalid = ({ apple, field, rule }: Problem): ApnsError.ApnsError =>
  ApnsError.make(new ApnsError.InvalidNotification({ field, rule, apple }))

/**
 * The first rule that a notification breaks, if it breaks one. A missing topic
 * is none: the service may have one.
 *
 * @category functions
 * @since 0.1.0
 */
export const check = (notification: Notification): Problem | undefined => {
  const result = readSafely(() => body(notification))
  return Result.isFailure(result) ? result.failure : undefined
}

// -----------------------------------------------------------------------------
// Encoding
// -----------------------------------------------------------------------------

const encoded = (notification: Notification, defaults: Defaults): Result.Result<Encoded, Problem> => {
  const topic = notification.topic ?? defaults.topic
  const complete = topic === undefined ? notification : { ...notification, topic }
  const checked = body(complete)
  if (Result.isFailure(checked)) return Result.fail(checked.failure)
  if (topic === undefined) {
    const rule = "give the app's bundle id, here or as the topic of the service"
    return Result.fail(problem("topic", rule, "MissingTopic"))
  }
  const { collapseId, pushType } = notification
  const rules = PushType.table[pushType]
  const expiration = notification.expiration ?? rules.expiration
  const headers: Array<readonly [string, string]> = [
    ["apns-topic", PushType.topic(pushType, topic)],
    ["apns-push-type", pushType],
    ["apns-priority", String(notification.priority ?? rules.priority)]
  ]
  if (expiration !== undefined) headers.push(["apns-expiration", String(expiration)])
  if (collapseId !== undefined) headers.push(["apns-collapse-id", collapseId])
  return Result.succeed({ headers, body: checked.success, expiration })
}

/**
 * A notification on the wire. Fails with `InvalidNotification`, whatever a
 * program has put into it.
 *
 * **Example**
 *
 * ```ts
 * const encoded = yield* Effect.fromResult(encode(Notification.alert({ body: "Hello" }), { topic: "com.example.app" }))
 * ```
 *
 * @category functions
 * @since 0.1.0
 */
export const encode = (
  notification: Notification,
  defaults: Defaults = {}
): Result.Result<Encoded, ApnsError.ApnsError> =>
  Result.mapError(readSafely(() => encoded(notification, defaults)), invalid)

/**
 * What is known of the channel.
 *
 * @category models
 * @since 0.1.0
 */
export interface BroadcastOptions {
  /** Does the channel store the most recent message? If it doesn't, the expiration has to be 0. Default: not known. */
  readonly stored?: boolean | undefined
}

/**
 * The most that the payload of a broadcast may have, in bytes.
 *
 * @category constants
 * @since 0.1.0
 */
export const broadcastLimit = 5120

const broadcastProblem = (notification: Notification, { stored }: BroadcastOptions): Problem | undefined => {
  const { collapseId, expiration, payload, pushType } = notification
  if (pushType !== "liveactivity") {
    return { field: "pushType", rule: "only Live Activities can be broadcast", apple: "InvalidPushType" }
  }
  if (payload.aps?.event === "start") {
    return { field: "payload.aps.event", rule: "a Live Activity can't be started by a broadcast: push to its tokens" }
  }
  if (collapseId !== undefined) return { field: "collapseId", rule: "a broadcast has none" }
  return stored === false && expiration !== undefined && expiration !== 0
    ? {
      field: "expiration",
      rule: "the channel stores no message: give 0",
      apple: "BadExpirationDate"
    }
    : undefined
}

const encodedBroadcast = (
  notification: Notification,
  options: BroadcastOptions
): Result.Result<Encoded, Problem> => {
  const { expiration = 0, priority = 10 } = notification
  // Unlike a push to a token, a broadcast may have the priority 1.
  const checked = body(priority === 1 ? { ...notification, priority: 5 } : notification, broadcastLimit)
  const broken = Result.isFailure(checked) ? checked.failure : broadcastProblem(notification, options)
  if (broken !== undefined) return Result.fail(broken)
  return Result.map(checked, (body) => ({
    headers: [
      ["apns-push-type", "liveactivity"],
      ["apns-priority", String(priority)],
      ["apns-expiration", String(expiration)]
    ],
    body,
    expiration
  }))
}

/**
 * A notification for a broadcast channel: without a topic, which the path has,
 * and always with priority and expiration. Fails with `InvalidNotification`.
 *
 * @category functions
 * @since 0.1.0
 */
export const encodeBroadcast = (
  notification: Notification,
  options: BroadcastOptions = {}
): Result.Result<Encoded, ApnsError.ApnsError> =>
  Result.mapError(readSafely(() => encodedBroadcast(notification, options)), invalid)

/**
 * Is it too late to send it? `now` in milliseconds since 1970. An expiration of 0 means one attempt, whenever it is made.
 *
 * @category guards
 * @since 0.1.0
 */
export const isExpired = (expiration: number | undefined, now: number): boolean =>
  expiration !== undefined && expiration > 0 && expiration * 1000 <= now
