/**
 * The payload of a process job: the program to run, and how.
 *
 * The wire form is plain JSON, so that any language can publish it:
 *
 * ```json
 * {
 *   "command": ["convert", "in.png", "out.jpg"],
 *   "cwd": "/srv/images",
 *   "env": { "LANG": "C", "DISPLAY": null },
 *   "input": { "base64": "AAEC" },
 *   "timeout": 30000
 * }
 * ```
 *
 * Only `command` is required. Unknown keys are ignored. Strings with a NUL, which the
 * operating system would truncate, are refused, except as input.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as DurationInput from "../internal/durationInput.ts"
import { oneLine, safeLine } from "../internal/text.ts"

/**
 * The default of `outputLimit`, in bytes: 16 KiB.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultOutputLimit = 16 * 1024

/**
 * The maximum of `outputLimit`, in bytes: 16 MiB. The worker's policy may allow less.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxOutputLimit = 16 * 1024 * 1024

const noNul = Schema.makeFilter<string>((text) => text.includes("\0") ? "Expected a string without NUL" : true)

const OsString = Schema.String.check(noNul)
const OsNonEmptyString = Schema.NonEmptyString.check(noNul)

// A check on the schema of the keys would silently drop the refused ones.
const Env = Schema.Record(Schema.String, Schema.NullOr(OsString)).check(
  Schema.makeFilter((env) =>
    Object.keys(env).some((name) => !/^[^=\0]+$/.test(name))
      ? "Expected names of environment variables that are not empty and have no \"=\" and no NUL"
      : true
  )
)

const Input = Schema.Union([
  Schema.String,
  Schema.Struct({ base64: Schema.Uint8ArrayFromBase64 }).pipe(
    Schema.decodeTo(
      Schema.Uint8Array,
      SchemaTransformation.transform({
        decode: ({ base64 }) => base64,
        encode: (bytes) => ({ base64: bytes })
      })
    )
  )
])

const isTimeout = (duration: Duration.Duration): boolean => Duration.isFinite(duration) && Duration.isPositive(duration)

const Timeout = Schema.Finite.check(Schema.isGreaterThan(0)).pipe(
  Schema.decodeTo(
    Schema.declare(
      (u): u is Duration.Input => Option.exists(DurationInput.fromInput(u as Duration.Input), isTimeout),
      { expected: "a finite duration of more than 0" }
    ),
    SchemaTransformation.transform<Duration.Input, number>({
      decode: (millis) => Duration.millis(millis),
      encode: (input) => Duration.toMillis(input)
    })
  )
)

/**
 * The program to run, and how.
 *
 * **Example**
 *
 * ```ts
 * const payload: ProcessPayload = { command: ["sh", "-c", "sleep 1; date"], timeout: "5 seconds" }
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export const ProcessPayload = Schema.Struct({
  /**
   * A program and its arguments, passed unchanged, or a line for `/bin/sh -c`. A program
   * without a slash is looked up on the worker's PATH, never on one from `env`. A
   * relative path with a slash starts at `cwd`.
   */
  command: Schema.Union([
    Schema.TupleWithRest(Schema.Tuple([OsNonEmptyString]), [OsString]),
    OsNonEmptyString
  ]),
  /** The working directory. Default: the worker's. */
  cwd: Schema.optionalKey(OsNonEmptyString),
  /** Environment variables to set, or to unset with `null`. */
  env: Schema.optionalKey(Env),
  /** Whether the process also gets the worker's variables that the policy passes on. Default: true. */
  extendEnv: Schema.optionalKey(Schema.Boolean),
  /** The standard input: text, or bytes (`{"base64": ...}` on the wire). Default: empty. */
  input: Schema.optionalKey(Input),
  /** How long the process may run; milliseconds on the wire. Default: unlimited. */
  timeout: Schema.optionalKey(Timeout),
  /**
   * How many bytes of the end of stdout and of stderr are kept. At most the limit of the
   * worker's policy and {@link maxOutputLimit}. Default: {@link defaultOutputLimit}.
   */
  outputLimit: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: maxOutputLimit }))),
  /**
   * Whether the job is done as soon as the process has started. Its output and exit code
   * are unknown, and backq does not end it, so `input` and `timeout` are refused. Default:
   * false.
   */
  detach: Schema.optionalKey(Schema.Boolean)
}).check(
  Schema.makeFilter((payload) =>
    payload.detach === true && (payload.input !== undefined || payload.timeout !== undefined)
      ? "Expected no input and no timeout with detach: backq can't pass the input or keep the timeout"
      : true
  )
)

/**
 * The decoded {@link ProcessPayload}.
 *
 * @category models
 * @since 0.1.0
 */
export type ProcessPayload = typeof ProcessPayload.Type

const decodeType = Schema.decodeUnknownResult(Schema.toType(ProcessPayload))

/**
 * Checks a payload against its schema. The failure names the broken rule.
 *
 * @category functions
 * @since 0.1.0
 */
export const validate = (payload: ProcessPayload): Result.Result<ProcessPayload, string> =>
  Result.mapError(decodeType(payload), (error) => safeLine(oneLine(error.message)))

/**
 * The program and its arguments for the operating system.
 *
 * @category functions
 * @since 0.1.0
 */
export const argv = (command: ProcessPayload["command"]): NonEmptyReadonlyArray<string> =>
  typeof command === "string" ? ["/bin/sh", "-c", command] : command
