/**
 * Apple's servers: the environment, its hosts and ports, and the proxy. Values only.
 *
 * Source: Apple, "Sending notification requests to APNs" and "Sending channel
 * management requests to APNs".
 */
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Servers } from "../pool/index.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Apple's environments. A device token belongs to one of them: `sandbox` for apps that
 * Xcode installs, `production` for all others (App Store, TestFlight, ad hoc).
 *
 * @category models
 * @since 0.1.0
 */
export const Environment = Schema.Literals(["production", "sandbox"])

/**
 * The decoded {@link Environment}.
 *
 * @category models
 * @since 0.1.0
 */
export type Environment = typeof Environment.Type

/**
 * A server.
 *
 * @category models
 * @since 0.1.0
 */
export interface Authority extends Servers.Authority {}

/**
 * An HTTP proxy that supports CONNECT (RFC 9110, section 9.3.6). TLS ends at Apple, not at the proxy.
 *
 * @category models
 * @since 0.1.0
 */
export interface Proxy extends Servers.Proxy {}

/**
 * The servers for pushes, broadcasts and channel requests.
 *
 * @category models
 * @since 0.1.0
 */
export interface Endpoint {
  readonly environment: Environment
  /** The server for pushes to devices. */
  readonly push: Authority
  /** The server for broadcasts to channels. */
  readonly broadcast: Authority
  /** The server that creates, lists and deletes channels. */
  readonly channels: Authority
  readonly proxy: Proxy | undefined
}

/**
 * The options of an {@link Endpoint}.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Default: `"production"`. */
  readonly environment?: Environment | undefined
  /** Another host for pushes and broadcasts, such as a simulator. Default: Apple's. */
  readonly host?: string | undefined
  /** 443 or, for firewalls that block it, 2197. Default: 443. */
  readonly port?: number | undefined
  /** The server for broadcasts. Default: the server for pushes. */
  readonly broadcast?: Partial<Authority> | undefined
  /** The server for channel requests. Default: Apple's, or `host` and `port` if `host` is set. */
  readonly channels?: Partial<Authority> | undefined
  /** Default: none. */
  readonly proxy?: Proxy | undefined
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Apple's servers.
 *
 * @category constants
 * @since 0.1.0
 */
export const hosts: Record<Environment, { readonly push: string; readonly channels: Authority }> = {
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
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options = {}): Endpoint => {
  const environment = options.environment ?? "production"
  const apple = hosts[environment]
  const push: Authority = { host: options.host ?? apple.push, port: options.port ?? 443 }
  const channels = options.host === undefined || options.host === apple.push ? apple.channels : push
  return {
    environment,
    push,
    broadcast: { host: options.broadcast?.host ?? push.host, port: options.broadcast?.port ?? push.port },
    channels: { host: options.channels?.host ?? channels.host, port: options.channels?.port ?? channels.port },
    // A program without types may pass null.
    proxy: options.proxy ?? undefined
  }
}

/**
 * Reads the URL of a proxy: `http://user:password@proxy.example.com:3128`.
 * The failure is the broken rule. It never quotes the text.
 *
 * @category functions
 * @since 0.1.0
 */
export const parseProxy: (text: string) => Result.Result<Proxy, string> = Servers.parseProxy
