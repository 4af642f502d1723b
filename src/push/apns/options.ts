/**
 * The rules of a credential's options and of where it pushes to. Each returns
 * the end of a sentence that the name of the option begins, such as `must be a
 * port from 1 to 65535`, or `undefined`. None quotes the value: what stands in
 * an environment variable by mistake may be a secret. Pure.
 */
// @effect-diagnostics nodeBuiltinImport:off
import { isIP } from "node:net"
import { type Authority, type Environment, hosts } from "./Endpoint.ts"
import { otherKind } from "./notification/PushType.ts"
import { bundleIdRule, isBundleId } from "./notification/rules.ts"

/** The rule that a value breaks, or `undefined`. */
export type Check = (value: string) => string | undefined

/** What to do about the blanks, quotes and line ends that a copied value often has. */
const advice = (value: unknown): string => {
  if (typeof value !== "string") return ""
  if (value === "") return ", and is empty"
  if (/[\r\n]/.test(value)) return ": remove the line end"
  if (/\s/.test(value)) return ": remove the blanks"
  return /["'`]/.test(value) ? ": remove the quotes" : ""
}

/** A topic: a bundle id, perhaps with the suffix of a push type. */
export const topic: Check = (value) =>
  typeof value === "string" && isBundleId(value)
    ? undefined
    : `${bundleIdRule}${advice(value)}`

/** The topic of notifications that have none: of any push type, whose suffix is added. */
export const defaultTopic: Check = (value) => {
  const wrong = topic(value)
  if (wrong !== undefined) return wrong
  const kind = otherKind("alert", value)
  return kind === undefined
    ? undefined
    : `must not end with the suffix of ${kind}: give the bundle id, and backq adds the suffix`
}

/** The id of a key, or of a team. */
export const id: Check = (value) =>
  typeof value === "string" && /^[A-Z0-9]{10}$/.test(value)
    ? undefined
    : `must have 10 capital letters and digits, as the developer account shows it${advice(value)}`

/** Apple's environment. */
export const environment: Check = (value) =>
  Object.hasOwn(hosts, value) ? undefined : `must be ${Object.keys(hosts).join(" or ")}`

/** A port, in digits. */
export const port: Check = (value) =>
  /^\d{1,5}$/.test(value) && Number(value) >= 1 && Number(value) <= 65_535
    ? undefined
    : `must be a port from 1 to 65535${advice(value)}`

/** Apple's servers for pushes, by what is theirs in the name; `development` is the sandbox's older one. */
const appleHost = /^api\.(?:(sandbox|development)\.)?push\.apple\.com\.?$/i

const otherHost = (value: string, environment: Environment): string | undefined => {
  if (/^(?:gateway|feedback)\.(?:sandbox\.)?push\.apple\.com\.?$/i.test(value)) {
    return "must not be a server for Apple's binary protocol, which ended in 2021: leave the host out"
  }
  if (/^api-manage-broadcast\.(?:sandbox\.)?push\.apple\.com\.?$/i.test(value)) {
    return "must not be Apple's server for channels, which takes no pushes: leave the host out"
  }
  const apple = appleHost.exec(value)
  const world = apple?.[1] === undefined ? "production" : "sandbox"
  return apple === null || world === environment
    ? undefined
    : `must not be Apple's server for ${world} when the environment is ${environment}: set the environment, and leave the host out`
}

/** The server that pushes go to: another one than Apple's, or Apple's for this environment. */
export const pushHost = (environment: Environment): Check => (value) => host(value) ?? otherHost(value, environment)

/** Apple's server has two ports. */
export const pushPort = ({ host, port }: Authority): string | undefined =>
  !appleHost.test(host) || port === 443 || port === 2197
    ? undefined
    : "must be 443 or 2197 for Apple's server"

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

/** The name of a server, or its address. */
export const host: Check = (value) => {
  const name = "must be a host name, such as api.push.apple.com, or an address"
  if (typeof value !== "string") return name
  if (isIP(value) !== 0) return undefined
  if (/[/@?#\\]|^https?:/i.test(value)) return `${name}, not a URL or a part of one: give the host alone`
  if (value.startsWith("[")) return `${name}: remove the brackets`
  if (value.includes(":")) return `${name}: give the port in its own option`
  // also names in other alphabets
  return /^[\p{L}\p{N}_-]+(?:\.[\p{L}\p{N}_-]+)*\.?$/u.test(value) ? undefined : `${name}${advice(value)}`
}
