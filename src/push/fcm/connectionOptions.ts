/**
 * The options of the connections to Google: servers, limits, defaults and rules.
 *
 * Google allows 100 streams on a connection, and punishes PINGs on idle connections. It
 * closes idle ones after about 3 minutes, so that backq closes them before.
 */
import * as Duration from "effect/Duration"
import { ConnectionRules, Servers } from "../pool/index.ts"
import * as CredentialError from "./credential/CredentialError.ts"

/**
 * The servers, how many connections there are, and how long each step may take.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConnectionOptions {
  /** Another server, such as a simulator. Default: `fcm.googleapis.com`. */
  readonly host?: string | undefined
  /** Default: 443. */
  readonly port?: number | undefined
  /** The server for topic subscriptions. Default: `iid.googleapis.com`, or `host` and `port` if `host` is set. */
  readonly topics?: Partial<Servers.Authority> | undefined
  /** The certificate authorities to trust, in PEM. Default: those that Node.js trusts. */
  readonly ca?: string | undefined
  /** An HTTP proxy that supports CONNECT. Default: none. */
  readonly proxy?: Servers.Proxy | undefined
  /** At most this many connections. Default: 10. */
  readonly maxConnections?: number | undefined
  /** At most this many pushes in flight on a connection, even if Google allows more. Default: 100. */
  readonly maxStreams?: number | undefined
  /** The deadline to open a connection: DNS, TCP, proxy, TLS and first SETTINGS together. Default: 10 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** How long Google may take to answer a push. Default: 15 seconds. */
  readonly requestTimeout?: Duration.Input | undefined
  /** How long a push may wait for a connection before it fails with `NotSent` or `Timeout`. Default: 30 seconds. */
  readonly queueTimeout?: Duration.Input | undefined
  /** Closes connections after this idle time. Default: 150 seconds. */
  readonly idleTimeout?: Duration.Input | undefined
  /**
   * While pushes wait for answers and Google is silent for half of this time, the
   * connection sends one PING, and closes without an answer. Default: 20 seconds.
   */
  readonly pingTimeout?: Duration.Input | undefined
  /** How long the layer waits for answers when it closes. Default: 10 seconds. */
  readonly drainTimeout?: Duration.Input | undefined
}

/** The servers of the options. */
export const serversOf = ({ host, port, topics }: ConnectionOptions) => {
  const push: Servers.Authority = { host: host ?? "fcm.googleapis.com", port: port ?? 443 }
  const iid = host === undefined ? { host: "iid.googleapis.com", port: 443 } : push
  return { push, topics: { host: topics?.host ?? iid.host, port: topics?.port ?? iid.port } }
}

const host = Servers.host("fcm.googleapis.com")

/** The first option that breaks its rule. */
export const wrongOption = (options: ConnectionOptions): CredentialError.OptionInvalid | undefined => {
  const { push, topics } = serversOf(options)
  const wrong = ConnectionRules.firstBroken([
    ["host", host(push.host)],
    ConnectionRules.integer("port", push.port, 65_535),
    ["topics.host", host(topics.host)],
    ConnectionRules.integer("topics.port", topics.port, 65_535),
    ["ca", options.ca === undefined || typeof options.ca === "string" ? undefined : "must be a text in PEM"],
    ...(options.proxy === undefined ? [] : Servers.proxyRules(options.proxy)),
    ConnectionRules.integer("maxStreams", options.maxStreams ?? 1, 1000),
    ...ConnectionRules.rules(options)
  ])
  return wrong && new CredentialError.OptionInvalid(wrong)
}

/** The limits of a pool, from options that were checked. */
export const limitsOf = (options: ConnectionOptions) => ({
  maxConnections: options.maxConnections ?? 10,
  queueTimeout: Duration.fromInputUnsafe(options.queueTimeout ?? "30 seconds"),
  idleTimeout: Duration.fromInputUnsafe(options.idleTimeout ?? "150 seconds"),
  drainTimeout: Duration.fromInputUnsafe(options.drainTimeout ?? "10 seconds"),
  closesLast: true,
  doubtAfter: Duration.infinity
})

/** How many pushes a connection may have in flight. */
export const streamsOf = ({ maxStreams = 100 }: ConnectionOptions): number => maxStreams
