/**
 * The bodies of the replies to beanstalkd's `stats*` and `list-*` commands.
 *
 * They look like YAML, but a YAML parser would misread them: a tube may be named
 * `1e5` or `null`, an operating system `#1 SMP`. A line is a key, a colon, a space
 * and text, which may be in double quotes (since 1.13). The schemas here set the
 * type of each value. A number must be digits without leading zeros, within its
 * limit.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { oneLine } from "../../internal/text.ts"

const marker = "---\n"

const unquote = (text: string): string =>
  text.length >= 2 && text.startsWith("\"") && text.endsWith("\"") ? text.slice(1, -1) : text

const linesOf = (body: Uint8Array): ReadonlyArray<string> | undefined => {
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8")
  return text.startsWith(marker) ? text.slice(marker.length).split("\n").filter((line) => line !== "") : undefined
}

/** Parses lines of `key: value`. `undefined` for any other text. */
export const parseDictionary = (body: Uint8Array): Record<string, string> | undefined => {
  const lines = linesOf(body)
  if (lines === undefined) return undefined
  const dictionary: Record<string, string> = {}
  for (const line of lines) {
    const colon = line.indexOf(":")
    if (colon <= 0) return undefined
    dictionary[line.slice(0, colon)] = unquote(line.slice(colon + 1).trim())
  }
  return dictionary
}

/** Parses lines of `- value`. `undefined` for any other text. */
export const parseList = (body: Uint8Array): ReadonlyArray<string> | undefined => {
  const lines = linesOf(body)
  return lines !== undefined && lines.every((line) => line.startsWith("- "))
    ? lines.map((line) => unquote(line.slice(2).trim()))
    : undefined
}

/** A number as the server writes it, at most `max`. */
const number = (pattern: RegExp, max: number) =>
  Schema.String.pipe(
    Schema.check(Schema.isPattern(pattern, { message: "Expected a number in digits" })),
    Schema.decodeTo(Schema.Finite, SchemaTransformation.numberFromString),
    Schema.check(Schema.isLessThanOrEqualTo(max))
  )

const integer = /^(0|[1-9]\d{0,19})$/

/** A 64-bit counter. */
const Count = number(integer, 2 ** 64)
/** A 32-bit number. */
const Uint32 = number(integer, 4294967295)
/** CPU time in seconds, with a fraction. */
const Seconds = number(/^\d{1,20}(\.\d{1,9})?$/, 2 ** 64)
/** The size limit of jobs in bytes. beanstalkd's `-z` allows no more. */
const Size = number(integer, 1073741824)
/** Whole seconds past or left. Negative, and read as 0, after a clock was set or if the server is late. */
const Elapsed = number(/^-?(0|[1-9]\d{0,19})$/, 2 ** 64).pipe(
  Schema.decode({ decode: SchemaGetter.transform((value) => Math.max(0, value)), encode: SchemaGetter.passthrough() })
)

/** The reply to `stats-job`. Times are in whole seconds. */
export const JobStats = Schema.Struct({
  id: Schema.String,
  tube: Schema.String,
  state: Schema.Literals(["ready", "delayed", "reserved", "buried"]),
  pri: Uint32,
  age: Elapsed,
  delay: Uint32,
  ttr: Uint32,
  "time-left": Elapsed,
  file: Count,
  reserves: Uint32,
  timeouts: Uint32,
  releases: Uint32,
  buries: Uint32,
  kicks: Uint32
})

/** The decoded {@link JobStats}. */
export type JobStats = typeof JobStats.Type

/** The reply to `stats-tube`. Times are in whole seconds. */
export const TubeStats = Schema.Struct({
  name: Schema.String,
  "current-jobs-urgent": Count,
  "current-jobs-ready": Count,
  "current-jobs-reserved": Count,
  "current-jobs-delayed": Count,
  "current-jobs-buried": Count,
  "total-jobs": Count,
  "current-using": Count,
  "current-watching": Count,
  "current-waiting": Count,
  "cmd-delete": Count,
  "cmd-pause-tube": Count,
  pause: Uint32,
  "pause-time-left": Elapsed
})

/** The decoded {@link TubeStats}. */
export type TubeStats = typeof TubeStats.Type

/** The reply to `stats`, without the counters of each command. Times are in seconds. */
export const ServerStats = Schema.Struct({
  "current-jobs-urgent": Count,
  "current-jobs-ready": Count,
  "current-jobs-reserved": Count,
  "current-jobs-delayed": Count,
  "current-jobs-buried": Count,
  "job-timeouts": Count,
  "total-jobs": Count,
  "max-job-size": Size,
  "current-tubes": Count,
  "current-connections": Count,
  "current-producers": Count,
  "current-workers": Count,
  "current-waiting": Count,
  "total-connections": Count,
  pid: Count,
  version: Schema.String,
  "rusage-utime": Seconds,
  "rusage-stime": Seconds,
  uptime: Elapsed,
  "binlog-oldest-index": Count,
  "binlog-current-index": Count,
  "binlog-records-migrated": Count,
  "binlog-records-written": Count,
  "binlog-max-size": Count,
  draining: Schema.Literals(["true", "false"]),
  id: Schema.String,
  hostname: Schema.optionalKey(Schema.String),
  os: Schema.optionalKey(Schema.String),
  platform: Schema.optionalKey(Schema.String)
})

/** The decoded {@link ServerStats}. */
export type ServerStats = typeof ServerStats.Type

const decoder = <A, I>(schema: Schema.Codec<A, I>) => {
  const decode = Schema.decodeUnknownResult(schema)
  return (body: Uint8Array): Result.Result<A, string> => {
    const dictionary = parseDictionary(body)
    return dictionary === undefined
      ? Result.fail("the statistics are not lines of the form \"key: value\"")
      : Result.mapError(decode(dictionary), (error) => `the statistics are not as expected: ${oneLine(error.message)}`)
  }
}

/** Decodes the reply to `stats-job`. The failure is the reason. */
export const decodeJobStats = decoder(JobStats)

/** Decodes the reply to `stats-tube`. The failure is the reason. */
export const decodeTubeStats = decoder(TubeStats)

/** Decodes the reply to `stats`. The failure is the reason. */
export const decodeServerStats = decoder(ServerStats)
