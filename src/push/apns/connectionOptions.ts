/** The options of the connections to Apple: how many there are, how long they wait, defaults and rules. */
import * as Duration from "effect/Duration"
import { ConnectionRules, Servers } from "../pool/index.ts"
import * as CredentialError from "./credential/CredentialError.ts"
import type * as Endpoint from "./Endpoint.ts"
import * as OptionRules from "./options.ts"

/**
 * How many connections there are, and how long each step may take.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConnectionOptions {
  /** At most this many connections to one host. Default: 4. */
  readonly maxConnections?: number | undefined
  /** The deadline to open a connection: DNS, TCP, proxy, TLS and first SETTINGS together. Default: 10 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** How long Apple may take to answer a push. Default: 30 seconds. */
  readonly requestTimeout?: Duration.Input | undefined
  /** How long a push may wait for a connection before it fails with `NotSent` or `Timeout`. Default: 30 seconds. */
  readonly queueTimeout?: Duration.Input | undefined
  /** Closes surplus connections after this idle time. Default: 10 minutes. */
  readonly idleTimeout?: Duration.Input | undefined
  /** How long Apple may be silent before a PING is sent. Default: 1 minute. */
  readonly idlePing?: Duration.Input | undefined
  /** How long the connection waits for the answer to a PING before it closes. Default: 10 seconds. */
  readonly pingTimeout?: Duration.Input | undefined
  /** How long the layer waits for answers when it closes. Default: 10 seconds. */
  readonly drainTimeout?: Duration.Input | undefined
}

const host = (option: string, value: string): Servers.Rule => [option, OptionRules.host(value)]

/** The first option of endpoint or connections that breaks its rule. */
export const wrongOption = (
  endpoint: Endpoint.Endpoint,
  options: ConnectionOptions
): CredentialError.OptionInvalid | undefined => {
  const rules: ReadonlyArray<Servers.Rule> = [
    ["host", OptionRules.pushHost(endpoint.environment)(endpoint.push.host)],
    host("broadcast.host", endpoint.broadcast.host),
    host("channels.host", endpoint.channels.host),
    ...(endpoint.proxy === undefined ? [] : Servers.proxyRules(endpoint.proxy)),
    ConnectionRules.integer("port", endpoint.push.port, 65_535),
    ["port", OptionRules.pushPort(endpoint.push)],
    ConnectionRules.integer("broadcast.port", endpoint.broadcast.port, 65_535),
    ConnectionRules.integer("channels.port", endpoint.channels.port, 65_535),
    ...ConnectionRules.rules(options)
  ]
  const wrong = ConnectionRules.firstBroken(rules)
  return wrong && new CredentialError.OptionInvalid(wrong)
}

/** The limits of a pool, from options that were checked. */
export const limitsOf = (options: ConnectionOptions) => ({
  maxConnections: options.maxConnections ?? 4,
  queueTimeout: Duration.fromInputUnsafe(options.queueTimeout ?? "30 seconds"),
  idleTimeout: Duration.fromInputUnsafe(options.idleTimeout ?? "10 minutes"),
  drainTimeout: Duration.fromInputUnsafe(options.drainTimeout ?? "10 seconds")
})
