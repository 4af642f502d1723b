/**
 * Servers and proxies of push services, and the rules of their options. A rule returns
 * the end of a sentence that the name of the option begins, or `undefined`. It never
 * quotes the value: what stands in an environment variable by mistake may be a secret.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { isIP } from "node:net"
import * as Options from "../../internal/options.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** A server. */
export interface Authority {
  readonly host: string
  readonly port: number
}

/** An HTTP proxy that supports CONNECT (RFC 9110, section 9.3.6). TLS ends at the server, not at the proxy. */
export interface Proxy extends Authority {
  /** For basic authentication (RFC 7617). Default: none. */
  readonly username?: string | undefined
  readonly password?: Redacted.Redacted | undefined
}

/** The rule that a value breaks, or `undefined`. */
export type Check = (value: string) => string | undefined

/** An option and the rule that it breaks. */
export type Rule = readonly [option: string, broken: string | undefined]

// -----------------------------------------------------------------------------
// Rules
// -----------------------------------------------------------------------------

/** What to do about the blanks, quotes and line ends that a copied value often has. */
export const advice = (value: unknown): string => {
  if (typeof value !== "string") return ""
  if (value === "") return ", and is empty"
  if (/[\r\n]/.test(value)) return ": remove the line end"
  if (/\s/.test(value)) return ": remove the blanks"
  return /["'`]/.test(value) ? ": remove the quotes" : ""
}

/** A port, in digits. */
export const port: Check = (value) =>
  /^\d{1,5}$/.test(value) && Number(value) >= 1 && Number(value) <= 65_535
    ? undefined
    : `must be a port from 1 to 65535${advice(value)}`

/** RFC 7617, section 2. */
export const proxyUser: Check = (value) =>
  typeof value !== "string" || /[:\p{Cc}]/u.test(value)
    ? "must be a string without colons and control characters"
    : undefined

/** RFC 7617, section 2. */
export const proxyPassword: Check = (value) =>
  typeof value !== "string" || /\p{Cc}/u.test(value)
    ? "must be a Redacted string without control characters"
    : undefined

/** The name of a server, or its address. `example` is one for the message. */
export const host = (example: string): Check => (value) => {
  const name = `must be a host name, such as ${example}, or an address`
  if (typeof value !== "string") return name
  if (isIP(value) !== 0) return undefined
  if (/[/@?#\\]|^https?:/i.test(value)) return `${name}, not a URL or a part of one: give the host alone`
  if (value.startsWith("[")) return `${name}: remove the brackets`
  if (value.includes(":")) return `${name}: give the port in its own option`
  // also names in other alphabets
  return /^[\p{L}\p{N}_-]+(?:\.[\p{L}\p{N}_-]+)*\.?$/u.test(value) ? undefined : `${name}${advice(value)}`
}

/** The rules of a proxy. */
export const proxyRules = ({ host: name, password, port, username }: Proxy): ReadonlyArray<Rule> => [
  ["proxy.host", host("proxy.example.com")(name)],
  ["proxy.port", Options.integer(port, 1, 65_535)],
  ["proxy.username", username === undefined ? undefined : proxyUser(username)],
  [
    "proxy.password",
    password === undefined
      ? undefined
      : proxyPassword(Redacted.isRedacted(password) ? Redacted.value(password) : undefined as never)
  ]
]

/**
 * Reads the URL of a proxy: `http://user:password@proxy.example.com:3128`.
 * The failure is the broken rule. It never quotes the text.
 */
export const parseProxy = (text: string): Result.Result<Proxy, string> => {
  // The URL parser would remove them silently.
  if (/[\t\r\n]/.test(text.trim())) return Result.fail("must have no line end and no tab in it")
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || url.protocol !== "http:" || url.hostname === "") {
    return Result.fail("must be a URL such as http://proxy.example.com:3128")
  }
  if (url.pathname !== "/" || url.search !== "" || url.hash !== "") {
    return Result.fail("must be a URL of a host and a port, without a path")
  }
  return Result.mapError(
    Result.try((): Proxy => ({
      // brackets are the URL's, not the address's
      host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
      port: url.port === "" ? 80 : Number(url.port),
      ...(url.username === "" && url.password === "" ? undefined : {
        username: decodeURIComponent(url.username),
        password: Redacted.make(decodeURIComponent(url.password))
      })
    })),
    () => "must have its user and password percent-encoded"
  )
}
