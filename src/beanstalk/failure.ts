/**
 * Says in plain words why a server could not be reached, and what to do.
 */
import type * as Socket from "effect/socket/Socket"
import type { ConnectOptions, Ending } from "./Connection.ts"

const codeOf = (cause: unknown): string => {
  if (typeof cause !== "object" || cause === null) return ""
  if ("code" in cause && typeof cause.code === "string") return cause.code
  return "cause" in cause ? codeOf(cause.cause) : ""
}

const textOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

const certificateCodes = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "CERT_UNTRUSTED",
  "CERT_REJECTED"
])

/** Is this the code of a failure that waiting does not mend: a certificate or a TLS setting? */
const isTlsCode = (code: string): boolean =>
  certificateCodes.has(code) || /^(ERR_TLS|ERR_SSL|ERR_OSSL|CERT_|EPROTO)/.test(code)

/** Is it a setting that is wrong, rather than a server that is away? Such a failure is reported instead of waited out. */
export const isMisconfigured = (cause: unknown): boolean => isTlsCode(codeOf(cause))

/** Explains a failure to open a connection. */
export const openFailure = (options: ConnectOptions, cause: unknown): Ending => {
  const code = codeOf(cause)
  const text = textOf(cause)
  switch (code) {
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return { detail: `the host name can't be resolved (${code}); check the host, or the name server`, cause }
    case "ECONNREFUSED":
      return { detail: `the connection was refused; check that beanstalkd runs there and the port is right`, cause }
    case "EHOSTUNREACH":
    case "ENETUNREACH":
    case "ETIMEDOUT":
      return { detail: `no way to the host (${code}); check the network and firewalls`, cause }
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return {
        detail: `its certificate is for another name (${text}); set tls.servername, or use the name it is for`,
        cause
      }
    case "CERT_HAS_EXPIRED":
    case "CERT_NOT_YET_VALID":
      return { detail: `its certificate is not valid now (${text}); renew it, or check the clocks`, cause }
  }
  if (certificateCodes.has(code)) {
    return { detail: `its certificate is not trusted (${text}); set tls.ca to the authority that signed it`, cause }
  }
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|UNKNOWN_PROTOCOL|INVALID_RECORD/i.test(`${code} ${text}`)) {
    return {
      detail:
        "the server does not speak TLS on this port: leave the tls option out, or use a URL that begins with beanstalk://",
      cause,
      violation: true
    }
  }
  if (options.tls !== undefined && /ALERT|HANDSHAKE/i.test(`${code} ${text}`)) {
    return {
      detail: `the server refused the TLS handshake (${text}); check tls.cert, tls.key and tls.minVersion`,
      cause
    }
  }
  if (options.tls !== undefined && (code === "ECONNRESET" || code === "EPIPE")) {
    return {
      detail: "the server closed during the TLS handshake; it may not speak TLS, or refuse our certificate",
      cause
    }
  }
  return { detail: text === "" ? code : text, cause }
}

/** Explains the end of a connection that was open. `answered`: was there a reply before? */
export const socketFailure = (
  options: ConnectOptions,
  error: Socket.SocketError,
  answered: boolean
): Ending => {
  const reason = error.reason
  switch (reason._tag) {
    case "SocketOpenError":
      return reason.kind === "Timeout"
        ? {
          detail: options.tls === undefined
            ? "the connection was not opened in time; check the host, the network and firewalls"
            : "the connection was not opened in time; check the network, and that the server speaks TLS on this port",
          cause: reason.cause
        }
        : openFailure(options, reason.cause)
    case "SocketCloseError":
      return {
        detail: answered || options.tls !== undefined
          ? "the server closed the connection"
          : "the server closed the connection before it said anything; if it expects TLS, set the tls option"
      }
    case "SocketReadError":
    case "SocketWriteError": {
      const code = codeOf(reason.cause)
      return code === "ECONNRESET" || code === "EPIPE"
        ? { detail: `the connection was cut (${code})`, cause: reason.cause }
        : openFailure(options, reason.cause)
    }
    case "SocketUpgradeError":
      return { detail: reason.message }
  }
}
