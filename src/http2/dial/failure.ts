/**
 * Says in plain words why a connection could not be opened, or was cut, and what
 * to do.
 *
 * What fails for a reason that may pass by itself (the network, a name server, a
 * peer that is cut off or fails in the middle of a handshake) is told apart from
 * what somebody has to mend: a name that a certificate is not for, a
 * certificate that is refused, no version of TLS in common. When in doubt it may
 * pass. Texts and names that the peer wrote are shown escaped and short.
 */
import { certificateProblem, codeOf, isNotTls, networkDetail, textOf } from "../../internal/tls.ts"
import * as Http2Error from "../Http2Error.ts"

/** The cause as it goes into an error: without the peer's certificate, and with a text that can be shown. */
export const plain = (cause: unknown): unknown => {
  if (!(cause instanceof Error)) return textOf(cause)
  const code = codeOf(cause)
  return Object.assign(new Error(textOf(cause)), code === "" ? {} : { code })
}

/**
 * What TLS says when a handshake was cut, garbled on the way, or given up by a
 * peer that failed: the next attempt may go well.
 */
const passing =
  /UNEXPECTED_EOF|ALERT_INTERNAL_ERROR|ALERT_USER_CANCELL?ED|BAD_RECORD_MAC|DECRYPTION_FAILED|LENGTH_MISMATCH/i

/** Does one of these words come after another one? In one pattern that takes time quadratic in the text. */
const isFollowed = (text: string, word: string, words: RegExp): boolean => {
  const at = text.indexOf(word)
  return at >= 0 && words.test(text.slice(at + word.length))
}

const nameServer: Readonly<Record<string, string>> = {
  EAI_AGAIN: "EAI_AGAIN: the name server did not answer",
  ENOTFOUND: "ENOTFOUND: there is no such name"
}

/** Explains a failure of the name server. A name that isn't there now may be there later: it is asked for again. */
export const lookupFailure = (host: string, cause: unknown): Http2Error.Http2Error => {
  const code = codeOf(cause)
  return Http2Error.make(
    new Http2Error.HostNotFound({
      host,
      detail: nameServer[code] ?? (code || textOf(cause)),
      cause: plain(cause)
    })
  )
}

/** Explains a failure to reach an address over TCP. */
export const connectFailure = (server: string, cause: unknown): Http2Error.Http2Error => {
  const code = codeOf(cause)
  const detail = networkDetail(code, "it") ?? textOf(cause)
  return Http2Error.make(new Http2Error.Unreachable({ server, detail, cause: plain(cause) }))
}

/** Explains a failure during the TLS handshake, or right after it: there TLS 1.3 tells what it has against our certificate. */
export const tlsFailure = (server: string, cause: unknown): Http2Error.Http2Error => {
  const code = codeOf(cause)
  const text = textOf(cause)
  const rejected = (kind: Http2Error.TlsRejected["kind"], detail: string) =>
    Http2Error.make(new Http2Error.TlsRejected({ server, kind, detail, cause: plain(cause) }))
  const unreachable = (detail: string) =>
    Http2Error.make(new Http2Error.Unreachable({ server, detail, cause: plain(cause) }))
  if (/NO_APPLICATION_PROTOCOL/.test(code)) {
    return Http2Error.make(new Http2Error.NotHttp2({ server, detail: `it refuses "h2" by ALPN (${text})` }))
  }
  const certificate = certificateProblem(code, text, (option) => `tls.${option}`)
  if (certificate !== undefined) {
    return rejected(certificate.kind === "WrongPurpose" ? "Untrusted" : certificate.kind, certificate.detail)
  }
  if (
    isFollowed(`${code} ${text}`, "ALERT", /CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED/) ||
    isFollowed(text, "alert", /certificate|unknown ca|access denied/)
  ) {
    return rejected(
      "ClientCertificate",
      `it refuses our certificate (${text}); check tls.cert and tls.key, or tls.pfx, and that they are valid now`
    )
  }
  if (passing.test(code)) return unreachable(`the handshake was cut short (${text})`)
  if (isNotTls(code, "")) {
    return rejected("Handshake", "it does not speak TLS on this port; check host and port")
  }
  if (/^ERR_SSL|^EPROTO|^ERR_TLS/.test(code)) {
    return rejected(
      "Handshake",
      `the handshake failed (${text}); check tls.minVersion, and that the server got the certificate it asks for`
    )
  }
  const cut = code === "ECONNRESET" || code === "EPIPE"
  return unreachable(
    cut ? `it closed the connection (${code}) before it was open; it may refuse our address or certificate` : text
  )
}

/** Explains the end of a connection that was open. */
export const cutDetail = (cause: unknown): string => `the connection was cut (${codeOf(cause) || textOf(cause)})`
