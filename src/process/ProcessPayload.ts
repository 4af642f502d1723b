/**
 * What a process job says: which program to run, and how.
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
 * Only `command` is required, and unknown keys are ignored. A string that the
 * operating system would cut short (one with a NUL) is refused, except as input.
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
 * How much of the end of each output stream is kept when a payload doesn't say: 16 KiB.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultOutputLimit = 16 * 1024

/**
 * The most that a payload may ask to keep of each output stream, where the worker's policy allows it: 16 MiB.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxOutputLimit = 16 * 1024 * 1024

const noNul = Schema.makeFilter<string>((text) => text.includes("\0") ? "Expected a string without NUL" : true)

const OsString = Schema.String.check(noNul)
const OsNonEmptyString = Schema.NonEmptyString.check(noNul)

// A check on the keys' schema would drop the keys that it refuses, without a word.
const Env = Schema.Record(Schema.String, Schema.NullOr(OsString)).check(
  Schema.makeFilter((env) =>
    Object.keys(env).some((name) => !/^[^=\0]+$/.test(name))
      ? "Expected names of environment variables: not empty, without \"=\" and NUL"
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
 * What to run, and how.
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
   * A program and its arguments, passed on unchanged, or one line for
   * `/bin/sh -c`. A program without a slash is looked up on the PATH of the
   * worker (never on one from `env`); a relative one with a slash starts at
   * `cwd`.
   */
  command: Schema.Union([
    Schema.TupleWithRest(Schema.Tuple([OsNonEmptyString]), [OsString]),
    OsNonEmptyString
  ]),
  /** The directory to run in. Default: the worker's. */
  cwd: Schema.optionalKey(OsNonEmptyString),
  /** Environment variables to set, or with `null` to unset. */
  env: Schema.optionalKey(Env),
  /** Does the process also get of the worker's environment what the worker's policy passes on? Default: true. */
  extendEnv: Schema.optionalKey(Schema.Boolean),
  /** What the process reads from its standard input: text, or bytes (`{"base64": ...}` on the wire). Default: nothing. */
  input: Schema.optionalKey(Input),
  /** How long the process may run; milliseconds on the wire. Default: for ever. */
  timeout: Schema.optionalKey(Timeout),
  /**
   * How many bytes of the end of each of stdout and stderr are kept; at most what
   * the worker's policy allows, and {@link maxOutputLimit}. Default: {@link defaultOutputLimit}.
   */
  outputLimit: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: maxOutputLimit }))),
  /**
   * Start the process and let it go: nobody waits for it, sees its output or
   * exit code, or ends it, so that `input` and `timeout` are refused. Default:
   * false.
   */
  detach: Schema.optionalKey(Schema.Boolean)
}).check(
  Schema.makeFilter((payload) =>
    payload.detach === true && (payload.input !== undefined || payload.timeout !== undefined)
      ? "Expected no input and no timeout together with detach: nobody stays to give or to watch them"
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
 * Checks a payload that was written by hand against the rules of the schema, and says which is broken.
 *
 * @category functions
 * @since 0.1.0
 */
export const validate = (payload: ProcessPayload): Result.Result<ProcessPayload, string> =>
  Result.mapError(decodeType(payload), (error) => safeLine(oneLine(error.message)))

/**
 * The program and its arguments, as the operating system gets them.
 *
 * @category functions
 * @since 0.1.0
 */
export const argv = (command: ProcessPayload["command"]): NonEmptyReadonlyArray<string> =>
  typeof command === "string" ? ["/bin/sh", "-c", command] : command
