/**
 * The messages of a connection: requests, responses, and the peer's GOAWAY. Plain
 * data.
 */
import type * as Result from "effect/Result"
import { clip, safeLine } from "../internal/text.ts"
import { codeName } from "./frame/frame.ts"
import type { Http2Error } from "./Http2Error.ts"

/** Messages show at most this much of each text of a peer. */
const maxShownChars = 300

/** A header of a request. */
export interface Header {
  /** In lower case. */
  readonly name: string
  readonly value: string
  /**
   * Whether the peer may store the header in its HPACK table; the next use then
   * costs one byte. `true` for values that repeat, `false` for values that differ
   * in each request, `"never"` for secrets that proxies must not store either
   * (RFC 7541, section 7.1.3). Default: false.
   */
  readonly index?: boolean | "never" | undefined
}

/** A request with its whole body. The connection adds `:scheme` and `:authority`. */
export interface Request {
  readonly method: string
  readonly path: string
  /**
   * Headers that many requests have in common. The connection encodes them once
   * per array, by identity: pass the same array each time, and never change it.
   */
  readonly shared?: ReadonlyArray<Header> | undefined
  /** Headers of this request. */
  readonly headers?: ReadonlyArray<Header> | undefined
  readonly body?: Uint8Array | undefined
}

/** The whole response to a request. */
export interface Response {
  readonly status: number
  /** In the order of arrival, with names in lower case and without `:status`. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  readonly body: Uint8Array
}

/** The value of a header, by its name in lower case. */
export const header = (headers: Response["headers"], name: string): string | undefined => {
  for (const field of headers) if (field[0] === name) return field[1]
  return undefined
}

/** How a request ended: with a response or a failure. */
export type Answer = Result.Result<Response, Http2Error>

/** A submitted request, as the handle for `cancel`. */
export interface Submitted {
  /** True once the request has its answer, or was cancelled. */
  readonly isSettled: boolean
}

/** The peer's announcement that it accepts no more requests, from one GOAWAY or several. RFC 9113, section 6.8. */
export interface Goaway {
  /** The peer did not process streams above this one. */
  readonly lastStreamId: number
  /** The last error code that is not 0; 0 for a peer that stops without an error. */
  readonly code: number
  /**
   * The last debug data that are not empty, as text. Apple sends a JSON object with a `reason`. The text is raw:
   * escape it before you show it.
   */
  readonly debug: string
  /** Other debug data that arrived before, if any. */
  readonly earlier?: ReadonlyArray<string>
}

/** All debug data of a peer's GOAWAY frames: the last, then the others in the order of arrival. */
export const textsOf = ({ debug, earlier = [] }: Goaway): ReadonlyArray<string> => [debug, ...earlier]

/** A GOAWAY as text for messages. */
export const goawayDetail = (goaway: Goaway): string => {
  const texts = textsOf(goaway).filter((text) => text !== "").map((text) => safeLine(clip(text, maxShownChars)))
  return `it closes the connection (${[`GOAWAY ${codeName(goaway.code)}`, ...texts].join(", ")})`
}

/** Why a connection closed. */
export interface Ending {
  readonly detail: string
  readonly goaway: Goaway | undefined
  readonly cause?: unknown
  /** Why the peer rejects our certificate, if the connection closed for that. TLS 1.3 reports it after the handshake. */
  readonly rejection?: Http2Error
}

/** Options of one request. */
export interface SubmitOptions {
  /** The request's timeout, in milliseconds, more than 0. Default: the connection's `requestTimeout`. */
  readonly timeout?: number | undefined
}
