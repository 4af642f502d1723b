/**
 * Where a server is, how to get there, and how long to wait for it.
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { Http2Error } from "./Http2Error.ts"

/** How to trust a server over TLS, and how to be trusted by it. */
export interface TlsOptions {
  /** PEM of the authorities to trust. Default: those that Node.js trusts. */
  readonly ca?: string | Uint8Array | ReadonlyArray<string | Uint8Array> | undefined
  /** PEM of our certificate, for servers that ask for one. */
  readonly cert?: string | Uint8Array | undefined
  /** PEM of our private key. */
  readonly key?: Redacted.Redacted<string | Uint8Array> | undefined
  /** Certificate and private key in one PKCS #12 file, instead of `cert` and `key`. */
  readonly pfx?: Redacted.Redacted<Uint8Array> | undefined
  /** Of `key` or `pfx`. */
  readonly passphrase?: Redacted.Redacted<string> | undefined
  /** The name the server's certificate has to be for. Default: the host. */
  readonly servername?: string | undefined
  /** Default: `"TLSv1.2"`. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3" | undefined
  /** Must the server choose `h2` by ALPN? APNs does not always. Default: true. */
  readonly requireAlpn?: boolean | undefined
}

/** An HTTP proxy that is asked to CONNECT. */
export interface ProxyOptions {
  readonly host: string
  readonly port: number
  readonly username?: string | undefined
  readonly password?: Redacted.Redacted<string> | undefined
}

/** Where a server is and how long to wait for it. */
export interface Options {
  readonly host: string
  /** Default: 443. */
  readonly port?: number | undefined
  readonly tls?: TlsOptions | undefined
  readonly proxy?: ProxyOptions | undefined
  /**
   * Finds the addresses of a host; one of them is taken at random. Default: the
   * name server, asked anew for each connection.
   */
  readonly lookup?: ((host: string) => Effect.Effect<ReadonlyArray<string>, Http2Error>) | undefined
  /** How long opening may take: name, TCP, proxy, TLS and first SETTINGS together. Default: 10 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** How long an answer may take from `submit` on. Default: 30 seconds. */
  readonly requestTimeout?: Duration.Input | undefined
  /**
   * How long a PING may go unanswered before the connection is given up. While
   * requests wait for answers, one is sent after half of this without a word
   * from the peer; it waits behind the bodies that are being written, so allow
   * for large ones on a slow line. Default: 10 seconds.
   */
  readonly pingTimeout?: Duration.Input | undefined
  /** A PING is sent after so long without a word from the peer, when nothing waits for an answer. Default: 1 minute. */
  readonly idlePing?: Duration.Input | undefined
  /** The most streams to have open, whatever the peer allows. Default: 1000. */
  readonly maxStreams?: number | undefined
  /** The longest body of an answer, in bytes; a longer one resets its stream. Default: 1 MiB. */
  readonly maxResponseSize?: number | undefined
}
