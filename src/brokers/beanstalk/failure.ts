/**
 * Says in plain words why a server could not be reached, and what to do.
 */
import * as Redacted from "effect/Redacted"
import type * as Socket from "effect/socket/Socket"
import { type BrokerError, optionInvalid } from "../../BrokerError.ts"
import { certificateProblem, codeOf, isNotTls, networkDetail, textOf } from "../../internal/tls.ts"
import type { ConnectOptions, Ending, TlsOptions } from "./Connection.ts"

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
  certificateProblem(code, "", String) !== undefined || /^(ERR_TLS|ERR_SSL|ERR_OSSL|CERT_|EPROTO)/.test(code)

/** Is it a setting that is wrong, rather than a server that is away? Such a failure is reported instead of waited out. */
export const isMisconfigured = (cause: unknown): boolean => isTlsCode(codeOf(cause))

/** Explains a failure to open a connection. */
export const openFailure = (options: ConnectOptions, cause: unknown): Ending => {
  const code = codeOf(cause)
  const text = textOf(cause)
  const name = named(options)
  const detail = networkDetail(code, "beanstalkd") ?? certificateProblem(code, text, name)?.detail
  if (detail !== undefined) return { detail, cause }
  if (isNotTls(code, text)) {
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
