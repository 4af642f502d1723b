/**
 * Where Apple's servers are: the environment, its hosts and ports, and the
 * proxy on the way. Values only; a connection is made elsewhere.
 *
 * Source: Apple, "Sending notification requests to APNs" and "Sending channel
 * management requests to APNs".
 */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Apple's two worlds. A device token belongs to one of them: apps that Xcode
 * installs are in the sandbox, all others (App Store, TestFlight, ad hoc) in
 * production.
 *
 * @category models
 * @since 0.1.0
 */
export const Environment = Schema.Literals(["production", "sandbox"])

/**
 * Apple's two worlds.
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
export interface Authority {
  readonly host: string
  readonly port: number
}

/**
 * A proxy that opens tunnels (HTTP CONNECT, RFC 9110, section 9.3.6). TLS ends at Apple, not there.
 *
 * @category models
 * @since 0.1.0
 */
export interface Proxy extends Authority {
  /** For basic authentication (RFC 7617). Default: none. */
  readonly username?: string | undefined
  readonly password?: Redacted.Redacted | undefined
}

/**
 * Where pushes, broadcasts and requests about channels go.
 *
 * @category models
 * @since 0.1.0
 */
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

/**
 * How an {@link Endpoint} differs from Apple's defaults.
 *
 * @category models
 * @since 0.1.0
 */
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
    // a program without types may have null for none
    proxy: options.proxy ?? undefined
  }
}

/**
 * The proxy that a URL names: `http://user:password@proxy.example.com:3128`.
 * The failure is the rule that the text breaks; it never quotes the text.
 *
 * @category functions
 * @since 0.1.0
 */
export const parseProxy = (text: string): Result.Result<Proxy, string> => {
  // a URL leaves them away within its parts
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
