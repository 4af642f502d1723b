/** Says why a request has no answer, and with that, whether the peer can have processed it. */
import type { Goaway } from "./Connection.ts"
import { Code, codeName } from "./Frame.ts"
import * as Http2Error from "./Http2Error.ts"
import type { Stream } from "./Stream.ts"

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
export const unreadable = (server: string, code: number, what: string): Http2Error.Http2Error =>
  make(new Http2Error.Unknown({ server, code, detail: `it sent ${what}` }))

/** The peer says that it took no notice of it. Where its answer has begun already, that word is worth nothing. */
const disowned = (server: string, stream: Stream, code: number, detail: string): Http2Error.Http2Error =>
  make(
    stream.isAnswered
      ? new Http2Error.Unknown({ server, code, detail })
      : new Http2Error.Refused({ server, code, detail })
  )

/** The peer reset its stream. */
export const wasReset = (server: string, stream: Stream, code: number): Http2Error.Http2Error => {
  const detail = `it reset the stream with ${codeName(code)}`
  return code === Code.refusedStream
    ? disowned(server, stream, code, detail)
    : make(new Http2Error.Unknown({ server, code, detail }))
}

/** What a GOAWAY says. */
export const goawayDetail = ({ code, debug }: Goaway): string =>
  `it is closing the connection (GOAWAY ${codeName(code)}${debug === "" ? "" : `, ${debug}`})`

/** Its stream is above the last one of a GOAWAY. */
export const isAbove = (server: string, stream: Stream, goaway: Goaway): Http2Error.Http2Error =>
  disowned(server, stream, goaway.code, goawayDetail(goaway))

/** Its time is over; a timeout that is none is over at once. */
export const late = (server: string, { id, timeout }: Stream): Http2Error.Http2Error =>
  make(
    timeout > 0
      ? new Http2Error.Timeout({ server, millis: timeout, sent: id !== 0 })
      : new Http2Error.RequestInvalid({ detail: notTimeout })
  )

export const notTimeout = "its timeout is not longer than nothing"

/** It can't be written down. */
export const invalid = (detail: string): Http2Error.Http2Error => make(new Http2Error.RequestInvalid({ detail }))
