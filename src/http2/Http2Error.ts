/**
 * The failures of an HTTP/2 connection.
 *
 * There is one error, `Http2Error`; what happened is its `reason`, and its
 * `fate` says whether the peer can have processed the request:
 *
 * - `"NotProcessed"`: it never left, or the peer said that it took no notice of
 *   it. It can be sent again, on another connection, without a second thought.
 * - `"Unknown"`: it was sent and the answer is missing. Sent again, it may be
 *   carried out twice.
 *
 * A request ends with `NotSent`, `Refused`, `Unknown`, `Timeout` or
 * `RequestInvalid`. The other reasons are those of a connection that could not
 * be opened.
 */
import * as Schema from "effect/Schema"

/** Can the peer have processed the request? */
export type Fate = "NotProcessed" | "Unknown"

/** The request was never sent: the connection ended, or takes no more requests. */
export class NotSent extends Schema.TaggedError<NotSent>()("NotSent", {
  server: Schema.String,
  detail: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  get fate(): Fate {
    return "NotProcessed"
  }
  override get message() {
    return `the request to ${this.server} was not sent: ${this.detail}. Send it on another connection`
  }
}

/**
 * The peer says that it did not process the request: its stream is above the
 * last one of a GOAWAY, or was reset with REFUSED_STREAM. RFC 9113, section 8.7.
 */
export class Refused extends Schema.TaggedError<Refused>()("Refused", {
  server: Schema.String,
  /** The HTTP/2 error code: of the reset stream, or of the GOAWAY. */
  code: Schema.Int,
  detail: Schema.String
}) {
  get fate(): Fate {
    return "NotProcessed"
  }
  override get message() {
    return `${this.server} did not process the request: ${this.detail}. Send it on another connection`
  }
}

/** The request was sent, in whole or in part, and its answer will not come. */
export class Unknown extends Schema.TaggedError<Unknown>()("Unknown", {
  server: Schema.String,
  detail: Schema.String,
  /** The HTTP/2 error code, when the stream was reset or the connection given up with one. */
  code: Schema.optional(Schema.Int),
  cause: Schema.optional(Schema.Defect())
}) {
  get fate(): Fate {
    return "Unknown"
  }
  override get message() {
    return `the request to ${this.server} was sent, but its answer is missing: ${this.detail}. It may have been processed`
  }
}

/** The answer did not come in time. */
export class Timeout extends Schema.TaggedError<Timeout>()("Timeout", {
  server: Schema.String,
  /** The time that was allowed, in milliseconds. */
  millis: Schema.Finite,
  /** Did it leave in that time? Else it waited for a free stream, and was not processed. */
  sent: Schema.Boolean,
  /** Did its body leave in part only? A peer that needs the whole of it can't have processed it. */
  isPartial: Schema.optional(Schema.Boolean),
  /** What kept it waiting, where the peer let it be known. */
  detail: Schema.optional(Schema.String)
}) {
  get fate(): Fate {
    return this.sent ? "Unknown" : "NotProcessed"
  }
  override get message() {
    const why = this.detail === undefined ? "" : `: ${this.detail}`
    if (this.sent) {
      return `${this.server} did not answer within ${this.millis} ms${why}. The request may have been processed`
    }
    return `the request to ${this.server} found no free stream within ${this.millis} ms and was not sent${why}. ` +
      (this.detail === undefined
        ? `Send fewer at a time, or open more connections`
        : `Send it on another connection`)
  }
}

/** The request can't be written down in HTTP/2. Nothing was sent. */
export class RequestInvalid extends Schema.TaggedError<RequestInvalid>()("RequestInvalid", {
  detail: Schema.String
}) {
  get fate(): Fate {
    return "NotProcessed"
  }
  override get message() {
    return `the request can't be sent: ${this.detail}`
  }
}

/** The host name has no address. */
export class HostNotFound extends Schema.TaggedError<HostNotFound>()("HostNotFound", {
  host: Schema.String,
  detail: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  get fate(): Fate {
    return "NotProcessed"
  }
  override get message() {
    return `the host name ${this.host} can't be resolved (${this.detail}); check the host, or the name server`
  }
}

/** No connection to the server: refused, no route, cut while it was being opened. */
export class Unreachable extends Schema.TaggedError<Unreachable>()("Unreachable", {
  server: Schema.String,
  detail: Schema.String,
  /** The debug data of its GOAWAY, where it said good-bye instead of a welcome: not to be shown as they are. */
  said: Schema.optional(Schema.Array(Schema.String)),
  cause: Schema.optional(Schema.Defect())
}) {
  get fate(): Fate {
    return "NotProcessed"
  }
  override get message() {
    return `${this.server} can't be reached: ${this.detail}`
  }
}

/** The stages of opening a connection, in order. */
export const Stage = Schema.Literals(["lookup", "connect", "proxy", "tls", "settings"])

/** The stages of opening a connection, in order. */
export type Stage = typeof Stage.Type

const stageText: Record<Stage, string> = {
  lookup: "resolving its name; check the name server",
  connect: "the TCP connection; check the network and firewalls",
  proxy: "the proxy's answer; check the proxy",
  tls: "the TLS handshake; check that it speaks TLS on this port",
  settings: "its SETTINGS; check that it speaks HTTP/2 on this port"
}

/** Opening the connection took too long. One deadline covers all stages. */
export class ConnectTimeout extends Schema.TaggedError<ConnectTimeout>()("ConnectTimeout", {
  server: Schema.String,
  /** What it was waiting for. */
  stage: Stage,
  /** The time that was allowed, in milliseconds. */
  millis: Schema.Finite
}) {
  get fate(): Fate {
    return "NotProcessed"
  }
  override get message() {
    return `no connection to ${this.server} within ${this.millis} ms. It waited for ${stageText[this.stage]}`
  }
}

const passing = new Set([408, 421, 425, 429])
const lasting = new Set([501, 505, 511])

/**
 * Does the status of an HTTP answer tell of something that may pass by itself?
 * A server that is too busy or can't be reached may be well again; one that
 * can't do what it is asked, or wants somebody to log in first, will not.
 */
export const isPassing = (status: number): boolean =>
  passing.has(status) || (status >= 500 && status <= 599 && !lasting.has(status))

/** The proxy would not connect us to the server. */
export class ProxyRefused extends Schema.TaggedError<ProxyRefused>()("ProxyRefused", {
  proxy: Schema.String,
  server: Schema.String,
  /** The proxy's HTTP status; 0 when what it said is no HTTP. */
  status: Schema.Int,
  detail: Schema.String
}) {
  get fate(): Fate {
    return "NotProcessed"
  }
  /** May it pass by itself? So may whatever cut the answer of the proxy short, or garbled it. */
  get isPassing(): boolean {
    return this.status === 0 || isPassing(this.status)
  }
  override get message() {
    return `the proxy ${this.proxy} did not connect to ${this.server}: ${this.detail}`
  }
}

/**
 * The two sides do not trust each other, or have no TLS version in common.
 * Repeating it does not help: a certificate or a setting has to change.
 */
export class TlsRejected extends Schema.TaggedError<TlsRejected>()("TlsRejected", {
  server: Schema.String,
  kind: Schema.Literals(["Untrusted", "Expired", "WrongHost", "ClientCertificate", "Handshake"]),
  detail: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  get fate(): Fate {
    return "NotProcessed"
  }
  override get message() {
    return `no TLS with ${this.server}: ${this.detail}`
  }
}

/** What answers does not speak HTTP/2. */
export class NotHttp2 extends Schema.TaggedError<NotHttp2>()("NotHttp2", {
  server: Schema.String,
  detail: Schema.String
}) {
  get fate(): Fate {
    return "NotProcessed"
  }
  override get message() {
    return `${this.server} does not speak HTTP/2: ${this.detail}. Check host and port`
  }
}

/** An option is out of its range. Nothing was opened. */
export class OptionInvalid extends Schema.TaggedError<OptionInvalid>()("OptionInvalid", {
  option: Schema.String,
  /** The end of a sentence that begins with the option: `must be an integer from 1 to 10, not 0`. */
  rule: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  get fate(): Fate {
    return "NotProcessed"
  }
  override get message() {
    return `the option ${this.option} ${this.rule}`
  }
}

/** Everything that can go wrong with a connection and its requests. */
export const Http2ErrorReason = Schema.Union([
  NotSent,
  Refused,
  Unknown,
  Timeout,
  RequestInvalid,
  HostNotFound,
  Unreachable,
  ConnectTimeout,
  ProxyRefused,
  TlsRejected,
  NotHttp2,
  OptionInvalid
])

/** Everything that can go wrong with a connection and its requests. */
export type Http2ErrorReason = typeof Http2ErrorReason.Type

/** A failure of a connection or of a request on it; its `reason` says which. */
export class Http2Error extends Schema.TaggedError<Http2Error>()("Http2Error", {
  reason: Http2ErrorReason
}) {
  override get message() {
    return this.reason.message
  }

  /** Can the peer have processed the request? */
  get fate(): Fate {
    return this.reason.fate
  }
}

/** Wraps a reason in the error. */
export const make = (reason: Http2ErrorReason): Http2Error => new Http2Error({ reason })
