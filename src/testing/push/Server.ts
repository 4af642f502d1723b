/**
 * The server of a simulator: HTTP/2 over TLS, with a certificate of its own, that
 * counts its connections and can end them.
 *
 * Limits: it uses node:http2, which takes tens of microseconds of CPU per push. A
 * client must offer `h2` by ALPN. It answers a PING in all cases.
 */
// @effect-diagnostics nodeBuiltinImport:off
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberHandle from "effect/FiberHandle"
import * as FiberSet from "effect/FiberSet"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Http2 from "node:http2"
import type { AddressInfo, Server as NetServer } from "node:net"
import type { TLSSocket } from "node:tls"
import * as Certificate from "./Certificate.ts"
import type { Connection, Goaway, Reactions } from "./Connection.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** The certificate of a server, and that of its authority. */
export interface Tls extends Certificate.Identity {
  readonly ca: string
}

/** The options of a server. */
export interface Options<in out C extends Connection> {
  /** The name of the service, for messages. */
  readonly service: string
  /** The address to listen on. */
  readonly host: string
  /** The port to listen on; 0 picks a free one. */
  readonly port: number
  /** Default: a new certificate for localhost and `host`. */
  readonly tls?: Tls | undefined
  /** Whether it asks clients for a certificate. Default: false. */
  readonly asksCertificate?: boolean | undefined
  /** Its SETTINGS. */
  readonly settings: Http2.Settings
  /** Makes a connection. */
  readonly connect: (number: number, session: Http2.ServerHttp2Session, socket: TLSSocket) => C
  readonly reactions: Omit<Reactions<C>, "later">
  /** Called when a connection has opened. */
  readonly opened?: ((connection: C) => void) | undefined
}

/** A running server. */
export interface Server<out C extends Connection> {
  readonly host: string
  readonly port: number
  /** The certificate of the authority that clients must trust, PEM. */
  readonly ca: string
  /** The open connections. */
  readonly connections: ReadonlySet<C>
  /** Changes the SETTINGS of new connections. */
  readonly setSettings: (settings: Http2.Settings) => void
  /** Sends a GOAWAY on every open connection. */
  readonly goaway: (goaway?: Goaway) => void
  /** Does that regularly from now on; `undefined`: no more. `goaway` makes each frame. */
  readonly goawayEvery: (every: Duration.Input | undefined, goaway: () => Goaway) => Effect.Effect<void>
  /** Ends every connection at once. */
  readonly cut: () => void
}

/**
 * The simulator can't listen on this address.
 *
 * @category errors
 * @since 0.1.0
 */
export class ListenError extends Schema.TaggedError<ListenError>()("ListenError", {
  /** The service that it simulates, as `APNs`. */
  service: Schema.String,
  host: Schema.String,
  port: Schema.Int,
  detail: Schema.String
}) {
  override get message() {
    return `the ${this.service} simulator can't listen on ${this.host}:${this.port}: ${this.detail}. ` +
      `Choose another port, or 0 for a free one`
  }
}

// -----------------------------------------------------------------------------
// The server
// -----------------------------------------------------------------------------

/** Tests send faulty requests, so the limits of node:http2 must not get in the way. */
const unlimited = {
  maxOutstandingSettings: 1_000_000,
  maxSessionMemory: 1000,
  maxSessionInvalidFrames: 1_000_000,
  maxSessionRejectedStreams: 1_000_000,
  streamResetBurst: 1_000_000,
  streamResetRate: 1_000_000
}

/** Listens on an address. Succeeds with the port. */
export const listen = (
  server: NetServer,
  { host, port, service }: { readonly host: string; readonly port: number; readonly service: string }
): Effect.Effect<number, ListenError> =>
  Effect.callback((resume) => {
    server.once(
      "error",
      ({ message }) => resume(Effect.fail(new ListenError({ service, host, port, detail: message })))
    )
    server.listen(port, host, () => resume(Effect.succeed((server.address() as AddressInfo).port)))
  })

/** Calls `use` for every session, with its socket. */
const onSession = (
  server: Http2.Http2SecureServer,
  use: (session: Http2.ServerHttp2Session, socket: TLSSocket) => void
): void => {
  // the next listener of this event is node:http2's, which makes the session
  let connecting: TLSSocket | undefined
  server.prependListener("secureConnection", (socket) => {
    connecting = socket
  })
  server.on("session", (session) => use(session, connecting!))
  server.on("sessionError", () => {})
  server.on("tlsClientError", (_error, socket) => socket.destroy())
}

/** Makes a certificate for localhost and a host. */
export const makeTls = Effect.fnUntraced(function*(host: string): Effect.fn.Return<Tls> {
  const authority = yield* Certificate.makeAuthority
  const names = new Set(["localhost", "127.0.0.1", "::1", host])
  return { ...(yield* authority.issue({ names: Array.from(names) })), ca: authority.cert }
})

/** Starts a server. It ends its connections and stops when the scope closes. */
export const make = Effect.fnUntraced(function*<C extends Connection>(
  options: Options<C>
): Effect.fn.Return<Server<C>, ListenError, Scope.Scope> {
  const { host, opened, reactions, settings } = options
  const tls = options.tls ?? (yield* makeTls(host))
  const fork = yield* FiberSet.makeRuntime<never, void, never>()
  const later = (millis: number, run: () => void) => void fork(Effect.andThen(Effect.sleep(millis), Effect.sync(run)))
  const connections = new Set<C>()
  const server = Http2.createSecureServer({
    cert: tls.cert,
    key: tls.key,
    requestCert: options.asksCertificate ?? false,
    rejectUnauthorized: false,
    settings,
    ...unlimited
  })
  let count = 0
  onSession(server, (session, socket) => {
    const connection = options.connect(++count, session, socket)
    connections.add(connection)
    session.once("close", () => connections.delete(connection))
    opened?.(connection)
    connection.open({ ...reactions, later })
  })
  const cut = () => {
    for (const connection of connections) connection.cut()
  }
  yield* Effect.addFinalizer(() =>
    Effect.callback<void>((resume) => {
      cut()
      server.close(() => resume(Effect.void))
    })
  )
  const regularly = yield* FiberHandle.make<void>()
  const port = yield* listen(server, options)
  const goaway = (goaway?: Goaway) => {
    for (const connection of connections) connection.goaway(goaway)
  }
  return {
    host,
    port,
    ca: tls.ca,
    connections,
    setSettings: (settings) => server.updateSettings(settings),
    goaway,
    goawayEvery: (every, frame) =>
      every === undefined
        ? FiberHandle.clear(regularly)
        : Effect.asVoid(FiberHandle.run(
          regularly,
          Effect.forever(Effect.andThen(Effect.sleep(every), Effect.sync(() => goaway(frame()))))
        )),
    cut
  }
})
