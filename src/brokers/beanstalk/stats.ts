/**
 * The bodies of beanstalkd's `stats*` and `list-*` replies.
 *
 * They look like YAML and are not read as YAML: a tube may be named `1e5` or
 * `null`, an operating system `#1 SMP`. A line is a key, a colon, a space and
 * text; the text may stand in double quotes (since 1.13). What type a value
 * has is said here, not guessed from how it looks; a number is digits, without
 * leading zeros, and no larger than it can be.
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

/** Reads `key: value` lines. Undefined when it is something else. */
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

/** Reads `- value` lines. Undefined when it is something else. */
export const parseList = (body: Uint8Array): ReadonlyArray<string> | undefined => {
  const lines = linesOf(body)
  return lines !== undefined && lines.every((line) => line.startsWith("- "))
    ? lines.map((line) => unquote(line.slice(2).trim()))
    : undefined
}

/** A number as the server writes it, no larger than it can be. */
const number = (pattern: RegExp, max: number) =>
  Schema.String.pipe(
    Schema.check(Schema.isPattern(pattern, { message: "Expected a number in digits" })),
    Schema.decodeTo(Schema.Finite, SchemaTransformation.numberFromString),
    Schema.check(Schema.isLessThanOrEqualTo(max))
  )

const integer = /^(0|[1-9]\d{0,19})$/

/** A counter of 64 bits. */
const Count = number(integer, 2 ** 64)
/** A number of 32 bits. */
const Uint32 = number(integer, 4294967295)
/** CPU time, with its parts of a second. */
const Seconds = number(/^\d{1,20}(\.\d{1,9})?$/, 2 ** 64)
/** Bytes that a job may have: beanstalkd's `-z` goes no further. */
const Size = number(integer, 1073741824)
/** Whole seconds that have gone by, or are left: less than none when a clock was set, or a server is late. */
const Elapsed = number(/^-?(0|[1-9]\d{0,19})$/, 2 ** 64).pipe(
  Schema.decode({ decode: SchemaGetter.transform((value) => Math.max(0, value)), encode: SchemaGetter.passthrough() })
)

/** What `stats-job` says. Times are in whole seconds. */
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

/** What `stats-job` says. */
export type JobStats = typeof JobStats.Type

/** What `stats-tube` says. Times are in whole seconds. */
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

/** What `stats-tube` says. */
export type TubeStats = typeof TubeStats.Type

/** What `stats` says, without the counters of the single commands. Times are in seconds. */
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

/** What `stats` says. */
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

/** Decodes the body of a `stats-job` reply, or says what is wrong with it. */
export const decodeJobStats = decoder(JobStats)

/** Decodes the body of a `stats-tube` reply, or says what is wrong with it. */
export const decodeTubeStats = decoder(TubeStats)

/** Decodes the body of a `stats` reply, or says what is wrong with it. */
export const decodeServerStats = decoder(ServerStats)
