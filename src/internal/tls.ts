/**
 * Why a connection could not be opened, in words and with what to do, for every
 * client of the package. Pure: it reads the errors of Node.js by their codes.
 *
 * What the peer wrote, such as the names in its certificate, is shown short and
 * escaped.
 */
import { clip, oneLine, safeLine } from "./text.ts"
import { messageOfThrown } from "./thrown.ts"

/** How much of the text of an error is shown. */
const maxTextChars = 300

/** How deep a code is looked for: errors of sockets wrap those of the system. */
const maxDepth = 8

/** The code of an error, or of its cause; empty without one. */
export const codeOf = (cause: unknown, depth = 0): string => {
  if (typeof cause !== "object" || cause === null || depth === maxDepth) return ""
  if ("code" in cause && typeof cause.code === "string") return safeLine(clip(cause.code, maxTextChars))
  return "cause" in cause ? codeOf(cause.cause, depth + 1) : ""
}

/** OpenSSL's own form of an error, with where in its code it was. */
const openSslText = /^[0-9A-F]+:error:[0-9A-F]+:[^:]*:[^:]*:([^:]+):.*$/

/** What an error says, in a form that can be shown. */
export const textOf = (cause: unknown): string =>
  safeLine(oneLine(messageOfThrown(cause), maxTextChars).replace(openSslText, "$1"))

/** The network did not lead to the server. `undefined` for other failures. */
export const networkDetail = (code: string, server: string): string | undefined => {
  switch (code) {
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `the host name can't be resolved (${code}); check the host, or the name server`
    case "ECONNREFUSED":
      return `the connection was refused; check that ${server} runs there and the port is right`
    case "EHOSTUNREACH":
    case "ENETUNREACH":
    case "ETIMEDOUT":
      return `no way to the host (${code}); check the network and firewalls`
  }
  return undefined
}

/** What is wrong with a server's certificate. */
export interface CertificateProblem {
  readonly kind: "Untrusted" | "WrongPurpose" | "WrongHost" | "Expired"
  readonly detail: string
}

/** A certificate whose authority is not known here. */
const unknownAuthority: ReadonlySet<string> = new Set([
  "CERT_CHAIN_TOO_LONG",
  "CERT_REJECTED",
  "CERT_UNTRUSTED",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "INVALID_CA",
  "PATH_LENGTH_EXCEEDED",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
])

/** A certificate that nobody should trust, or that can't be read. Node.js has the last for what it has no code for. */
const unusable: ReadonlySet<string> = new Set([
  "CERT_REVOKED",
  "CERT_SIGNATURE_FAILURE",
  "CRL_HAS_EXPIRED",
  "CRL_NOT_YET_VALID",
  "CRL_SIGNATURE_FAILURE",
  "ERROR_IN_CERT_NOT_AFTER_FIELD",
  "ERROR_IN_CERT_NOT_BEFORE_FIELD",
  "UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY",
  "UNABLE_TO_DECRYPT_CERT_SIGNATURE",
  "UNABLE_TO_GET_CRL",
  "UNSPECIFIED"
])

/** What is wrong with a server's certificate. `nameOf` says how the user sets an option of TLS. */
export const certificateProblem = (
  code: string,
  text: string,
  nameOf: (option: "ca" | "servername") => string
): CertificateProblem | undefined => {
  switch (code) {
    case "ERR_TLS_CERT_ALTNAME_INVALID":
    case "HOSTNAME_MISMATCH":
      return {
        kind: "WrongHost",
        detail: `its certificate is for another name (${text}); set ${nameOf("servername")}, or use the name it is for`
      }
    case "INVALID_PURPOSE":
      return {
        kind: "WrongPurpose",
        detail: `its certificate is not one for servers (${text}); give the server a certificate ` +
          "whose extended key usage has serverAuth: this one may be a client's or an authority's, or be signed by a " +
          "certificate that is no authority's"
      }
    case "CERT_HAS_EXPIRED":
    case "CERT_NOT_YET_VALID":
      return { kind: "Expired", detail: `its certificate is not valid now (${text}); renew it, or check the clocks` }
  }
  if (unknownAuthority.has(code)) {
    const between = code === "UNABLE_TO_VERIFY_LEAF_SIGNATURE" || code === "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"
      ? "; if there are others between them, the server has to send those"
      : ""
    return {
      kind: "Untrusted",
      detail: `its certificate is not trusted (${text}); set ${nameOf("ca")} to the authority that signed it${between}`
    }
  }
  return unusable.has(code)
    ? { kind: "Untrusted", detail: `its certificate can't be trusted (${text}); give the server another one` }
    : undefined
}

/** Did the server answer with something else than TLS? */
export const isNotTls = (code: string, text: string): boolean =>
  /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|UNKNOWN_PROTOCOL|INVALID_RECORD|HTTP_REQUEST/i.test(`${code} ${text}`)
