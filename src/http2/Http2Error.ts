/**
 * The failures of an HTTP/2 connection.
 *
 * There is one error, `Http2Error`. Its `reason` says what happened, and its
 * `fate` says whether the peer can have processed the request:
 *
 * - `"NotProcessed"`: the request never left, or the peer said that it did not
 *   process it. It is safe to send it again on another connection.
 * - `"Unknown"`: the request left and its answer is missing. The peer may process
 *   it twice if it is sent again.
 *
 * A request fails with `NotSent`, `Refused`, `Unknown`, `Timeout` or
 * `RequestInvalid`. A connection that does not open fails with another reason.
 */
import * as Schema from "effect/Schema"

/** Whether the peer can have processed the request. */
export type Fate = "NotProcessed" | "Unknown"

/** The request never left: the connection closed, or accepts no more requests. */
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
 * The peer says that it did not process the request: a GOAWAY excludes its stream,
 * or REFUSED_STREAM reset it. RFC 9113, section 8.7.
 */
export class Refused extends Schema.TaggedError<Refused>()("Refused", {
  server: Schema.String,
  /** The HTTP/2 error code of RST_STREAM or GOAWAY. */
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

/** The request left, in whole or in part, and its answer will not arrive. */
export class Unknown extends Schema.TaggedError<Unknown>()("Unknown", {
  server: Schema.String,
  detail: Schema.String,
  /** The HTTP/2 error code that ended the stream or the connection, if there was one. */
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

/** The answer did not arrive in time. */
export class Timeout extends Schema.TaggedError<Timeout>()("Timeout", {
  server: Schema.String,
  /** The request's timeout, in milliseconds. */
  millis: Schema.Finite,
  /** Whether the request left in that time. One that did not leave waited for a free stream. */
  sent: Schema.Boolean,
  /** Whether only a part of the body left. A peer that needs the whole body can't have processed it. */
  isPartial: Schema.optional(Schema.Boolean),
  /** What delayed the answer, if the peer's frames say so. */
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
        ? `Send fewer requests at a time, or open more connections`
        : `Send it on another connection`)
  }
}

/** HTTP/2 can't express the request. Nothing was sent. */
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

/** The option `refuseAddress` refuses an address of the host. No connection was opened. */
export class AddressRefused extends Schema.TaggedError<AddressRefused>()("AddressRefused", {
  host: Schema.String,
  address: Schema.String,
  detail: Schema.String
}) {
  get fate(): Fate {
    return "NotProcessed"
  }
  override get message() {
    return `no connection to ${this.host}: its address ${this.address} ${this.detail}`
  }
}

/** The server can't be reached: it refused the connection, there is no route, or the connection broke while it opened. */
export class Unreachable extends Schema.TaggedError<Unreachable>()("Unreachable", {
  server: Schema.String,
  detail: Schema.String,
  /** The debug data of its GOAWAY, if that was its first frame. They are raw: escape them before you show them. */
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

/** The decoded {@link Stage}. */
export type Stage = typeof Stage.Type

const stageText: Record<Stage, string> = {
  lookup: "resolving its name; check the name server",
  connect: "the TCP connection; check the network and firewalls",
  proxy: "the proxy's answer; check the proxy",
  tls: "the TLS handshake; check that it speaks TLS on this port",
  settings: "its SETTINGS; check that it speaks HTTP/2 on this port"
}

/** The connection did not open in time. One deadline covers all stages. */
export class ConnectTimeout extends Schema.TaggedError<ConnectTimeout>()("ConnectTimeout", {
  server: Schema.String,
  /** The stage that did not end. */
  stage: Stage,
  /** The deadline, in milliseconds. */
  millis: Schema.Finite
}) {
  get fate(): Fate {
    return "NotProcessed"
  }
  override get message() {
    return `the connection to ${this.server} did not open within ${this.millis} ms. It waited for ${
      stageText[this.stage]
    }`
  }
}

const transientStatuses = new Set([408, 421, 425, 429])
const permanentStatuses = new Set([501, 505, 511])

/**
 * Whether an HTTP status reports a transient condition. A busy or unreachable
 * server may recover. One that lacks the feature, or asks for a login, stays so.
 */
export const isTransient = (status: number): boolean =>
  transientStatuses.has(status) || (status >= 500 && status <= 599 && !permanentStatuses.has(status))

/** The proxy did not open a tunnel to the server. */
export class ProxyRefused extends Schema.TaggedError<ProxyRefused>()("ProxyRefused", {
  proxy: Schema.String,
  server: Schema.String,
  /** The proxy's HTTP status; 0 when its answer is not HTTP. */
  status: Schema.Int,
  detail: Schema.String
}) {
  get fate(): Fate {
    return "NotProcessed"
  }
  /** Whether the condition is transient. A cut or garbled answer of the proxy is. */
  get isTransient(): boolean {
    return this.status === 0 || isTransient(this.status)
  }
  override get message() {
    return `the proxy ${this.proxy} did not connect to ${this.server}: ${this.detail}`
  }
}

/**
 * The two sides do not trust each other, or have no TLS version in common. A
 * retry does not help: a certificate or an option must change.
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
    return `the TLS connection to ${this.server} failed: ${this.detail}`
  }
}

/** The server does not speak HTTP/2. */
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

/** An option is out of its range. No connection was opened. */
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

/** Why a connection or a request failed. */
export const Http2ErrorReason = Schema.Union([
  NotSent,
  Refused,
  Unknown,
  Timeout,
  RequestInvalid,
  HostNotFound,
  AddressRefused,
  Unreachable,
  ConnectTimeout,
  ProxyRefused,
  TlsRejected,
  NotHttp2,
  OptionInvalid
])

/** The decoded {@link Http2ErrorReason}. */
export type Http2ErrorReason = typeof Http2ErrorReason.Type

/** A failure of a connection or of a request; its `reason` says which. */
export class Http2Error extends Schema.TaggedError<Http2Error>()("Http2Error", {
  reason: Http2ErrorReason
}) {
  override get message() {
    return this.reason.message
  }

  /** Whether the peer can have processed the request. */
  get fate(): Fate {
    return this.reason.fate
  }
}

/** Wraps a reason in an {@link Http2Error}. */
export const make = (reason: Http2ErrorReason): Http2Error => new Http2Error({ reason })
