/**
 * Shows a job to an operator: its envelope, its payload, and its failures. Text
 * of the body is escaped, so it can't control a terminal. Pure.
 */
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import * as Envelope from "../../Envelope.ts"
import type { ListedJob } from "../../Inspector.ts"
import { clip, safeLine, safeName } from "../../internal/text.ts"
import { formatTime } from "../../internal/time.ts"
import { safeBytes, shortDuration, utf8 } from "./text.ts"

/** At most this many characters of a payload are shown. */
const maxShownChars = 4000

/** A payload of more characters is not pretty-printed before it is clipped. */
const maxPrettyChars = 10 * maxShownChars

/**
 * A payload with more levels is shown as text. Some JSON parsers accept no more
 * levels, and a much deeper payload can't be encoded again at all.
 */
const maxLevels = 200

const isDeeper = (value: unknown, levels: number): boolean =>
  typeof value === "object" && value !== null &&
  (levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1)))

const tooDeep = `its payload is nested more than ${maxLevels} levels deep`

/** The envelope with the numbers of its payload as published; `undefined` if it is nested too deeply. */
const asPublished = (body: Uint8Array, envelope: Envelope.Envelope): Envelope.Envelope | undefined =>
  isDeeper(envelope.payload, maxLevels)
    ? undefined
    : { ...envelope, payload: Envelope.exactPayload(body, envelope) }

const layOut = (payload: unknown): string => {
  const line = JSON.stringify(payload) ?? "none"
  return line.length > maxPrettyChars ? line : JSON.stringify(payload, null, 2) ?? line
}

const ago = (millis: number, now: number): string => {
  const passed = now - millis
  return passed < 0
    ? `${formatTime(millis)}, in ${shortDuration(Duration.millis(-passed))}`
    : `${formatTime(millis)}, ${shortDuration(Duration.millis(passed))} ago`
}

const stateOf = ({ state, timeLeft }: ListedJob): string => {
  switch (state) {
    case "delayed":
      return `delayed, ready in ${shortDuration(timeLeft)}`
    case "reserved":
      return `reserved, its lease ends in ${shortDuration(timeLeft)}`
    default:
      return state
  }
}

const counted = ({ abandoned, attempt, buries, priority, ttr }: ListedJob): string =>
  [
    `attempt ${attempt}`,
    ...(abandoned > 0 ? [`abandoned ${abandoned === 1 ? "once" : `${abandoned} times`}`] : []),
    ...(buries > 0 ? [`buried ${buries === 1 ? "once" : `${buries} times`}`] : []),
    `priority ${priority}`,
    `ttr ${shortDuration(ttr)}`
  ].join(", ")

type Field = readonly [name: string, value: string]

const envelopeFields = (envelope: Envelope.Envelope, now: number): ReadonlyArray<Field> => [
  ["job", `${safeName(envelope.job)}${envelope.version === undefined ? "" : `, version ${envelope.version}`}`],
  ["envelope", safeName(envelope.id)],
  ...(envelope.publishedAt === undefined ? [] : [["published", ago(envelope.publishedAt, now)] as const]),
  ...(envelope.expiresAt === undefined ? [] : [["expires", ago(envelope.expiresAt, now)] as const]),
  ["payload", clip(layOut(envelope.payload), maxShownChars)]
]

const bodyFields = (body: Uint8Array, why: string): ReadonlyArray<Field> => [
  ["body", `${body.length} bytes; ${why}`],
  ["", clip(safeBytes(body), maxShownChars)]
]

const failureFields = ({ finishedAt, lastFailure, reason }: ListedJob, now: number): ReadonlyArray<Field> => [
  ...(finishedAt === undefined ? [] : [["done", ago(finishedAt, now)] as const]),
  ...(reason === undefined ? [] : [["reason", safeLine(reason)] as const]),
  ...(lastFailure === undefined ? [] : [
    ["failure", `${safeLine(`${lastFailure.tag}: ${lastFailure.message}`)} (${ago(lastFailure.at, now)})`] as const
  ])
]

const fieldsOf = (body: Uint8Array, now: number): ReadonlyArray<Field> => {
  const read = Envelope.decode(body)
  if (Result.isFailure(read)) return bodyFields(body, safeLine(read.failure))
  const envelope = asPublished(body, read.success)
  return envelope === undefined ? bodyFields(body, tooDeep) : envelopeFields(envelope, now)
}

/** A job as lines of text. */
const showJob = (job: ListedJob, now: number): ReadonlyArray<string> => {
  const fields: ReadonlyArray<Field> = [
    ["put", `${shortDuration(job.age)} ago`],
    ["counts", counted(job)],
    ...failureFields(job, now),
    ...fieldsOf(job.body, now)
  ]
  const lines = fields.flatMap(([name, value]) =>
    value.split("\n").map((line, index) => `  ${(index === 0 ? name : "").padEnd(10)}${line}`)
  )
  return [`${job.id}  ${stateOf(job)}, in ${job.queue}`, ...lines]
}

/** Jobs as lines of text. */
export const showJobs = (jobs: ReadonlyArray<ListedJob>, now: number): ReadonlyArray<string> =>
  jobs.flatMap((job, index) => [...(index === 0 ? [] : [""]), ...showJob(job, now)])

const encodeBody = (body: Uint8Array) => {
  const envelope = Envelope.decode(body)
  if (Result.isSuccess(envelope)) {
    const shown = asPublished(body, envelope.success)
    return shown === undefined
      ? { unshown: tooDeep, body: clip(utf8(body)!, maxShownChars) }
      : { envelope: shown }
  }
  const text = utf8(body)
  return {
    undecodable: envelope.failure,
    ...(text === undefined ? { base64: Buffer.from(body).toString("base64") } : { body: text })
  }
}

/**
 * A job as JSON. A body that is not an envelope is text, or base64 if it is not
 * UTF-8. If the payload is nested too deeply, the body is the start of its text.
 */
export const encodeJob = (job: ListedJob) => ({
  id: job.id,
  queue: job.queue,
  state: job.state,
  attempt: job.attempt,
  abandoned: job.abandoned,
  buries: job.buries,
  priority: job.priority,
  ttr: Duration.toMillis(job.ttr),
  age: Duration.toMillis(job.age),
  timeLeft: Duration.toMillis(job.timeLeft),
  finishedAt: job.finishedAt ?? null,
  reason: job.reason ?? null,
  lastFailure: job.lastFailure ?? null,
  ...encodeBody(job.body)
})
