/**
 * What goes over a connection and what comes back: requests, answers, and what a
 * peer says when it leaves. Plain data.
 */
import type * as Result from "effect/Result"
import { clip, safeLine } from "../internal/text.ts"
import { codeName } from "./frame/frame.ts"
import type { Http2Error } from "./Http2Error.ts"

/** How many characters of each text of a peer are shown. */
const maxShownChars = 300

/** A header of a request. */
export interface Header {
  /** In lower case. */
  readonly name: string
  readonly value: string
  /**
   * May it be remembered by the peer, so that it costs one byte the next time?
   * `true` for values that come again and again; `false` for those that differ
   * in each request; `"never"` for secrets that no one on the way may remember
   * either. Default: false.
   */
  readonly index?: boolean | "never" | undefined
}

/** A request with its whole body. `:scheme` and `:authority` are the connection's. */
export interface Request {
  readonly method: string
  readonly path: string
  /**
   * Headers that many requests have in common. They are encoded once per
   * array, by identity: make the array once and pass the same one each time.
   * It must not be changed afterwards.
   */
  readonly shared?: ReadonlyArray<Header> | undefined
  /** Headers of this request. */
  readonly headers?: ReadonlyArray<Header> | undefined
  readonly body?: Uint8Array | undefined
}

/** The whole answer to a request. */
export interface Response {
  readonly status: number
  /** In the order in which they came, names in lower case, without `:status`. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  readonly body: Uint8Array
}

/** How a request ended. */
export type Answer = Result.Result<Response, Http2Error>

/** A request under way, as its handle for `cancel`. */
export interface Submitted {
  /** True once it was answered. */
  readonly isSettled: boolean
}

/** What the peer said when it took no more requests, in one GOAWAY or in several. RFC 9113, section 6.8. */
export interface Goaway {
  /** Streams above this one were not processed. */
  readonly lastStreamId: number
  /** The last one that tells of an error; 0 for a peer that just stops. */
  readonly code: number
  /**
   * The last debug data that are not empty, as text: for Apple a JSON object with a `reason`. It is what the peer sent,
   * with whatever characters: not to be shown as it is.
   */
  readonly debug: string
  /** Other debug data that came before, if any did. */
  readonly earlier?: ReadonlyArray<string>
}

/** All that a peer said when it left: its last word, and then the others as they came. */
export const textsOf = ({ debug, earlier = [] }: Goaway): ReadonlyArray<string> => [debug, ...earlier]

/** A GOAWAY in words, for messages. */
export const goawayDetail = (goaway: Goaway): string => {
  const texts = textsOf(goaway).filter((text) => text !== "").map((text) => safeLine(clip(text, maxShownChars)))
  return `it is closing the connection (${[`GOAWAY ${codeName(goaway.code)}`, ...texts].join(", ")})`
}

/** Why a connection ended. */
export interface Ending {
  readonly detail: string
  readonly goaway: Goaway | undefined
  readonly cause?: unknown
  /** What the peer has against our certificate, where it said so as its last word: TLS 1.3 tells it that late. */
  readonly rejection?: Http2Error
}

/** Options of one request. */
export interface SubmitOptions {
  /** How long the answer may take, in milliseconds; more than 0. Default: the connection's `requestTimeout`. */
  readonly timeout?: number | undefined
}
