/** Says why a request has no answer, and with that, whether the peer can have processed it. */
import { Code, codeName } from "../frame/frame.ts"
import * as Http2Error from "../Http2Error.ts"
import { type Goaway, goawayDetail } from "../Message.ts"
import type { Exchange } from "./exchange.ts"

/** Why a connection ended. */
interface End {
  readonly detail: string
  /** The error code of a GOAWAY, the peer's or ours. */
  readonly code?: number
  readonly cause?: unknown
}

const { make } = Http2Error

/** It had not left when its connection ended, or was retired. */
export const notSent = (server: string, { cause, detail }: End): Http2Error.Http2Error =>
  make(new Http2Error.NotSent({ server, detail, ...(cause === undefined ? {} : { cause }) }))

/** It had left when its connection ended. */
export const lost = (server: string, { cause, code, detail }: End): Http2Error.Http2Error =>
  make(
    new Http2Error.Unknown({
      server,
      detail,
      ...(code === undefined ? {} : { code }),
      ...(cause === undefined ? {} : { cause })
    })
  )

/** What came for it is no answer that we take. */
export const unreadable = (
  server: string,
  code: number,
  what: string,
  goaway: Goaway | undefined
): Http2Error.Http2Error =>
  make(new Http2Error.Unknown({ server, code, detail: afterGoaway(goaway, `it sent ${what}`) }))

/** The peer says that it took no notice of it. Where its answer has begun already, that word is worth nothing. */
const disowned = (server: string, exchange: Exchange, code: number, detail: string): Http2Error.Http2Error =>
  make(
    exchange.isAnswered
      ? new Http2Error.Unknown({ server, code, detail })
      : new Http2Error.Refused({ server, code, detail })
  )

/** What has happened, after what the peer said when it took no more requests: a reason is there, if anywhere. */
export const afterGoaway = (goaway: Goaway | undefined, detail: string): string =>
  goaway === undefined ? detail : `${goawayDetail(goaway)}; then ${detail}`

/** The peer reset its stream. */
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

/** Its stream is above the last one of a GOAWAY. */
export const isAbove = (server: string, exchange: Exchange, goaway: Goaway): Http2Error.Http2Error =>
  disowned(server, exchange, goaway.code, goawayDetail(goaway))

/** Its time is over; a timeout that is none is over at once. `detail` says what kept it waiting, where that is known. */
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

/** What keeps a request waiting that found no stream: what the peer allows. */
export const whyWaiting = (streams: number, window: number): string | undefined =>
  streams === 0
    ? "it allows no stream at all (SETTINGS_MAX_CONCURRENT_STREAMS is 0)"
    : window <= 0
    ? "it takes no bytes (its window of flow control is used up)"
    : undefined

/** What keeps a request waiting that was sent. */
export const whyUnanswered = ({ body, sent }: Exchange, goaway: Goaway | undefined): string | undefined =>
  sent < body.length
    ? afterGoaway(goaway, `it took ${sent} of the ${body.length} bytes of the body, and lets no more through`)
    : goaway && goawayDetail(goaway)

export const notTimeout = "its timeout is not longer than nothing"

/** It can't be written down. */
export const invalid = (detail: string): Http2Error.Http2Error => make(new Http2Error.RequestInvalid({ detail }))
