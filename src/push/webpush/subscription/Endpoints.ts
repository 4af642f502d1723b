/**
 * Which endpoints a message may go to. An endpoint comes from a stranger's browser, and
 * this machine connects to it, so it must be checked before every push.
 *
 * An endpoint is an `https` URL with a host name, without a user, a fragment or a port.
 * By default its host must belong to the push services of Google, Mozilla, Apple or
 * Microsoft. {@link Options} may allow others.
 *
 * The host name alone proves nothing: see `AddressGuard` for its addresses.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Result from "effect/Result"
import { isIP } from "node:net"
import { mustBe } from "../../../internal/options.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The hosts that messages may go to:
 *
 * - `"known"`: the push services of the big browsers ({@link known});
 * - `"anyPublic"`: any host with public addresses, at port 443;
 * - a list: `push.example.com` is one host, `*.example.com` are all names below it. Port
 *   443 is meant; `push.example.com:8443` is another port, and `localhost:*` any. An
 *   address must be listed as it stands in the endpoint.
 *
 * @category models
 * @since 0.1.0
 */
export type Allowed = "known" | "anyPublic" | ReadonlyArray<string>

/**
 * An endpoint that was checked.
 *
 * @category models
 * @since 0.1.0
 */
export interface Endpoint {
  /** Scheme, host and port: `https://fcm.googleapis.com`. */
  readonly origin: string
  /** The host, in lower case and without a dot at the end. */
  readonly host: string
  readonly port: number
  /** Path and query: whoever knows them can push. */
  readonly path: string
}

/**
 * The push services of Google, Mozilla, Apple and Microsoft.
 *
 * @category constants
 * @since 0.1.0
 */
export const known: ReadonlyArray<string> = [
  "fcm.googleapis.com",
  "updates.push.services.mozilla.com",
  "*.push.services.mozilla.com",
  "*.push.apple.com",
  "*.notify.windows.com"
]

/**
 * The largest endpoint, in characters. Those of Microsoft have about 600.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxChars = 2048

// -----------------------------------------------------------------------------
// The form
// -----------------------------------------------------------------------------

/** The URL parser drops or turns them: another parser may read another host. */
// oxlint-disable-next-line no-control-regex
const ambiguous = /[\0-\x20\x7f\\]/

/** `https:` and two slashes, as the parser would also add them. */
const scheme = /^https:\/\/[^/]/i

const withoutDot = (host: string): string => host.endsWith(".") ? host.slice(0, -1) : host

const isAddress = (host: string): boolean => host.startsWith("[") || isIP(host) !== 0

/**
 * Reads an endpoint. The failure is the rule that it breaks, and never quotes it.
 *
 * @category functions
 * @since 0.1.0
 */
export const parse = (text: string): Result.Result<Endpoint, string> => {
  const rule = formRule(text)
  if (rule !== undefined) return Result.fail(rule)
  const url = URL.parse(text)
  if (url === null) return Result.fail("must be a URL")
  if (url.username !== "" || url.password !== "") return Result.fail("must not contain a user name or a password")
  const host = withoutDot(url.hostname)
  if (host === "") return Result.fail("must name a host")
  const port = url.port === "" ? 443 : Number(url.port)
  return Result.succeed({
    origin: `https://${host}${url.port === "" ? "" : `:${url.port}`}`,
    host,
    port,
    path: url.pathname + url.search
  })
}

const formRule = (text: unknown): string | undefined => {
  if (typeof text !== "string") return "must be a string"
  if (text.length > maxChars) return `must have at most ${maxChars} characters, and has ${text.length}`
  if (ambiguous.test(text)) return "must not contain blanks, control characters or backslashes"
  if (text.includes("#")) return "must not contain a fragment"
  return scheme.test(text) ? undefined : "must be an https URL"
}

// -----------------------------------------------------------------------------
// The hosts
// -----------------------------------------------------------------------------

/** An entry of a list: a name, whether the names below it are meant, and the port. */
interface Entry {
  readonly host: string
  readonly isBelow: boolean
  /** `undefined` for any. */
  readonly port: number | undefined
}

/** Reads an entry of a list, by the same parser as endpoints. */
const entryOf = (text: string): Entry | undefined => {
  const isBelow = text.startsWith("*.")
  const name = isBelow ? text.slice(2) : text
  const anyPort = name.endsWith(":*")
  const authority = anyPort ? name.slice(0, -2) : name
  if (/[/?#@*]/.test(authority)) return undefined
  const read = parse(`https://${authority}/`)
  if (Result.isFailure(read) || (isBelow && isAddress(read.success.host))) return undefined
  return { host: read.success.host, isBelow, port: anyPort ? undefined : read.success.port }
}

/**
 * The rule that an option breaks, or `undefined`.
 *
 * @category functions
 * @since 0.1.0
 */
export const wrongAllowed = (allowed: Allowed): string | undefined => {
  if (allowed === "known" || allowed === "anyPublic") return undefined
  if (!Array.isArray(allowed) || allowed.length === 0) {
    return mustBe("\"known\", \"anyPublic\" or a list of at least one host", allowed)
  }
  const wrong = allowed.find((entry) => typeof entry !== "string" || entryOf(entry) === undefined)
  return wrong === undefined
    ? undefined
    : mustBe("a list of hosts such as push.example.com, *.example.com or push.example.com:8443", wrong)
}

const covers = ({ host: own, isBelow, port: ownPort }: Entry, { host, port }: Endpoint): boolean =>
  (ownPort === undefined || ownPort === port) && (isBelow ? host.endsWith(`.${own}`) : host === own)

const notListed =
  "is not the host of a push service that is allowed: add it to `allow` if you know it, or allow anyPublic"

/**
 * Makes the check of endpoints. Its failure is the rule that the host breaks.
 *
 * @category constructors
 * @since 0.1.0
 */
export const rulesOf = (allowed: Allowed): (endpoint: Endpoint) => string | undefined => {
  if (allowed === "anyPublic") {
    return ({ host, port }) =>
      isAddress(host)
        ? "must be a host name, not an address"
        : port === 443
        ? undefined
        : "must have no port: push services listen at 443"
  }
  const entries = (allowed === "known" ? known : allowed).flatMap((entry) => entryOf(entry) ?? [])
  return (endpoint) => entries.some((entry) => covers(entry, endpoint)) ? undefined : notListed
}
