/**
 * A message for browsers. The push service carries it encrypted, and the service worker
 * of the page gets its text.
 *
 * ```ts
 * const message: Message.Message = { body: { json: { title: "Hello" } }, ttl: 3600, urgency: "high" }
 * ```
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Crypto from "node:crypto"
import { integer, mustBe } from "../../internal/options.ts"
import { callSafely } from "../../internal/thrown.ts"
import type { Provider } from "../pool/index.ts"
import * as WebPushError from "./answer/WebPushError.ts"
import { maxPlaintextBytes } from "./encryption/aes128gcm.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The body of a message: a text, bytes in base64, or a value that becomes JSON. The page
 * reads it by `event.data.text()`, `arrayBuffer()` or `json()`.
 *
 * @category models
 * @since 0.1.0
 */
export const Body = Schema.Union([
  Schema.String,
  Schema.Struct({ base64: Schema.String }),
  Schema.Struct({ json: Schema.Unknown })
])

/**
 * The decoded {@link Body}.
 *
 * @category models
 * @since 0.1.0
 */
export type Body = typeof Body.Type

/**
 * How soon the push service delivers: it may wait with the first ones until the device
 * is awake, or charges.
 *
 * @category models
 * @since 0.1.0
 */
export const Urgency = Schema.Literals(["very-low", "low", "normal", "high"])

/**
 * The decoded {@link Urgency}.
 *
 * @category models
 * @since 0.1.0
 */
export type Urgency = typeof Urgency.Type

/**
 * A message for browsers.
 *
 * @category models
 * @since 0.1.0
 */
export const Message = Schema.Struct({
  /** At most 3,993 bytes. Without one the page gets an event without data, and nothing is encrypted. */
  body: Schema.optionalKey(Body),
  /**
   * How long the push service keeps the message for a browser that is away, in seconds.
   * 0: it delivers at once or never. Services keep none for longer than a month.
   */
  ttl: Schema.Int,
  /** Default: `normal`. */
  urgency: Schema.optionalKey(Urgency),
  /**
   * A newer message replaces an older one of the same topic that was not delivered yet.
   * The push service gets a hash of it.
   */
  topic: Schema.optionalKey(Schema.String),
  /** Fills the body up to this many bytes, so that its length says nothing. At most 2,048. */
  padTo: Schema.optionalKey(Schema.Int)
})

/**
 * The decoded {@link Message}.
 *
 * @category models
 * @since 0.1.0
 */
export type Message = typeof Message.Type

/**
 * A message that was checked and encoded, once for all subscriptions.
 *
 * @category models
 * @since 0.1.0
 */
export interface Encoded {
  /** The bytes to encrypt; `undefined` without a body. */
  readonly plaintext: Uint8Array | undefined
  readonly padTo: number | undefined
  /** The headers of requests, without the authorization. */
  readonly headers: Provider.Headers
  /** The headers for Microsoft's service, which has one of its own. */
  readonly windowsHeaders: Provider.Headers
}

// -----------------------------------------------------------------------------
// Rules
// -----------------------------------------------------------------------------

/**
 * The largest body, in bytes.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxBytes: number = maxPlaintextBytes

/** Padding above this would exceed what Firefox on Android gets. */
const maxPadding = 2048

/** More is not a number of 31 bits, which RFC 8030, section 5.2, allows services to expect. */
const maxTtl = 2 ** 31 - 1

const maxTopicChars = 1000

const urgencies: ReadonlyArray<unknown> = ["very-low", "low", "normal", "high"]

type Problem = readonly [field: string, rule: string]

const bodyRule = "must be a text, { base64 } or { json }"

const decodeBase64 = (text: unknown): Buffer | undefined => {
  const digits = typeof text === "string" ? /^([A-Za-z0-9+/_-]*)={0,2}$/.exec(text)?.[1] : undefined
  return digits === undefined || digits.length % 4 === 1 ? undefined : Buffer.from(digits, "base64")
}

