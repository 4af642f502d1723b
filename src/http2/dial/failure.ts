/**
 * Explains why a connection did not open, or broke, and what to do.
 *
 * Transient failures (`Unreachable`: the network, a name server, a handshake that
 * was cut) differ from those that an operator must fix (`TlsRejected`: a certificate
 * for another name, a refused certificate, no TLS version in common). A doubtful
 * failure counts as transient. Messages show text of the peer escaped and clipped.
 */
import { certificateProblem, codeOf, isNotTls, networkDetail, textOf } from "../../internal/tls.ts"
import * as Http2Error from "../Http2Error.ts"

/** The cause for an error: without the peer's certificate, and with escaped text. */
export const plain = (cause: unknown): unknown => {
  if (!(cause instanceof Error)) return textOf(cause)
  const code = codeOf(cause)
  return Object.assign(new Error(textOf(cause)), code === "" ? {} : { code })
}

/**
 * The TLS codes of a handshake that was cut or garbled, or that the peer aborted
 * after an internal error. The next attempt may succeed.
 */
const transientCode =
  /UNEXPECTED_EOF|ALERT_INTERNAL_ERROR|ALERT_USER_CANCELL?ED|BAD_RECORD_MAC|DECRYPTION_FAILED|LENGTH_MISMATCH/i

/** Whether one of `words` follows `word`. A single pattern would take quadratic time. */
const isFollowed = (text: string, word: string, words: RegExp): boolean => {
  const at = text.indexOf(word)
  return at >= 0 && words.test(text.slice(at + word.length))
}

const nameServer: Readonly<Record<string, string>> = {
  EAI_AGAIN: "EAI_AGAIN: the name server did not answer",
  ENOTFOUND: "ENOTFOUND: the name does not exist"
}

/** Explains a failed DNS lookup. It counts as transient: a missing name may exist later. */
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

/** Explains a failed TCP connection. */
export const connectFailure = (server: string, cause: unknown): Http2Error.Http2Error => {
  const code = codeOf(cause)
  const detail = networkDetail(code, "it") ?? textOf(cause)
  return Http2Error.make(new Http2Error.Unreachable({ server, detail, cause: plain(cause) }))
}

/** Explains a failure during the TLS handshake or right after it, when TLS 1.3 reports a rejected client certificate. */
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
      `it refuses this client certificate (${text}); check tls.cert and tls.key, or tls.pfx, and their dates`
    )
  }
  if (transientCode.test(code)) return unreachable(`the handshake was cut short (${text})`)
  if (isNotTls(code, "")) {
    return rejected("Handshake", "it does not speak TLS on this port; check host and port")
  }
  if (/^ERR_SSL|^EPROTO|^ERR_TLS/.test(code)) {
    return rejected(
      "Handshake",
      `the handshake failed (${text}); check tls.minVersion, and whether the server requires a client certificate`
    )
  }
  const cut = code === "ECONNRESET" || code === "EPIPE"
  return unreachable(
    cut
      ? `it closed the connection (${code}) during the handshake; check that it accepts this address and this certificate`
      : text
  )
}

/** Explains the failure of an open connection. */
export const cutDetail = (cause: unknown): string => `the connection broke (${codeOf(cause) || textOf(cause)})`
