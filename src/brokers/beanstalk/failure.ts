/** Explains why a server can't be reached, and what to do. */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { createPrivateKey, X509Certificate } from "node:crypto"
import { type BrokerError, optionInvalid } from "../../BrokerError.ts"
import { callSafely } from "../../internal/thrown.ts"
import { certificateProblem, codeOf, isNotTls, networkDetail, textOf } from "../../internal/tls.ts"
import type { ConnectOptions, Ending, TlsOptions } from "./Connection.ts"

/** The name of a TLS option in messages: as in the URL or as in the program. */
const named = ({ isFromUrl }: ConnectOptions) => (option: keyof TlsOptions): string =>
  isFromUrl === true ? `${option === "minVersion" ? "min-version" : option} in the URL` : `tls.${option}`

const plainAdvice = ({ isFromUrl }: ConnectOptions): string =>
  isFromUrl === true
    ? "use a URL that begins with beanstalk://"
    : "leave the tls option out, or use a URL that begins with beanstalk://"

const tlsAdvice = ({ isFromUrl }: ConnectOptions): string =>
  isFromUrl === true ? "use a URL that begins with beanstalks://" : "set the tls option"

type PemOption = "ca" | "cert" | "key"

const pemProblems = {
  isNoPem: "must be PEM, with a line -----BEGIN ...-----",
  isKey: "must have a certificate, not only a private key: swap the files, or name the right one",
  isCertificate: "must have a private key, not only a certificate: swap the files, or name the right one",
  isLocked: "must have no passphrase: remove it with openssl pkey",
  isOtherKey: "must be the private key of the certificate, not another one: name the right file"
}

const certificates =
  /-----BEGIN (?:X509 )?CERTIFICATE-----(?:(?!-----END)[^])*(?:-----END (?:X509 )?CERTIFICATE-----)?/g

const isReadable = (read: () => unknown): boolean => Result.isSuccess(callSafely(read))

/** Why the text of an option is invalid. Node.js itself ignores an authority that is not a certificate. */
const pemRule = (option: PemOption, pem: string): string | undefined => {
  if (!/-----BEGIN [A-Z0-9 ]+-----/.test(pem)) return pemProblems.isNoPem
  const hasKey = /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/.test(pem)
  const hasCertificate = /-----BEGIN [A-Z0-9 ]*CERTIFICATE-----/.test(pem)
  if (option === "key") {
    if (!hasKey) return hasCertificate ? pemProblems.isCertificate : undefined
    if (/ENCRYPTED/.test(pem)) return pemProblems.isLocked
    return isReadable(() => createPrivateKey(pem))
      ? undefined
      : "must be a key that can be read, but is damaged: copy the original file again"
  }
  if (!hasCertificate && hasKey) return pemProblems.isKey
  const damaged = (pem.match(certificates) ?? []).findIndex((one) => !isReadable(() => new X509Certificate(one)))
  return damaged === -1
    ? undefined
    : `must be undamaged, but certificate ${damaged + 1} of it is damaged: copy the original file again`
}

const latin1 = (pem: string | Uint8Array): string => Buffer.from(pem).toString("latin1")

/** Why the PEM options can't be used. It is checked before a connection opens. */
export const pemProblem = (broker: string, options: ConnectOptions): BrokerError | undefined => {
  const { ca, cert, key } = options.tls ?? {}
  const values: { readonly [Option in PemOption]: ReadonlyArray<string> } = {
    ca: [ca ?? []].flat().map(latin1),
    cert: cert === undefined ? [] : [latin1(cert)],
    key: key === undefined ? [] : [Redacted.value(key)]
  }
  const problem = (option: PemOption, rule: string) => optionInvalid(`${named(options)(option)}, for ${broker},`, rule)
  for (const option of ["ca", "cert", "key"] as const) {
    const rule = values[option].map((pem) => pemRule(option, pem)).find((rule) => rule !== undefined)
    if (rule !== undefined) return problem(option, rule)
  }
  const [ours] = values.cert
  const [secret] = values.key
  if (ours === undefined && secret === undefined) return undefined
  if (ours === undefined) return problem("key", `must be given with ${named(options)("cert")}: set both`)
  if (secret === undefined) return problem("cert", `must be given with ${named(options)("key")}: set both`)
  const isPair = callSafely(() => new X509Certificate(ours).checkPrivateKey(createPrivateKey(secret)))
  return Result.isSuccess(isPair) && !isPair.success ? problem("key", pemProblems.isOtherKey) : undefined
}

/** Whether the code means a problem of a certificate or a TLS option, so that a retry does not help. */
const isTlsCode = (code: string): boolean =>
  certificateProblem(code, "", String) !== undefined || /^(ERR_TLS|ERR_SSL|ERR_OSSL|CERT_|EPROTO)/.test(code)

/** Whether an option is wrong, rather than the server away. Such a failure is reported at once, without a retry. */
export const isMisconfigured = (cause: unknown): boolean => isTlsCode(codeOf(cause))

/** Explains why a connection could not be opened. */
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
      detail: `the server refused the TLS handshake (${text}): check ${name("cert")}, ${name("key")} and ${
        name("minVersion")
      }`,
      cause
    }
  }
  if (code === "ECONNRESET" || code === "EPIPE") {
    return {
      detail: options.tls === undefined
        ? `the connection was reset as soon as it was open (${code}): check that no proxy or firewall refuses this address`
        : "the server closed the connection during the TLS handshake: it may not speak TLS, or refuse the client certificate",
      cause
    }
  }
  return { detail: text === "" ? code : text, cause }
}

/** Explains that a connection was not open in time. */
export const openTimeout = ({ tls }: ConnectOptions): Ending => ({
  detail: tls === undefined
    ? "the connection was not opened in time: check the host, the network and firewalls"
    : "the connection was not opened in time: check the network, and that the server speaks TLS on this port"
})

/** Explains why the server closed an open connection. `answered` tells whether there was a reply before. */
export const closeFailure = (options: ConnectOptions, answered: boolean): Ending => ({
  detail: answered
    ? "the server closed the connection"
    : "the server closed the connection without a reply: if a proxy listens there, check that beanstalkd " +
      `runs behind it${options.tls === undefined ? `; if it expects TLS, ${tlsAdvice(options)}` : ""}`
})

/** Explains why an open connection failed. */
export const cutFailure = (options: ConnectOptions, cause: unknown): Ending => {
  const code = codeOf(cause)
  return code === "ECONNRESET" || code === "EPIPE"
    ? { detail: `the connection was reset (${code})`, cause }
    : openFailure(options, cause)
}