const jsonOf = (value: unknown): Buffer | undefined => {
  const text: string | undefined = JSON.stringify(value)
  return text === undefined ? undefined : Buffer.from(text)
}

const plaintextOf = (body: Body | undefined): Result.Result<Buffer | undefined, Problem> => {
  if (body === undefined) return Result.succeed(undefined)
  if (typeof body === "string") return sized("body", Buffer.from(body))
  if (!Predicate.isObject(body)) return Result.fail(["body", mustBe("a text, { base64 } or { json }", body)])
  if ("base64" in body) return sized("body.base64", decodeBase64(body.base64), "must be base64")
  if ("json" in body) return sized("body.json", jsonOf(body.json), "must be a value that JSON has")
  return Result.fail(["body", bodyRule])
}

const sized = (field: string, bytes: Buffer | undefined, rule = ""): Result.Result<Buffer, Problem> => {
  if (bytes === undefined) return Result.fail([field, rule])
  return bytes.length <= maxBytes
    ? Result.succeed(bytes)
    : Result.fail([
      field,
      `must have at most ${maxBytes} bytes, and has ${bytes.length}: send an id, and let the page fetch the rest`
    ])
}

const problemOf = ({ padTo, topic, ttl, urgency }: Message): Problem | undefined => {
  if (ttl === undefined) return ["ttl", "must be given, in seconds: 0 delivers at once or never"]
  const wrongTtl = integer(ttl, 0, maxTtl, "seconds")
  if (wrongTtl !== undefined) return ["ttl", wrongTtl]
  if (urgency !== undefined && !urgencies.includes(urgency)) return ["urgency", mustBe(urgencies.join(", "), urgency)]
  if (topic !== undefined && (typeof topic !== "string" || topic === "" || topic.length > maxTopicChars)) {
    return ["topic", `must be a text of 1 to ${maxTopicChars} characters`]
  }
  const wrongPadding = padTo === undefined ? undefined : integer(padTo, 0, maxPadding, "bytes")
  return wrongPadding === undefined ? undefined : ["padTo", wrongPadding]
}

// -----------------------------------------------------------------------------
// Encoding
// -----------------------------------------------------------------------------

/** 32 characters of base64url. Apple decodes the topic, so its length must be one that base64 has. */
const hashed = (topic: string): string => Crypto.hash("sha256", topic, "base64url").slice(0, 32)

const headersOf = ({ topic, ttl, urgency }: Message, hasBody: boolean): Provider.Headers => [
  ["ttl", String(ttl)],
  ...(urgency === undefined ? [] : [["urgency", urgency] as const]),
  ...(topic === undefined ? [] : [["topic", hashed(topic)] as const]),
  ...(hasBody
    ? [["content-type", "application/octet-stream"] as const, ["content-encoding", "aes128gcm"] as const]
    : [])
]

const encodeFields = (message: Message): Result.Result<Encoded, Problem> => {
  const problem = problemOf(message)
  if (problem !== undefined) return Result.fail(problem)
  return Result.map(plaintextOf(message.body), (plaintext) => {
    const headers = headersOf(message, plaintext !== undefined)
    const cache = ["x-wns-cache-policy", message.ttl === 0 ? "no-cache" : "cache"] as const
    return { plaintext, padTo: message.padTo, headers, windowsHeaders: [...headers, cache] }
  })
}

/**
 * Checks and encodes a message.
 *
 * @category functions
 * @since 0.1.0
 */
export const encode = (message: Message): Result.Result<Encoded, WebPushError.WebPushError> =>
  Result.mapError(
    Predicate.isObject(message)
      ? Result.getOrElse(callSafely(() => encodeFields(message)), () =>
        Result.fail<Problem>(["message", "must be readable"]))
      : Result.fail<Problem>(["message", "must be a message: { body, ttl }"]),
    ([field, rule]) =>
      WebPushError.make(new WebPushError.InvalidMessage({ field, rule }))
  )
