/**
 * The rules of a credential's options and of where it pushes to. Each returns
 * the end of a sentence that the name of the option begins, such as `must be a
 * port from 1 to 65535`, or `undefined`. None quotes the value: what stands in
 * an environment variable by mistake may be a secret. Pure.
 */
import { Servers } from "../pool/index.ts"
import { type Authority, type Environment, hosts } from "./Endpoint.ts"
import { otherKind } from "./notification/PushType.ts"
import { bundleIdRule, isBundleId } from "./notification/rules.ts"

/** A topic: a bundle id, perhaps with the suffix of a push type. */
export const topic: Servers.Check = (value) =>
  typeof value === "string" && isBundleId(value)
    ? undefined
    : `${bundleIdRule}${Servers.advice(value)}`

/** The topic of notifications that have none: of any push type, whose suffix is added. */
export const defaultTopic: Servers.Check = (value) => {
  const wrong = topic(value)
  if (wrong !== undefined) return wrong
  const kind = otherKind("alert", value)
  return kind === undefined
    ? undefined
    : `must not end with the suffix of ${kind}: give the bundle id, and backq adds the suffix`
}

/** The id of a key, or of a team. */
export const id: Servers.Check = (value) =>
  typeof value === "string" && /^[A-Z0-9]{10}$/.test(value)
    ? undefined
    : `must have 10 capital letters and digits, as the developer account shows it${Servers.advice(value)}`

/** Apple's environment. */
export const environment: Servers.Check = (value) =>
  Object.hasOwn(hosts, value) ? undefined : `must be ${Object.keys(hosts).join(" or ")}`

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

/** The name of a server, or its address. */
export const host = Servers.host("api.push.apple.com")

/** The server that pushes go to: another one than Apple's, or Apple's for this environment. */
export const pushHost = (environment: Environment): Servers.Check => (value) =>
  host(value) ?? otherHost(value, environment)

/** Apple's server has two ports. */
export const pushPort = ({ host, port }: Authority): string | undefined =>
  !appleHost.test(host) || port === 443 || port === 2197
    ? undefined
    : "must be 443 or 2197 for Apple's server"
