/** The failures of requests. Each says why, and whether the peer can have processed the request. */
import { Code, codeName } from "../frame/frame.ts"
import * as Http2Error from "../Http2Error.ts"
import { type Goaway, goawayDetail } from "../Message.ts"
import type { Exchange } from "./exchange.ts"

/** Why a connection closed. */
interface End {
  readonly detail: string
  /** The error code of a GOAWAY, of the peer or of this client. */
  readonly code?: number
  readonly cause?: unknown
}

const { make } = Http2Error

/** The connection closed or retired before the request left. */
export const notSent = (server: string, { cause, detail }: End): Http2Error.Http2Error =>
  make(new Http2Error.NotSent({ server, detail, ...(cause === undefined ? {} : { cause }) }))

/** The connection closed after the request left. */
export const lost = (server: string, { cause, code, detail }: End): Http2Error.Http2Error =>
  make(
    new Http2Error.Unknown({
      server,
      detail,
      ...(code === undefined ? {} : { code }),
      ...(cause === undefined ? {} : { cause })
    })
  )

/** The response breaks a rule or a limit. */
export const unreadable = (
  server: string,
  code: number,
  what: string,
  goaway: Goaway | undefined
): Http2Error.Http2Error =>
  make(new Http2Error.Unknown({ server, code, detail: afterGoaway(goaway, `it sent ${what}`) }))

/** The peer says that it did not process the request. If its response has begun, that can't be true. */
const disowned = (server: string, exchange: Exchange, code: number, detail: string): Http2Error.Http2Error =>
  make(
    exchange.isAnswered
      ? new Http2Error.Unknown({ server, code, detail })
      : new Http2Error.Refused({ server, code, detail })
  )

/** Puts the peer's GOAWAY, which may hold the reason, before what happened after it. */
export const afterGoaway = (goaway: Goaway | undefined, detail: string): string =>
  goaway === undefined ? detail : `${goawayDetail(goaway)}; then ${detail}`

/** The peer reset the stream. */
export const wasReset = (
  server: string,
  exchange: Exchange,
  code: number,
  goaway: Goaway | undefined
): Http2Error.Http2Error => {
  const detail = afterGoaway(goaway, `it reset the stream with ${codeName(code)}`)
  return code === Code.refusedStream
    ? disowned(server, exchange, code, detail)
    : make(new Http2Error.Unknown({ server, code, detail }))
}

/** The stream is above the last one that a GOAWAY names. */
export const isAbove = (server: string, exchange: Exchange, goaway: Goaway): Http2Error.Http2Error =>
  disowned(server, exchange, goaway.code, goawayDetail(goaway))

/** The request timed out; an invalid timeout does so at once. `detail` says what delayed it, if that is known. */
export const late = (server: string, exchange: Exchange, detail: string | undefined): Http2Error.Http2Error => {
  const { body, id, sent, timeout } = exchange
  if (!(timeout > 0)) return invalid(notTimeout)
  return make(
    new Http2Error.Timeout({
      server,
      millis: timeout,
      sent: id !== 0,
      ...(id !== 0 && sent < body.length ? { isPartial: true } : {}),
      ...(detail === undefined ? {} : { detail })
    })
  )
}

/** Why a request found no stream, if the peer's limits are the reason. */
export const whyWaiting = (streams: number, window: number): string | undefined =>
  streams === 0
    ? "it allows no streams (SETTINGS_MAX_CONCURRENT_STREAMS is 0)"
    : window <= 0
    ? "it accepts no more bytes (its flow-control window is used up)"
    : undefined

/** Why a request that left has no answer, if the peer's frames say so. */
export const whyUnanswered = ({ body, sent }: Exchange, goaway: Goaway | undefined): string | undefined =>
  sent < body.length
    ? afterGoaway(goaway, `it accepted ${sent} of the ${body.length} bytes of the body, and its window allows no more`)
    : goaway && goawayDetail(goaway)

export const notTimeout = "its timeout must be greater than 0"

/** HTTP/2 can't express the request. */
export const invalid = (detail: string): Http2Error.Http2Error => make(new Http2Error.RequestInvalid({ detail }))
