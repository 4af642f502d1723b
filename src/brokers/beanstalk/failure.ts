/**
 * Says in plain words why a server could not be reached, and what to do.
 */
import * as Redacted from "effect/Redacted"
import type * as Socket from "effect/socket/Socket"
import { type BrokerError, optionInvalid } from "../../BrokerError.ts"
import { safeLine } from "../../internal/text.ts"
import { messageOfThrown } from "../../internal/thrown.ts"
import type { ConnectOptions, Ending, TlsOptions } from "./Connection.ts"

const codeOf = (cause: unknown): string => {
  if (typeof cause !== "object" || cause === null) return ""
  if ("code" in cause && typeof cause.code === "string") return cause.code
  return "cause" in cause ? codeOf(cause.cause) : ""
}

const textOf = (cause: unknown): string => safeLine(messageOfThrown(cause))

/** A certificate whose authority is not known here. */
const untrustedCodes = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "CERT_UNTRUSTED",
  "CERT_REJECTED",
  "INVALID_CA",
  "CERT_CHAIN_TOO_LONG",
  "PATH_LENGTH_EXCEEDED"
])

/** A certificate that nobody should trust, or that can't be read. Node.js has the last for what it has no code for. */
const badCodes = new Set([
  "UNABLE_TO_DECRYPT_CERT_SIGNATURE",
  "UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY",
  "ERROR_IN_CERT_NOT_BEFORE_FIELD",
  "ERROR_IN_CERT_NOT_AFTER_FIELD",
  "CERT_SIGNATURE_FAILURE",
  "CERT_REVOKED",
  "UNABLE_TO_GET_CRL",
  "CRL_SIGNATURE_FAILURE",
  "CRL_NOT_YET_VALID",
  "CRL_HAS_EXPIRED",
  "UNSPECIFIED"
])

/** For another purpose: a certificate for clients only, one for signing mails. */
const wrongPurpose = "INVALID_PURPOSE"

/** How messages name an option of TLS: as the one who set it did. */
const named = ({ isFromUrl }: ConnectOptions) => (option: keyof TlsOptions): string =>
  isFromUrl === true ? `${option === "minVersion" ? "min-version" : option} in the URL` : `tls.${option}`

const plainAdvice = ({ isFromUrl }: ConnectOptions): string =>
  isFromUrl === true
    ? "use a URL that begins with beanstalk://"
    : "leave the tls option out, or use a URL that begins with beanstalk://"

const tlsAdvice = ({ isFromUrl }: ConnectOptions): string =>
  isFromUrl === true ? "use a URL that begins with beanstalks://" : "set the tls option"

/** Why options can't be used, before anything is opened. Node.js takes an authority that is no certificate for none. */
export const pemProblem = (broker: string, options: ConnectOptions): BrokerError | undefined => {
  const { ca, cert, key } = options.tls ?? {}
  const values = {
    ca: Array.isArray(ca) ? ca : [ca],
    cert: [cert],
    key: [key === undefined ? undefined : Redacted.value(key)]
  }
  const bad = (["ca", "cert", "key"] as const).find((option) =>
    values[option].some((pem) =>
      pem !== undefined && !/-----BEGIN [A-Z0-9 ]+-----/.test(Buffer.from(pem).toString("latin1"))
    )
  )
  return bad === undefined
    ? undefined
    : optionInvalid(`${named(options)(bad)}, for ${broker},`, "used", "it must be PEM, with a line -----BEGIN ...-----")
}

/** Is this the code of a failure that waiting does not mend: a certificate or a TLS setting? */
const isTlsCode = (code: string): boolean =>
  untrustedCodes.has(code) || badCodes.has(code) || code === wrongPurpose || code === "HOSTNAME_MISMATCH" ||
  /^(ERR_TLS|ERR_SSL|ERR_OSSL|CERT_|EPROTO)/.test(code)

/** Is it a setting that is wrong, rather than a server that is away? Such a failure is reported instead of waited out. */
export const isMisconfigured = (cause: unknown): boolean => isTlsCode(codeOf(cause))

/** Explains a failure to open a connection. */
export const openFailure = (options: ConnectOptions, cause: unknown): Ending => {
  const code = codeOf(cause)
  const text = textOf(cause)
  const name = named(options)
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
    case "HOSTNAME_MISMATCH":
      return {
        detail: `its certificate is for another name (${text}); set ${name("servername")}, or use the name it is for`,
        cause
      }
    case wrongPurpose:
      return {
        detail: `its certificate is not one for servers (${text}); give the server a certificate ` +
          "whose extended key usage has serverAuth: this one may be a client's",
        cause
      }
    case "CERT_HAS_EXPIRED":
    case "CERT_NOT_YET_VALID":
      return { detail: `its certificate is not valid now (${text}); renew it, or check the clocks`, cause }
  }
  if (untrustedCodes.has(code)) {
    return {
      detail: `its certificate is not trusted (${text}); set ${name("ca")} to the authority that signed it`,
      cause
    }
  }
  if (badCodes.has(code)) {
    return { detail: `its certificate can't be trusted (${text}); give the server another one`, cause }
  }
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|UNKNOWN_PROTOCOL|INVALID_RECORD/i.test(`${code} ${text}`)) {
    return {
      detail: `the server does not speak TLS on this port: ${plainAdvice(options)}`,
      cause,
      violation: true
    }
  }
  if (options.tls !== undefined && /ALERT|HANDSHAKE/i.test(`${code} ${text}`)) {
    return {
      detail: `the server refused the TLS handshake (${text}); check ${name("cert")}, ${name("key")} and ${
        name("minVersion")
      }`,
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
          : `the server closed the connection before it said anything; if it expects TLS, ${tlsAdvice(options)}`
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
