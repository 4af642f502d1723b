/**
 * Where Apple's servers are: the environment, its hosts and ports, and the
 * proxy on the way. Values only; a connection is made elsewhere.
 *
 * Source: Apple, "Sending notification requests to APNs" and "Sending channel
 * management requests to APNs".
 */
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Apple's two worlds. A device token belongs to one of them: apps that Xcode
 * installs are in the sandbox, all others (App Store, TestFlight, ad hoc) in
 * production.
 */
export const Environment = Schema.Literals(["production", "sandbox"])

/** Apple's two worlds. */
export type Environment = typeof Environment.Type

/** A server. */
export interface Authority {
  readonly host: string
  readonly port: number
}

/** A proxy that opens tunnels (HTTP CONNECT, RFC 9110, section 9.3.6). TLS ends at Apple, not there. */
export interface Proxy extends Authority {
  /** For basic authentication (RFC 7617). Default: none. */
  readonly credentials?: { readonly username: string; readonly password: Redacted.Redacted } | undefined
}

/** Where pushes, broadcasts and requests about channels go. */
export interface Endpoint {
  readonly environment: Environment
  /** Pushes to devices. */
  readonly push: Authority
  /** Broadcasts to channels. */
  readonly broadcast: Authority
  /** Making, listing and deleting channels. */
  readonly channels: Authority
  readonly proxy: Proxy | undefined
}

/** How an {@link Endpoint} differs from Apple's defaults. */
export interface Options {
  /** Default: `"production"`. */
  readonly environment?: Environment | undefined
  /** Another host for pushes and broadcasts, such as a simulator. Default: Apple's. */
  readonly host?: string | undefined
  /** Apple listens on 443 and, for firewalls that hold that one, on 2197. Default: 443. */
  readonly port?: number | undefined
  /** Where broadcasts go. Default: where pushes go. */
  readonly broadcast?: Partial<Authority> | undefined
  /** Where requests about channels go. Default: Apple's, or `host` and `port` where a `host` is given. */
  readonly channels?: Partial<Authority> | undefined
  /** Default: none. */
  readonly proxy?: Proxy | undefined
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

const apple: Record<Environment, { readonly push: string; readonly channels: Authority }> = {
  production: {
    push: "api.push.apple.com",
    channels: { host: "api-manage-broadcast.push.apple.com", port: 2196 }
  },
  sandbox: {
    push: "api.sandbox.push.apple.com",
    channels: { host: "api-manage-broadcast.sandbox.push.apple.com", port: 2195 }
  }
}

/**
 * Makes an endpoint.
 *
 * **Example**
 *
 * ```ts
 * Endpoint.make({ environment: "sandbox", port: 2197 }).push // => { host: "api.sandbox.push.apple.com", port: 2197 }
 * ```
 */
export const make = (options: Options = {}): Endpoint => {
  const environment = options.environment ?? "production"
  const hosts = apple[environment]
  const push: Authority = { host: options.host ?? hosts.push, port: options.port ?? 443 }
  const channels = options.host === undefined ? hosts.channels : push
  return {
    environment,
    push,
    broadcast: { host: options.broadcast?.host ?? push.host, port: options.broadcast?.port ?? push.port },
    channels: { host: options.channels?.host ?? channels.host, port: options.channels?.port ?? channels.port },
    proxy: options.proxy
  }
}
