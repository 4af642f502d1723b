/** How many connections to Apple there are, and how long is waited: the options, their defaults, and what they have to be. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as CredentialError from "./credential/CredentialError.ts"
import type * as Endpoint from "./Endpoint.ts"
import * as OptionRules from "./options.ts"

/**
 * How many connections there are, and how long is waited.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConnectionOptions {
  /** The most connections to one host. Default: 4. */
  readonly maxConnections?: number | undefined
  /** How long opening a connection may take: name, TCP, proxy, TLS and first SETTINGS together. Default: 10 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** How long an answer may take. Default: 30 seconds. */
  readonly requestTimeout?: Duration.Input | undefined
  /** How long a push may wait for a connection before it fails with `NotSent` or `Timeout`. Default: 30 seconds. */
  readonly queueTimeout?: Duration.Input | undefined
  /** After how long without a push a connection that others can do the work of is closed. Default: 10 minutes. */
  readonly idleTimeout?: Duration.Input | undefined
  /** A PING is sent after so long without a word from Apple. Default: 1 minute. */
  readonly idlePing?: Duration.Input | undefined
  /** How long a PING may go unanswered before the connection is given up. Default: 10 seconds. */
  readonly pingTimeout?: Duration.Input | undefined
  /** How long answers are waited for when the layer closes. Default: 10 seconds. */
  readonly drainTimeout?: Duration.Input | undefined
}

type Rule = readonly [option: string, isKept: boolean, rule: string]

const whole = (option: string, value: number, max: number): Rule => [
  option,
  Number.isInteger(value) && value >= 1 && value <= max,
  `it has to be a whole number from 1 to ${max}`
]

const checked = (option: string, rule: string | undefined): Rule => [option, rule === undefined, rule ?? ""]

const host = (option: string, value: string): Rule => checked(option, OptionRules.host(value))

const proxyRules = ({ host: name, password, port, username }: Endpoint.Proxy): ReadonlyArray<Rule> => [
  host("proxy.host", name),
  whole("proxy.port", port, 65_535),
  checked("proxy.username", username === undefined ? undefined : OptionRules.proxyUser(username)),
  checked(
    "proxy.password",
    password === undefined
      ? undefined
      : OptionRules.proxyPassword(Redacted.isRedacted(password) ? Redacted.value(password) : undefined as never)
  )
]

const time = (option: string, value: Duration.Input | undefined, min = 1): Rule => [
  option,
  value === undefined || Option.exists(Duration.fromInput(value), (given) => Duration.toMillis(given) >= min),
  `it has to be a time of at least ${min} ms`
]

/** The first option of endpoint or connections that can't be meant. */
export const wrongOption = (
  endpoint: Endpoint.Endpoint,
  options: ConnectionOptions
): CredentialError.OptionInvalid | undefined => {
  const rules: ReadonlyArray<Rule> = [
    checked("host", OptionRules.pushHost(endpoint.environment)(endpoint.push.host)),
    host("broadcast.host", endpoint.broadcast.host),
    host("channels.host", endpoint.channels.host),
    ...(endpoint.proxy === undefined ? [] : proxyRules(endpoint.proxy)),
    whole("port", endpoint.push.port, 65_535),
    checked("port", OptionRules.pushPort(endpoint.push)),
    whole("broadcast.port", endpoint.broadcast.port, 65_535),
    whole("channels.port", endpoint.channels.port, 65_535),
    whole("maxConnections", options.maxConnections ?? 1, 1000),
    time("connectTimeout", options.connectTimeout),
    time("requestTimeout", options.requestTimeout),
    time("queueTimeout", options.queueTimeout),
    time("idleTimeout", options.idleTimeout),
    time("idlePing", options.idlePing),
    time("pingTimeout", options.pingTimeout),
    time("drainTimeout", options.drainTimeout, 0)
  ]
  const broken = rules.find(([, isKept]) => !isKept)
  return broken && new CredentialError.OptionInvalid({ option: broken[0], rule: broken[2] })
}

/** What a pool is told, once the options are known to be good. */
export const limitsOf = (options: ConnectionOptions) => ({
  maxConnections: options.maxConnections ?? 4,
  queueTimeout: Duration.fromInputUnsafe(options.queueTimeout ?? "30 seconds"),
  idleTimeout: Duration.fromInputUnsafe(options.idleTimeout ?? "10 minutes"),
  drainTimeout: Duration.fromInputUnsafe(options.drainTimeout ?? "10 seconds")
})
