/**
 * Explains why a connection could not be opened, and what to do, for every client
 * of the package. Pure: it reads the codes of Node.js's errors.
 *
 * Text of the peer, such as the names in its certificate, is clipped and escaped.
 */
import { clip, oneLine, safeLine } from "./text.ts"
import { messageOfThrown } from "./thrown.ts"

/** An error's text is shown with at most this many characters. */
const maxTextChars = 300

/** A code is looked for in at most this many nested causes: errors of sockets wrap those of the system. */
const maxDepth = 8

/** The code of an error or of its cause; empty if there is none. */
export const codeOf = (cause: unknown, depth = 0): string => {
  if (typeof cause !== "object" || cause === null || depth === maxDepth) return ""
  if ("code" in cause && typeof cause.code === "string") return safeLine(clip(cause.code, maxTextChars))
  return "cause" in cause ? codeOf(cause.cause, depth + 1) : ""
}

/** OpenSSL's form of an error, with the place in its source. */
const openSslText = /^[0-9A-F]+:error:[0-9A-F]+:[^:]*:[^:]*:([^:]+):.*$/

/** The message of an error, safe to show. */
export const textOf = (cause: unknown): string =>
  safeLine(oneLine(messageOfThrown(cause), maxTextChars).replace(openSslText, "$1"))

/** Explains a failure of the network; `undefined` for other failures. */
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
      return `the host can't be reached (${code}); check the network and firewalls`
  }
  return undefined
}

/** Why a server's certificate was refused. */
export interface CertificateProblem {
  readonly kind: "Untrusted" | "WrongPurpose" | "WrongHost" | "Expired"
  readonly detail: string
}

/** Codes of a certificate whose authority is unknown. */
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

/** Codes of a certificate that is revoked or unreadable. Node.js uses the last one when it has no other code. */
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

/** Explains why a server's certificate was refused. `nameOf` names an option of TLS as the user knows it. */
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
        detail: `its certificate is for another name (${text}); set ${
          nameOf("servername")
        }, or connect to the name that the certificate has`
      }
    case "INVALID_PURPOSE":
      return {
        kind: "WrongPurpose",
        detail: `its certificate is not a server certificate (${text}); give the server a certificate ` +
          "whose extended key usage has serverAuth: this one may belong to a client or an authority, or be signed by a " +
          "certificate that is not an authority"
      }
    case "CERT_HAS_EXPIRED":
    case "CERT_NOT_YET_VALID":
      return { kind: "Expired", detail: `its certificate is not valid now (${text}); renew it, or check the clocks` }
  }
  if (unknownAuthority.has(code)) {
    const between = code === "UNABLE_TO_VERIFY_LEAF_SIGNATURE" || code === "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"
      ? "; if there are intermediate certificates, the server must send them"
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

/** Whether the server answered with something other than TLS. */
export const isNotTls = (code: string, text: string): boolean =>
  /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|UNKNOWN_PROTOCOL|INVALID_RECORD|HTTP_REQUEST/i.test(`${code} ${text}`)
