/**
 * A job as an operator sees it: the envelope decoded, the payload shown, what it
 * failed with. What comes from the body can do nothing to a terminal. Pure.
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { ListedJob } from "../Broker.ts"
import * as Envelope from "../Envelope.ts"
import { clip, safeLine, safeLines } from "../internal/text.ts"
import { safeBytes, shortDuration, utf8 } from "./text.ts"

/** How much of a payload people are shown. */
const shownPayload = 4000

const time = (millis: number): string =>
  Option.match(DateTime.make(millis), { onNone: () => `${millis}`, onSome: DateTime.formatIso })

const ago = (millis: number, now: number): string => {
  const passed = now - millis
  return passed < 0
    ? `${time(millis)}, in ${shortDuration(Duration.millis(-passed))}`
    : `${time(millis)}, ${shortDuration(Duration.millis(passed))} ago`
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

const counted = ({ attempt, buries, lost, priority, ttr }: ListedJob): string =>
  [
    `attempt ${attempt}`,
    ...(lost > 0 ? [`${lost} lost`] : []),
    ...(buries > 0 ? [`buried ${buries === 1 ? "once" : `${buries} times`}`] : []),
    `priority ${priority}`,
    `ttr ${shortDuration(ttr)}`
  ].join(", ")

type Field = readonly [name: string, value: string]

const envelopeFields = (envelope: Envelope.Envelope, now: number): ReadonlyArray<Field> => [
  ["job", safeLine(`${envelope.job}${envelope.version === undefined ? "" : `, version ${envelope.version}`}`)],
  ["envelope", safeLine(envelope.id)],
  ...(envelope.publishedAt === undefined ? [] : [["published", ago(envelope.publishedAt, now)] as const]),
  ...(envelope.expiresAt === undefined ? [] : [["expires", ago(envelope.expiresAt, now)] as const]),
  ["payload", clip(safeLines(JSON.stringify(envelope.payload, null, 2) ?? "none"), shownPayload)]
]

const bodyFields = (body: Uint8Array, why: string): ReadonlyArray<Field> => [
  ["body", `${body.length} bytes; ${safeLine(why)}`],
  ["", clip(safeBytes(body), shownPayload)]
]

const failureFields = ({ finishedAt, lastFailure, reason }: ListedJob, now: number): ReadonlyArray<Field> => [
  ...(finishedAt === undefined ? [] : [["done", ago(finishedAt, now)] as const]),
  ...(reason === undefined ? [] : [["reason", safeLine(reason)] as const]),
  ...(lastFailure === undefined ? [] : [
    ["failure", `${safeLine(`${lastFailure.tag}: ${lastFailure.message}`)} (${ago(lastFailure.at, now)})`] as const
  ])
]

/** The envelope with the numbers of its payload as they were published. */
const envelopeOf = (body: Uint8Array): Result.Result<Envelope.Envelope, string> =>
  Result.flatMap(Envelope.decode(body), (envelope) =>
    Result.try({
      try: () => ({ ...envelope, payload: Envelope.exactPayload(body, envelope) }),
      catch: () => "the payload is nested too deeply"
    }))

/** A job for people, over several lines. */
export const showJob = (job: ListedJob, now: number): string => {
  const envelope = envelopeOf(job.body)
  const fields: ReadonlyArray<Field> = [
    ["put", `${shortDuration(job.age)} ago`],
    ["counts", counted(job)],
    ...failureFields(job, now),
    ...(Result.isSuccess(envelope)
      ? envelopeFields(envelope.success, now)
      : bodyFields(job.body, envelope.failure))
  ]
  const lines = fields.map(([name, value]) => `  ${name.padEnd(10)}${value.replaceAll("\n", `\n${" ".repeat(12)}`)}`)
  return [`${job.id}  ${stateOf(job)}, in ${job.queue}`, ...lines].join("\n")
}

const encodeBody = (body: Uint8Array) => {
  const envelope = envelopeOf(body)
  if (Result.isSuccess(envelope)) return { envelope: envelope.success }
  const text = utf8(body)
  return {
    undecodable: envelope.failure,
    ...(text === undefined ? { base64: Buffer.from(body).toString("base64") } : { body: text })
  }
}

/** A job as JSON. A body that is no envelope is text, or base64 where it is no text. */
export const encodeJob = (job: ListedJob) => ({
  id: job.id,
  queue: job.queue,
  state: job.state,
  attempt: job.attempt,
  lost: job.lost,
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
