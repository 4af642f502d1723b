/** Makes a notification small enough, for those who ask for it. */
import * as Result from "effect/Result"
import type * as ApnsError from "../answer/ApnsError.ts"
import { invalid, json } from "./Encoder.ts"
import type { Notification } from "./Notification.ts"
import type { Payload } from "./Payload.ts"
import { table } from "./PushType.ts"
import type { Problem } from "./rules.ts"
import { problem } from "./rules.ts"

const utf8 = new TextEncoder()

/** The bytes that a value has as JSON. */
const jsonBytes = (value: unknown): number => utf8.encode(JSON.stringify(value)).byteLength

/** The bytes that a text has within the quotes of JSON. */
const textBytes = (text: string): number => jsonBytes(text) - 2

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" })

const ellipsis = "\u2026"

/** The text of an alert that people read. */
const bodyOf = ({ aps }: Payload): string | undefined => {
  const alert = aps?.alert
  const body = typeof alert === "object" ? alert.body : alert
  return typeof body === "string" ? body : undefined
}

const withBody = (notification: Notification, body: string): Notification => {
  const { aps } = notification.payload
  const alert = typeof aps?.alert === "object" ? { ...aps.alert, body } : body
  return { ...notification, payload: { ...notification.payload, aps: { ...aps, alert } } }
}

/** The longest beginning, whole characters as people see them, that has at most so many bytes within the quotes of JSON. */
const beginning = (text: string, room: number): string => {
  let end = 0
  let used = 0
  for (const { index, segment } of graphemes.segment(text)) {
    used += textBytes(segment)
    if (used > room) break
    end = index + segment.length
  }
  return text.slice(0, end)
}

/**
 * How small is small enough.
 *
 * @category models
 * @since 0.1.0
 */
export interface FitOptions {
  /** The most that the payload may have, in bytes. Default: what the push type allows a push to a token. */
  readonly limit?: number | undefined
}

const fitted = (notification: Notification, limit: number, size: number): Result.Result<Notification, Problem> => {
  if (size <= limit) return Result.succeed(notification)
  const body = bodyOf(notification.payload)
  const room = body === undefined ? -1 : limit - (size - textBytes(body)) - textBytes(ellipsis)
  return body === undefined || room < 0
    ? Result.fail(problem(
      "payload",
      `it has ${size} bytes, ${limit} are allowed, and a shorter body of the alert doesn't help: shorten the rest`,
      "PayloadTooLarge"
    ))
    : Result.succeed(withBody(notification, beginning(body, room) + ellipsis))
}

/**
 * Shortens the body of the alert until the payload is within the limit of its
 * push type; a broadcast may have more, `Encoder.broadcastLimit`. The cut is between characters as people see them, and an ellipsis
 * shows it. Everything else stays; a notification that fits comes back as it
 * is.
 *
 * Fails with `InvalidNotification` where even a body of one ellipsis is too
 * much, there is no body to shorten, or it is no notification.
 *
 * @category functions
 * @since 0.1.0
 */
export const fit = (
  notification: Notification,
  options: FitOptions = {}
): Result.Result<Notification, ApnsError.ApnsError> =>
  Result.flatMap(json(notification), (json) => {
    const limit = options.limit ?? table[notification.pushType].limit
    return Number.isInteger(limit) && limit > 0
      ? fitted(notification, limit, utf8.encode(json).byteLength)
      : Result.fail(problem("limit", "it has to be a whole number of bytes"))
  }).pipe(Result.mapError(invalid))
