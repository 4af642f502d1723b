/**
 * A push subscription, as a browser makes it: `JSON.stringify(subscription)` of a
 * `PushSubscription`.
 *
 * ```ts
 * const subscription = yield* Schema.decodeUnknownEffect(Subscription.Subscription)(request.body)
 * ```
 *
 * The Schema checks the form of the endpoint and the keys, also that the public key is
 * a point of the curve, and accepts both alphabets of base64, with or without padding.
 * Whether the endpoint's host is allowed is checked before each push: see `Endpoints`.
 *
 * An endpoint is a secret: whoever has it can push to the browser. Messages and logs
 * show its host and a hash, see {@link nameOf}.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Crypto from "node:crypto"
import { callSafely } from "../../../internal/thrown.ts"
import * as Endpoints from "./Endpoints.ts"
import { isOnCurve, pointBytes } from "./point.ts"

// -----------------------------------------------------------------------------
// The rules
// -----------------------------------------------------------------------------

/** The length of the secret that the browser shares: RFC 8291, section 3.2. */
const authBytes = 16

/** The longest id of a VAPID key. */
const maxKeyChars = 100

const base64 = /^[A-Za-z0-9+/_-]*={0,2}$/

/** The bytes of a key in either alphabet of base64; `undefined` unless there are exactly this many. */
const bytesOf = (text: unknown, length: number): Buffer | undefined => {
  if (typeof text !== "string" || text.length > length * 2 || !base64.test(text)) return undefined
  const bytes = Buffer.from(text, "base64")
  return bytes.length === length ? bytes : undefined
}

const pointRule = `must be base64url of ${pointBytes} bytes, an uncompressed point of P-256`
const curveRule = "must be a point of the curve P-256"
const authRule = `must be base64url of ${authBytes} bytes`
const expirationRule = "must be null or milliseconds since 1970"
const keyRule = `must be the id of a VAPID key, of 1 to ${maxKeyChars} characters`

const isKeyId = (key: unknown): boolean => typeof key === "string" && key.length > 0 && key.length <= maxKeyChars

// -----------------------------------------------------------------------------
// The Schema
// -----------------------------------------------------------------------------

const expected = (rule: string) => rule.replace(/^must be /, "Expected ").replace(/^must /, "Expected that it must ")

const toBase64Url = (text: string): string => Buffer.from(text, "base64").toString("base64url")

/** Base64 of either alphabet of so many bytes, decoded to base64url without padding. */
const keyOf = (length: number, rule: string, check: (bytes: Buffer) => string | undefined = () => undefined) =>
  Schema.String.check(
    Schema.makeFilter<string>((text) => {
      const bytes = bytesOf(text, length)
      const broken = bytes === undefined ? rule : check(bytes)
      return broken === undefined ? true : expected(broken)
    })
  ).pipe(Schema.decodeTo(Schema.String, SchemaTransformation.transform({ decode: toBase64Url, encode: toBase64Url })))

/**
 * A push subscription.
 *
 * @category models
 * @since 0.1.0
 */
export const Subscription = Schema.Struct({
  endpoint: Schema.String.check(
    Schema.makeFilter<string>((text) => {
      const read = Endpoints.parse(text)
      return Result.isSuccess(read) ? true : expected(read.failure)
    })
  ),
  /** When it ends, in milliseconds since 1970; `null` for most. */
  expirationTime: Schema.optionalKey(
    Schema.NullOr(Schema.Finite)
  ),
  keys: Schema.Struct({
    /** The browser's public key. */
    p256dh: keyOf(pointBytes, pointRule, (point) => isOnCurve(point) ? undefined : curveRule),
    /** The browser's secret. */
    auth: keyOf(authBytes, authRule)
  }),
  /** The id of the VAPID key that the page subscribed with. Default: the first key. */
  key: Schema.optionalKey(
    Schema.String.check(Schema.makeFilter<string>((key) => isKeyId(key) ? true : expected(keyRule)))
  )
})

/**
 * The decoded {@link Subscription}.
 *
 * @category models
 * @since 0.1.0
 */
export type Subscription = typeof Subscription.Type

/**
 * A subscription of which only the endpoint was checked to be a text: the rest may be
 * anything, see {@link read}. One wrong subscription must not fail a whole job.
 *
 * @category models
 * @since 0.1.0
 */
export const Unchecked = Schema.Struct({
  endpoint: Schema.String,
  expirationTime: Schema.optionalKey(Schema.Unknown),
  keys: Schema.optionalKey(Schema.Unknown),
  key: Schema.optionalKey(Schema.Unknown)
}) as unknown as Schema.Codec<Subscription>

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

/**
 * A rule that a subscription breaks. It never quotes the subscription.
 *
 * @category models
 * @since 0.1.0
 */
export interface Problem {
  /** The path of the field: `keys.p256dh`. */
  readonly field: string
  readonly rule: string
}

/**
 * A subscription that was checked, as bytes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Target {
  readonly endpoint: Endpoints.Endpoint
  /** The browser's public key, 65 bytes. */
  readonly point: Buffer
  /** The browser's secret, 16 bytes. */
  readonly auth: Buffer
  /** The id of its VAPID key. */
  readonly key: string | undefined
  readonly expirationTime: number | undefined
}

const wrong = (field: string, rule: string) => Result.fail<Problem>({ field, rule })

/**
 * Checks a subscription, also one that a program without types passes.
 *
 * @category functions
 * @since 0.1.0
 */
export const read = (subscription: Subscription): Result.Result<Target, Problem> => {
  if (!Predicate.isObject(subscription)) return wrong("subscription", "must be a subscription of a browser")
  return Result.getOrElse(
    callSafely(() => readFields(subscription)),
    () => wrong("subscription", "must be readable")
  )
}

const readFields = (
  { endpoint: url, expirationTime, key: id, keys }: Subscription
): Result.Result<Target, Problem> => {
  const endpoint = Endpoints.parse(url)
  if (Result.isFailure(endpoint)) return wrong("endpoint", endpoint.failure)
  const point = bytesOf(keys?.p256dh, pointBytes)
  if (point === undefined) return wrong("keys.p256dh", pointRule)
  if (!isOnCurve(point)) return wrong("keys.p256dh", curveRule)
  const auth = bytesOf(keys?.auth, authBytes)
  if (auth === undefined) return wrong("keys.auth", authRule)
  const end = expirationTime ?? undefined
  if (end !== undefined && !Number.isFinite(end)) return wrong("expirationTime", expirationRule)
  // Other languages write null for none.
  const key = id ?? undefined
  if (key !== undefined && !isKeyId(key)) return wrong("key", keyRule)
  return Result.succeed({ endpoint: endpoint.success, point, auth, key, expirationTime: end })
}

/**
 * The name of a subscription for messages and logs: the host of its endpoint and a
 * hash, such as `fcm.googleapis.com#q1w2e3r4t5`. The same endpoint has the same name.
 *
 * @category functions
 * @since 0.1.0
 */
export const nameOf = (endpoint: string): string => {
  if (typeof endpoint !== "string") return "no endpoint"
  const host = URL.parse(endpoint)?.hostname || "no host"
  return `${host.slice(0, 100)}#${Crypto.hash("sha256", endpoint, "base64url").slice(0, 10)}`
}
