/** Shortens a notification to the size that Apple allows. */
import * as Result from "effect/Result"
import type * as ApnsError from "../answer/ApnsError.ts"
import { invalid, json } from "./Encoder.ts"
import type { Notification } from "./Notification.ts"
import type { Payload } from "./Payload.ts"
import { table } from "./PushType.ts"
import type { Problem } from "./rules.ts"
import { problem } from "./rules.ts"

const utf8 = new TextEncoder()

/** The size of a value as JSON, in bytes. */
const jsonBytes = (value: unknown): number => utf8.encode(JSON.stringify(value)).byteLength

/** The size of a text inside the quotes of JSON, in bytes. */
const textBytes = (text: string): number => jsonBytes(text) - 2

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" })

const ellipsis = "\u2026"

/** The alert's body. */
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

/** The longest prefix of whole graphemes that has at most `room` bytes inside the quotes of JSON. */
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
 * The options of {@link fit}.
 *
 * @category models
 * @since 0.1.0
 */
export interface FitOptions {
  /** The maximum size of the payload, in bytes. Default: the limit of the push type. */
  readonly limit?: number | undefined
}

const fitted = (notification: Notification, limit: number, size: number): Result.Result<Notification, Problem> => {
  if (size <= limit) return Result.succeed(notification)
  const body = bodyOf(notification.payload)
  const room = body === undefined ? -1 : limit - (size - textBytes(body)) - textBytes(ellipsis)
  return body === undefined || room < 0
    ? Result.fail(problem(
      "payload",
      `must have at most ${limit} bytes, not ${size}, and a shorter alert body does not suffice: shorten the rest`,
      "PayloadTooLarge"
    ))
    : Result.succeed(withBody(notification, beginning(body, room) + ellipsis))
}

/**
 * Shortens the alert's body until the payload is within the limit of its push type. For
 * a broadcast pass `Encoder.broadcastLimit`. It cuts between graphemes and adds an
 * ellipsis. Everything else stays, and a notification that fits is returned unchanged.
 *
 * Fails with `InvalidNotification` if a body of one ellipsis is still too large, if
 * there is no body, or if it is not a notification.
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
      : Result.fail(problem("limit", "must be a whole number of bytes, greater than 0"))
  }).pipe(Result.mapError(invalid))
