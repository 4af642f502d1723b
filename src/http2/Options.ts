/**
 * The options of a connection: the server, TLS, the proxy, and the timeouts.
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { Http2Error } from "./Http2Error.ts"

/** The TLS options: which servers to trust, and which certificate to present. */
export interface TlsOptions {
  /** The certificate authorities to trust, in PEM. Default: those that Node.js trusts. */
  readonly ca?: string | Uint8Array | ReadonlyArray<string | Uint8Array> | undefined
  /** The client certificate, in PEM, for servers that ask for one. */
  readonly cert?: string | Uint8Array | undefined
  /** The private key of `cert`, in PEM. */
  readonly key?: Redacted.Redacted<string | Uint8Array> | undefined
  /** Certificate and private key in one PKCS #12 file, instead of `cert` and `key`. */
  readonly pfx?: Redacted.Redacted<Uint8Array> | undefined
  /** The passphrase of `key` or `pfx`. */
  readonly passphrase?: Redacted.Redacted<string> | undefined
  /** The name that the server's certificate must have. Default: the host. */
  readonly servername?: string | undefined
  /** Default: `"TLSv1.2"`. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3" | undefined
  /** Whether the server must choose `h2` by ALPN. APNs does not always. Default: true. */
  readonly requireAlpn?: boolean | undefined
}

/** An HTTP proxy that supports CONNECT. */
export interface ProxyOptions {
  readonly host: string
  readonly port: number
  readonly username?: string | undefined
  readonly password?: Redacted.Redacted<string> | undefined
}

/** The options of a connection. */
export interface Options {
  readonly host: string
  /** Default: 443. */
  readonly port?: number | undefined
  readonly tls?: TlsOptions | undefined
  readonly proxy?: ProxyOptions | undefined
  /**
   * Resolves a host name to addresses; the connection tries them in random order.
   * Default: a new DNS lookup for each connection.
   */
  readonly lookup?: ((host: string) => Effect.Effect<ReadonlyArray<string>, Http2Error>) | undefined
  /**
   * Looks at every address of `host` before one is dialled: returns why it must not be, as `is a private address`,
   * or `undefined`. A refused address refuses the host, so that a name with a public and a private address opens
   * nothing. The connection dials the very addresses that were looked at. A proxy resolves the name itself, so its
   * options must not go together with this one. Default: dials any address.
   */
  readonly refuseAddress?: ((address: string) => string | undefined) | undefined
  /** The deadline to open: DNS, TCP, proxy, TLS and first SETTINGS together. Default: 10 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** The time from `submit` to the answer. Default: 30 seconds. */
  readonly requestTimeout?: Duration.Input | undefined
  /**
   * How long the connection waits for the answer to a PING before it closes. While
   * requests wait for answers, it sends a PING when the peer has sent nothing for
   * half of this time. The PING waits behind bodies that are being written, so
   * allow for large bodies on a slow line. Default: 10 seconds.
   */
  readonly pingTimeout?: Duration.Input | undefined
  /** How long the peer may be silent before an idle connection sends a PING. Infinite: it sends none. Default: 1 minute. */
  readonly idlePing?: Duration.Input | undefined
  /** The connection opens at most this many streams, even if the peer allows more. Default: 1000. */
  readonly maxStreams?: number | undefined
  /** The largest body of a response, in bytes. A larger one resets its stream. Default: 1 MiB. */
  readonly maxResponseSize?: number | undefined
}
