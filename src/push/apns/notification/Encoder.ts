/**
 * Encodes a notification: once for any number of tokens.
 *
 * The encoder refuses notifications that Apple would refuse, or that a device would
 * silently ignore, and names the field and the rule. It shortens nothing; `fit` in
 * `Fit.ts` does that on request.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { faultIn } from "../../../internal/plainJson.ts"
import { safeName } from "../../../internal/text.ts"
import { callSafely, describe } from "../../../internal/thrown.ts"
import * as ApnsError from "../answer/ApnsError.ts"
import type { Reason } from "../answer/Reason.ts"
import { Notification } from "./Notification.ts"
import * as PushType from "./PushType.ts"
import type { Problem } from "./rules.ts"
import { firstBroken, problem } from "./rules.ts"

/**
 * The part of a request that is the same for every token: all but `:path`, `authorization` and `apns-id`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Encoded {
  /** The headers, with names in lower case. Values outside of ASCII are sent as UTF-8. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  /** JSON in UTF-8. */
  readonly body: Uint8Array
  /** When it expires, in seconds since 1970; `undefined` for never, 0 for one attempt. */
  readonly expiration: number | undefined
}

/**
 * The defaults of the service.
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

/** The first place at which the notification does not match its schema. */
const shapeProblem = (notification: unknown): Problem | undefined => {
  const result = decode(notification)
  if (Result.isSuccess(result)) return undefined
  const first = issuesOf(result.failure.issue).issues[0]
  const path = (first?.path ?? []).map((step) => String(typeof step === "object" ? step.key : step))
  return problem(
    path.length === 0 ? "notification" : path.join("."),
    first?.message ?? "must be a notification",
    structural[path[0] ?? ""]
  )
}

/** The first value that can't be sent as JSON, by its key of the payload or of `aps`. */
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

/** A lone surrogate, as `JSON.stringify` escapes it. UTF-8 can't encode it, and devices can't read it. */
const loneSurrogate = /(?<!\\)(?:\\\\)*\\ud[89a-f]/

const tooLarge = (size: number, limit: number): Problem =>
  problem(
    "payload",
    `must have at most ${limit} bytes, not ${size}: shorten it, or let fit shorten the alert's body`,
    "PayloadTooLarge"
  )

/** Runs a check that may call the getters and proxies of a program, which may throw. */
const readSafely = <A>(check: () => Result.Result<A, Problem>): Result.Result<A, Problem> =>
  Result.getOrElse(
    callSafely(check),
    (thrown) =>
      Result.fail(problem(
        "notification",
        `must be readable, but a part of it throws ${describe(thrown).name ?? "an exception"}`
      ))
  )

/**
 * The payload as JSON, if it matches its schema. Apple's rules are not checked.
 *
 * @category functions
 * @since 0.1.0
 */
export const json = (notification: Notification): Result.Result<string, Problem> =>
  readSafely(() => {
    const broken = jsonProblem(notification?.payload) ?? shapeProblem(notification)
    return broken === undefined ? Result.succeed(JSON.stringify(notification.payload)) : Result.fail(broken)
  })

/** Checks everything but the presence of a topic, which the service may add. Returns the payload as bytes. */
const body = (notification: Notification, max?: number): Result.Result<Uint8Array, Problem> => {
  const written = json(notification)
  if (Result.isFailure(written)) return Result.fail(written.failure)
  const broken = firstBroken(notification)
  if (broken !== undefined) return Result.fail(broken)
  if (loneSurrogate.test(written.success)) {
    return Result.fail(
      problem("payload", "must not have a lone surrogate: cut texts between characters")
    )
  }
  const bytes = utf8.encode(written.success)
  const limit = max ?? PushType.table[notification.pushType].limit
  return bytes.byteLength > limit ? Result.fail(tooLarge(bytes.byteLength, limit)) : Result.succeed(bytes)
}

/**
 * Makes the failure of a notification that breaks a rule.
 *
 * @category constructors
 * @since 0.1.0
 */
export const invalid = ({ apple, field, rule }: Problem): ApnsError.ApnsError =>
  ApnsError.make(new ApnsError.InvalidNotification({ field, rule, apple }))

/**
 * The first rule that a notification breaks, or `undefined`. A missing topic breaks no
 * rule, since the service may have one.
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
    const rule = "must be set: use the app's bundle id, here or as the topic of the service"
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
 * Encodes a notification. Fails with `InvalidNotification`; it never throws, whatever
 * the notification contains.
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
 * The options of a broadcast.
 *
 * @category models
 * @since 0.1.0
 */
export interface BroadcastOptions {
  /** Whether the channel stores the most recent message. If not, the expiration must be 0. Default: unknown. */
  readonly stored?: boolean | undefined
}

/**
 * The maximum size of a broadcast's payload, in bytes.
 *
 * @category constants
 * @since 0.1.0
 */
export const broadcastLimit = 5120

const broadcastProblem = (notification: Notification, { stored }: BroadcastOptions): Problem | undefined => {
  const { collapseId, expiration, payload, pushType } = notification
  if (pushType !== "liveactivity") {
    return { field: "pushType", rule: "must be liveactivity for a broadcast", apple: "InvalidPushType" }
  }
  if (payload.aps?.event === "start") {
    return { field: "payload.aps.event", rule: "must not be start for a broadcast: push to the tokens" }
  }
  if (collapseId !== undefined) return { field: "collapseId", rule: "must not be set for a broadcast" }
  return stored === false && expiration !== undefined && expiration !== 0
    ? {
      field: "expiration",
      rule: "must be 0, since the channel stores no messages",
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
 * Encodes a notification for a broadcast channel. The headers have no topic, which is
 * in the path, and always a priority and an expiration. Fails with
 * `InvalidNotification`.
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
 * Whether a notification has expired. `now` is in milliseconds since 1970. An expiration of 0 means one attempt at any time.
 *
 * @category guards
 * @since 0.1.0
 */
export const isExpired = (expiration: number | undefined, now: number): boolean =>
  expiration !== undefined && expiration > 0 && expiration * 1000 <= now
