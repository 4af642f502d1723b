/** Requests to the simulator, and functions that read them. Pure. */
import type { Reason } from "../../push/apns/index.ts"
import type { Connection } from "../push/index.ts"

/** A complete request. */
export type Incoming = Omit<Connection.Incoming, "bytes">

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** Why the simulator refuses a request. */
export interface Refusal {
  readonly reason: Reason.Reason
  /** When a token died, in milliseconds since the epoch. */
  readonly timestamp?: number
}

/** The kind of a request. */
export type Kind = "push" | "broadcast" | "channels" | "unknown"

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

const devicePath = "/3/device/"
const broadcastPath = "/4/broadcasts/apps/"
const channelsPath = /^\/1\/apps\/[^/]*\/(all-)?channels$/

/** The kind of a request, by its path. */
export const kindOf = (path: string): Kind => {
  if (path.startsWith(devicePath)) return "push"
  if (path.startsWith(broadcastPath)) return "broadcast"
  return channelsPath.test(path) ? "channels" : "unknown"
}

/** The device token of a push, by its path. */
export const tokenOf = (path: string): string => path.slice(devicePath.length)

/** The bundle id of a broadcast or a request about channels, by its path. */
export const appOf = (path: string): string => /^\/(?:1|4\/broadcasts)\/apps\/([^/]*)/.exec(path)?.[1] ?? ""

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** Whether a text has the form of an `apns-id`. */
export const isUuid = (text: string): boolean => uuid.test(text)
