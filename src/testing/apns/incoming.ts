/** Requests as APNs gets them, and what can be read from them. Pure. */
import * as Result from "effect/Result"
import type { Reason } from "../../push/apns/index.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** A request, read to its end. */
export interface Incoming {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string | undefined>>
  /** Names and values in turn, as they came. */
  readonly rawHeaders: ReadonlyArray<string>
  /** The body, or its first part where it is over every limit. */
  readonly body: string
  /** The size of the whole body in bytes. */
  readonly size: number
}

/** Why a request is refused. */
export interface Refusal {
  readonly reason: Reason.Reason
  /** When a token died: milliseconds since the epoch. */
  readonly timestamp?: number
}

/** What a request asks for. */
export type Kind = "push" | "broadcast" | "channels" | "unknown"

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

const devicePath = "/3/device/"
const broadcastPath = "/4/broadcasts/apps/"
const channelsPath = /^\/1\/apps\/[^/]*\/(all-)?channels$/

/** What a request asks for, by its path. */
export const kindOf = (path: string): Kind => {
  if (path.startsWith(devicePath)) return "push"
  if (path.startsWith(broadcastPath)) return "broadcast"
  return channelsPath.test(path) ? "channels" : "unknown"
}

/** The device token that a push is for. */
export const tokenOf = (path: string): string => path.slice(devicePath.length)

/** The app of a request about its channels, by bundle id. */
export const appOf = (path: string): string => /^\/(?:1|4\/broadcasts)\/apps\/([^/]*)/.exec(path)?.[1] ?? ""

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** Is it the form of an `apns-id`? */
export const isUuid = (text: string): boolean => uuid.test(text)

/** The value of a JSON text, or `undefined`. */
export const parseJson = (text: string): unknown => Result.getOrUndefined(Result.try((): unknown => JSON.parse(text)))
