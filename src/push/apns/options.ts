/**
 * What the options of a credential and of its connections have to be. Each
 * function says what is wrong with a value, and what to do, or nothing. None
 * quotes the value. Pure.
 */
// @effect-diagnostics nodeBuiltinImport:off
import { isIP } from "node:net"
import { type Authority, type Environment, hosts } from "./Endpoint.ts"
import { otherKind } from "./notification/PushType.ts"
import { bundleIdRule, isBundleId } from "./notification/rules.ts"

/** What is wrong with a value; `undefined` for nothing. */
export type Check = (value: string) => string | undefined

/** What a value that is copied from elsewhere often has around it. */
const around = (value: unknown): string => {
  if (typeof value !== "string") return ""
  if (value === "") return ", and it is empty"
  if (/[\r\n]/.test(value)) return ", and it has a line end in it"
  if (/\s/.test(value)) return ", and it has blanks in it"
  return /["'`]/.test(value) ? ", and it has quotes in it" : ""
}

/** A topic: a bundle id, perhaps with the suffix of a push type. */
export const topic: Check = (value) =>
  typeof value === "string" && isBundleId(value) ? undefined : `${bundleIdRule}${around(value)}`

/** The topic of notifications that have none: of any push type, whose suffix is added. */
export const defaultTopic: Check = (value) => {
  const wrong = topic(value)
  if (wrong !== undefined) return wrong
  const kind = otherKind("alert", value)
  return kind === undefined ? undefined : `it ends with the suffix of ${kind}: give the bundle id, the suffix is added`
}

/** The id of a key, or of a team. */
export const id: Check = (value) =>
  typeof value === "string" && /^[A-Z0-9]{10}$/.test(value)
    ? undefined
    : `it has 10 capital letters and digits${around(value)}: the developer account shows it`

/** One of Apple's two worlds. */
export const environment: Check = (value) =>
  Object.hasOwn(hosts, value) ? undefined : `it has to be ${Object.keys(hosts).join(" or ")}`

/** A port, in digits. */
export const port: Check = (value) =>
  /^\d{1,5}$/.test(value) && Number(value) >= 1 && Number(value) <= 65_535
    ? undefined
    : `it has to be a port from 1 to 65535${around(value)}`

/** Apple's servers for pushes, by what is theirs in the name; `development` is the sandbox's older one. */
const appleHost = /^api\.(?:(sandbox|development)\.)?push\.apple\.com\.?$/i

const otherHost = (value: string, environment: Environment): string | undefined => {
  if (/^(?:gateway|feedback)\.(?:sandbox\.)?push\.apple\.com\.?$/i.test(value)) {
    return "it is a server for Apple's binary protocol, which ended in 2021: leave the host away"
  }
  if (/^api-manage-broadcast\.(?:sandbox\.)?push\.apple\.com\.?$/i.test(value)) {
    return "it is Apple's server for channels, and takes no pushes: leave the host away"
  }
  const apple = appleHost.exec(value)
  const world = apple?.[1] === undefined ? "production" : "sandbox"
  return apple === null || world === environment
    ? undefined
    : `it is Apple's server for ${world}, and the environment is ${environment}: give the environment, and leave the host away`
}

/** The server that pushes go to: another one than Apple's, or Apple's for this environment. */
export const pushHost = (environment: Environment): Check => (value) => host(value) ?? otherHost(value, environment)

/** Apple's server has two ports. */
export const pushPort = ({ host, port }: Authority): string | undefined =>
  !appleHost.test(host) || port === 443 || port === 2197
    ? undefined
    : "Apple's server for pushes listens on 443 and on 2197"

/** RFC 7617, section 2. */
export const proxyUser: Check = (value) =>
  typeof value !== "string" || /[:\p{Cc}]/u.test(value)
    ? "it has to be a text without a colon and without control characters"
    : undefined

/** RFC 7617, section 2. */
export const proxyPassword: Check = (value) =>
  typeof value !== "string" || /\p{Cc}/u.test(value)
    ? "it has to be a text without control characters, Redacted"
    : undefined

/** The name of a server, or its address. */
export const host: Check = (value) => {
  const name = "it has to be the name of a host, such as api.push.apple.com, or its address"
  if (typeof value !== "string") return name
  if (isIP(value) !== 0) return undefined
  if (/[/@?#\\]|^https?:/i.test(value)) return `${name}, and it is a URL, or a part of one: give the host alone`
  if (value.startsWith("[")) return `${name}: leave the brackets away`
  if (value.includes(":")) return `${name}: give the port apart from it`
  // also names in other alphabets
  return /^[\p{L}\p{N}_-]+(?:\.[\p{L}\p{N}_-]+)*\.?$/u.test(value) ? undefined : `${name}${around(value)}`
}
