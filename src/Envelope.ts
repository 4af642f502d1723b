/**
 * The format of a job's body.
 *
 * The body is one JSON object, so that any language can publish:
 *
 * ```json
 * {"backq":1,"id":"0193…","job":"send-welcome","version":1,"payload":{"userId":"42"},
 *  "publishedAt":1764000000000,"expiresAt":1764000060000,"traceparent":"00-…-…-01"}
 * ```
 *
 * | field | | |
 * |---|---|---|
 * | `backq` | required | the version of the envelope: 1 |
 * | `id` | required | the same in every attempt: use it as an idempotency key. A UUID v7 unless the publisher chose another |
 * | `job` | required | the job's name, which selects the handler |
 * | `payload` | required | JSON that the job's Schema decodes |
 * | `version` | optional, 1 | the version of the payload |
 * | `publishedAt` | optional | milliseconds since the epoch |
 * | `expiresAt` | optional | milliseconds since the epoch; the job does not run after that |
 * | `traceparent` | optional | the publisher's span, as in W3C Trace Context |
 *
 * Readers ignore unknown fields. `JSON.parse` rounds the payload's numbers to 53
 * bits; {@link exactPayload} keeps all digits.
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Tracer from "effect/Tracer"
import * as ExactNumbers from "./internal/exactNumbers.ts"
import { oneLine } from "./internal/text.ts"

/**
 * The fields of a job's body.
 *
 * @category models
 * @since 0.1.0
 */
export const Envelope = Schema.Struct({
  backq: Schema.Literal(1),
  id: Schema.String,
  job: Schema.String,
  version: Schema.optionalKey(Schema.Finite),
  payload: Schema.Unknown,
  publishedAt: Schema.optionalKey(Schema.Finite),
  expiresAt: Schema.optionalKey(Schema.Finite),
  traceparent: Schema.optionalKey(Schema.String)
})

/**
 * The decoded {@link Envelope}.
 *
 * @category models
 * @since 0.1.0
 */
export type Envelope = typeof Envelope.Type

/**
 * Reads a body that is not an envelope, such as one that another system publishes. The failure says what is wrong with the body.
 *
 * @category models
 * @since 0.1.0
 */
export type ForeignDecoder = (body: Uint8Array, queue: string) => Result.Result<Foreign, string>

/**
 * The content of a foreign body. The fields have the meaning that they have in an {@link Envelope}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Foreign {
  readonly job: string
  readonly payload: unknown
  readonly id?: string | undefined
  readonly version?: number | undefined
  readonly expiresAt?: number | undefined
}

const decoder = new TextDecoder("utf-8", { fatal: true })
const decodeEnvelope = Schema.decodeUnknownResult(Envelope)

/**
 * Whether it is an envelope without unknown fields, as publishers write it. This costs a tenth of the Schema, which
 * reads the others and says what is wrong with them.
 */
const isOrdinary = (json: unknown): json is Envelope => {
  if (typeof json !== "object" || json === null) return false
  for (const field in json) {
    const value: unknown = json[field as keyof typeof json]
    switch (field) {
      case "backq":
        if (value !== 1) return false
        break
      case "id":
      case "job":
      case "traceparent":
        if (typeof value !== "string") return false
        break
      case "version":
      case "publishedAt":
      case "expiresAt":
        if (!Number.isFinite(value)) return false
        break
      case "payload":
        break
      default:
        return false
    }
  }
  return "backq" in json && "id" in json && "job" in json && "payload" in json
}

/**
 * Encodes an envelope as a body. The payload must already be JSON. Undefined fields are omitted.
 *
 * @category functions
 * @since 0.1.0
 */
export const encode = (envelope: { readonly [K in keyof Envelope]: Envelope[K] | undefined }): Uint8Array =>
  Buffer.from(JSON.stringify(envelope))

/**
 * Decodes a body. The failure says what is wrong with it, and never quotes it.
 *
 * @category functions
 * @since 0.1.0
 */
export const decode = (body: Uint8Array): Result.Result<Envelope, string> => {
  const json = Result.try({
    try: (): unknown => JSON.parse(decoder.decode(body)),
    catch: () => "the body is not JSON"
  })
  if (Result.isFailure(json)) return Result.fail(json.failure)
  if (isOrdinary(json.success)) return Result.succeed(json.success)
  const envelope = decodeEnvelope(json.success)
  return Result.isFailure(envelope)
    ? Result.fail(`the body is not an envelope: ${oneLine(envelope.failure.message)}`)
    : Result.succeed(envelope.success)
}

/**
 * The payload of an envelope that was decoded from this body, with exact
 * numbers: a number that JavaScript would round becomes the `JSON.rawJSON` of
 * its digits, and `JSON.stringify` writes it as it was published. Throws a
 * `RangeError` when such a payload is nested thousands of levels deep.
 *
 * @category functions
 * @since 0.1.0
 */
export const exactPayload = (body: Uint8Array, envelope: Envelope): unknown => {
  const text = decoder.decode(body)
  return ExactNumbers.mayChange(text) ? (ExactNumbers.parse(text) as Envelope).payload : envelope.payload
}

/**
 * Writes a span as a `traceparent`. W3C Trace Context, section 3.2.
 *
 * @category functions
 * @since 0.1.0
 */
export const traceparent = (span: Tracer.AnySpan): string =>
  `00-${span.traceId.padStart(32, "0")}-${span.spanId.padStart(16, "0")}-${span.sampled ? "01" : "00"}`

const traceparentPattern = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/

/**
 * Reads the span of a `traceparent`; none if it is malformed.
 *
 * @category functions
 * @since 0.1.0
 */
export const span = (traceparent: string): Option.Option<Tracer.ExternalSpan> => {
  const match = traceparentPattern.exec(traceparent)
  return match === null ? Option.none() : Option.some(
    Tracer.externalSpan({ traceId: match[1]!, spanId: match[2]!, sampled: (parseInt(match[3]!, 16) & 1) === 1 })
  )
}
