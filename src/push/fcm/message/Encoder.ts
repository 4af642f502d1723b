/**
 * Encodes a message: once for any number of targets. The target is put in front of the
 * encoded message, which costs about a microsecond.
 *
 * The encoder refuses what Google would refuse, and names the field and the rule. A
 * message that is probably too large gets a warning only, since Google does not publish
 * what it counts.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { Buffer } from "node:buffer"
import { faultIn } from "../../../internal/plainJson.ts"
import { safeName } from "../../../internal/text.ts"
import { callSafely, describe } from "../../../internal/thrown.ts"
import * as FcmError from "../answer/FcmError.ts"
import { Message } from "./Message.ts"
import { inCamelCase } from "./spelling.ts"
import * as Target from "./Target.ts"

/**
 * A broken rule.
 *
 * @category models
 * @since 0.1.0
 */
export interface Problem {
  /** The path of the field, such as `android.ttl`. */
  readonly field: string
  /** The end of a sentence that the field begins. */
  readonly rule: string
}

/**
 * An encoded message without its target.
 *
 * @category models
 * @since 0.1.0
 */
export interface Encoded {
  /** The JSON after the target. */
  readonly suffix: Uint8Array
  /** The size of keys and values of `data` and `notification`, in bytes. */
  readonly size: number
}

// -----------------------------------------------------------------------------
// Checks
// -----------------------------------------------------------------------------

const decode = Schema.decodeUnknownResult(Schema.toType(Message))

const issuesOf = SchemaIssue.makeFormatterStandardSchemaV1()

const shapeProblem = (message: unknown): Problem | undefined => {
  const result = decode(message)
  if (Result.isSuccess(result)) return undefined
  const first = issuesOf(result.failure.issue).issues[0]
  const path = (first?.path ?? []).map((step) => safeName(String(typeof step === "object" ? step.key : step)))
  const rule = (first?.message ?? "must be a message").replace(/^Expected /, "must be ")
    .replace(/must be object$/, "must be an object")
  return { field: path.length === 0 ? "message" : path.join("."), rule }
}

const jsonProblem = (message: unknown): Problem | undefined => {
  if (typeof message !== "object") return undefined
  const fault = faultIn(message)
  return fault === undefined
    ? undefined
    : { field: fault.path.length === 0 ? "message" : safeName(fault.path.join(".")), rule: fault.rule }
}

/** A lone surrogate, as `JSON.stringify` escapes it. UTF-8 can't encode it, and devices can't read it. */
const loneSurrogate = /(?<!\\)(?:\\\\)*\\ud[89a-f]/

const problemOf = (message: unknown, json: () => string): Problem | undefined =>
  shapeProblem(message) ?? jsonProblem(message) ??
    (loneSurrogate.test(json())
      ? { field: "message", rule: "must not have a lone surrogate: cut texts between characters" }
      : undefined)

const bytesOf = (part: Readonly<Record<string, unknown>> | undefined): number => {
  let size = 0
  for (const [key, value] of Object.entries(part ?? {})) {
    size += Buffer.byteLength(key) + (typeof value === "string" ? Buffer.byteLength(value) : 0)
  }
  return size
}

const encoded = (given: unknown): Result.Result<Encoded, Problem> => {
  const message = inCamelCase(given) as Message
  const problem = problemOf(message, () => JSON.stringify(message))
  if (problem !== undefined) return Result.fail(problem)
  const inner = JSON.stringify(message).slice(1, -1)
  return Result.succeed({
    suffix: Buffer.from(`${inner === "" ? "" : `,${inner}`}}}`),
    size: bytesOf(message.android?.data ?? message.data) + bytesOf(message.notification)
  })
}

/**
 * Makes the failure of a message that breaks a rule.
 *
 * @category constructors
 * @since 0.1.0
 */
export const invalid = (problem: Problem): FcmError.FcmError => FcmError.make(new FcmError.InvalidMessage(problem))

/** Runs code that reads a message, whose getters and proxies may throw. */
const readSafely = (message: unknown): Result.Result<Encoded, Problem> =>
  Result.getOrElse(
    callSafely(() => encoded(message)),
    (thrown) =>
      Result.fail({
        field: "message",
        rule: `must be readable, but a part of it throws ${describe(thrown).name ?? "an exception"}`
      })
  )

/**
 * The first rule that a message breaks, or `undefined`.
 *
 * @category functions
 * @since 0.1.0
 */
export const check = (message: Message): Problem | undefined => {
  const result = readSafely(message)
  return Result.isFailure(result) ? result.failure : undefined
}

/**
 * Encodes a message. Fails with `InvalidMessage`; it never throws, whatever the message
 * contains.
 *
 * @category functions
 * @since 0.1.0
 */
export const encode = (message: Message): Result.Result<Encoded, FcmError.FcmError> =>
  Result.mapError(readSafely(message), invalid)

/**
 * The largest size of a message to a device, and to a topic or condition, in bytes.
 *
 * @category constants
 * @since 0.1.0
 */
export const limits = { device: 4096, topic: 2048 } as const

/**
 * Why Google will probably refuse a message for its size, or `undefined`.
 *
 * @category functions
 * @since 0.1.0
 */
export const sizeWarning = ({ size }: Encoded, target: Target.Target): string | undefined => {
  const isTopic = target._tag === "Topic" || target._tag === "Condition"
  const limit = isTopic ? limits.topic : limits.device
  return size > limit
    ? `a message has ${size} bytes of data and notification, and Google accepts at most ${limit} to a ` +
      `${isTopic ? "topic" : "device"}: send less, such as the id of what the app can fetch`
    : undefined
}

// -----------------------------------------------------------------------------
// Bodies
// -----------------------------------------------------------------------------

const fields: ReadonlyArray<Target.Field> = ["token", "fid", "topic", "condition"]

const prefixes = (start: string): Readonly<Record<Target.Field, Buffer>> =>
  Object.fromEntries(fields.map((field) => [field, Buffer.from(`${start}"message":{"${field}":`)])) as never

const send = prefixes("{")

const validate = prefixes("{\"validate_only\":true,")

/** Texts of ASCII that JSON writes unchanged. */
const isPlainText = (text: string): boolean => /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/.test(text)

/**
 * The body of a request: the message for a target. `isDryRun`: Google checks it and sends nothing.
 *
 * @category functions
 * @since 0.1.0
 */
export const bodyOf = ({ suffix }: Encoded, target: Target.Target, isDryRun = false): Uint8Array => {
  const { field, value } = Target.fieldOf(target)
  const prefix = (isDryRun ? validate : send)[field]
  if (!isPlainText(value)) return Buffer.concat([prefix, Buffer.from(JSON.stringify(value)), suffix])
  const body = Buffer.allocUnsafe(prefix.length + value.length + 2 + suffix.length)
  body.set(prefix)
  body[prefix.length] = 0x22
  body.write(value, prefix.length + 1, "latin1")
  body[prefix.length + 1 + value.length] = 0x22
  body.set(suffix, prefix.length + value.length + 2)
  return body
}
