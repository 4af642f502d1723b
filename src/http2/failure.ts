/** Says in plain words why a connection could not be opened, or was cut, and what to do. */
import * as Http2Error from "./Http2Error.ts"

const codeOf = (cause: unknown): string =>
  typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string" ? cause.code : ""

const textOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

const untrusted = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "CERT_UNTRUSTED",
  "CERT_REJECTED",
  "CERT_SIGNATURE_FAILURE"
])

/** Explains a failure of the name server. */
export const lookupFailure = (host: string, cause: unknown): Http2Error.Http2Error =>
  Http2Error.make(new Http2Error.HostNotFound({ host, detail: codeOf(cause) || textOf(cause), cause }))

/** Explains a failure to reach an address over TCP. */
export const connectFailure = (server: string, cause: unknown): Http2Error.Http2Error => {
  const code = codeOf(cause)
  const detail = code === "ECONNREFUSED"
    ? "the connection was refused; check that it runs there and the port is right"
    : code === "EHOSTUNREACH" || code === "ENETUNREACH" || code === "ETIMEDOUT"
    ? `no way to the host (${code}); check the network and firewalls`
    : textOf(cause)
  return Http2Error.make(new Http2Error.Unreachable({ server, detail, cause }))
}

/** Explains a failure during the TLS handshake, or right after it: there TLS 1.3 tells what it has against our certificate. */
export const tlsFailure = (server: string, cause: unknown): Http2Error.Http2Error => {
  const code = codeOf(cause)
  const text = textOf(cause)
  const rejected = (kind: Http2Error.TlsRejected["kind"], detail: string) =>
    Http2Error.make(new Http2Error.TlsRejected({ server, kind, detail, cause }))
  if (/NO_APPLICATION_PROTOCOL/.test(code)) {
    return Http2Error.make(new Http2Error.NotHttp2({ server, detail: `it refuses "h2" by ALPN (${text})` }))
  }
  if (untrusted.has(code)) {
    return rejected(
      "Untrusted",
      `its certificate is not trusted (${text}); give the authority that signed it, ca, if it is to be trusted`
    )
  }
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return rejected(
      "WrongHost",
      `its certificate is for another name (${text}); set tls.servername, or use the name it is for`
    )
  }
  if (code === "CERT_HAS_EXPIRED" || code === "CERT_NOT_YET_VALID") {
    return rejected("Expired", `its certificate is not valid now (${text}); renew it, or check the clocks`)
  }
  if (
    /ALERT.*(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)|alert.*(certificate|unknown ca|access denied)/.test(
      `${code} ${text}`
    )
  ) {
    return rejected(
      "ClientCertificate",
      `it refuses our certificate (${text}); check tls.cert and tls.key, or tls.pfx, and that they are valid now`
    )
  }
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|INVALID_RECORD|HTTP_REQUEST/i.test(code)) {
    return rejected("Handshake", "it does not speak TLS on this port; check host and port")
  }
  if (/^ERR_SSL|^EPROTO|^ERR_TLS/.test(code)) {
    return rejected(
      "Handshake",
      `the handshake failed (${text}); check tls.minVersion, and that the server got the certificate it asks for`
    )
  }
  const cut = code === "ECONNRESET" || code === "EPIPE"
  return Http2Error.make(
    new Http2Error.Unreachable({
      server,
      detail: cut
        ? `it closed the connection (${code}) before it was open; it may refuse our address or certificate`
        : text,
      cause
    })
  )
}

/** Explains the end of a connection that was open. */
export const cutDetail = (cause: unknown): string => `the connection was cut (${codeOf(cause) || textOf(cause)})`
