/**
 * A local APNs: an HTTP/2 server over TLS that checks requests in Apple's order
 * and answers with Apple's reasons. It delivers nothing.
 *
 * A {@link Script} makes it misbehave as Apple does on bad days: dead tokens,
 * refusals, slow, cut and missing answers, GOAWAY. A test can read the pushes
 * that it received. Time is Effect's clock.
 *
 * Limits: it uses node:http2, which takes tens of microseconds of CPU per push. A
 * client must offer `h2` by ALPN. It answers a PING in all cases, also when it
 * leaves pushes unanswered.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberHandle from "effect/FiberHandle"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Http2 from "node:http2"
import type { AddressInfo } from "node:net"
import type { TLSSocket } from "node:tls"
import type { Endpoint } from "../../push/apns/index.ts"
import * as Certificate from "../push/Certificate.ts"
import { Connection } from "../push/Connection.ts"
import { type Counts, type Push, Recorder, type Tally } from "../push/Recorder.ts"
import * as ProviderTokens from "./providerTokens.ts"
import { Responder } from "./responder.ts"
import type { Goaway, Script } from "./Script.ts"

export type { Counts, Push } from "../push/Recorder.ts"

// -----------------------------------------------------------------------------
// Services
// -----------------------------------------------------------------------------

/**
 * A running simulator.
 *
 * @category services
 * @since 0.1.0
 */
export class ApnsSimulator extends Context.Service<ApnsSimulator, {
  readonly host: string
  readonly port: number
  /** The certificate of the authority that clients must trust, PEM. */
  readonly ca: string
  readonly environment: Endpoint.Environment
  /** How it misbehaves. */
  readonly script: {
    readonly get: Effect.Effect<Script>
    /** Replaces the script from the next push on. Its counts restart. */
    readonly set: (script: Script) => Effect.Effect<void>
  }
  /** Sends a GOAWAY on every open connection. */
  readonly goaway: (goaway?: Goaway) => Effect.Effect<void>
  /** Ends every connection at once. */
  readonly cut: Effect.Effect<void>
  /** The recorded pushes and broadcasts, the oldest first. */
  readonly pushes: Effect.Effect<ReadonlyArray<Push>>
  /** The pushes and broadcasts from now on. A reader that is more than 1024 behind misses the oldest. */
  readonly changes: Stream.Stream<Push>
  readonly counts: Effect.Effect<Counts>
  /** Clears the recorded pushes and the counts. */
  readonly clear: Effect.Effect<void>
}>()("backq/testing/apns/ApnsSimulator") {}

/**
 * The options of a simulator.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The address to listen on. Default: `"127.0.0.1"`. */
  readonly host?: string | undefined
  /** The port to listen on. Default: 0, which picks a free one. */
  readonly port?: number | undefined
  /** The environment. A sandbox also answers with an `apns-unique-id`. Default: `"sandbox"`. */
  readonly environment?: Endpoint.Environment | undefined
  /** The keys of provider tokens. Default: any key, without a check of signatures. */
  readonly keys?: ReadonlyArray<ProviderTokens.PublicKey> | undefined
  /** How it misbehaves. Default: not at all. */
  readonly script?: Script | undefined
  /** At most this many pushes are recorded, the newest; `false` for none. Default: 10,000. */
  readonly record?: number | false | undefined
  /** The server's certificate and its authority. Default: new ones for localhost and `host`. */
  readonly tls?: Certificate.Identity & { readonly ca: string } | undefined
}

/**
 * The simulator can't listen on this address.
 *
 * @category errors
 * @since 0.1.0
 */
export class ListenError extends Schema.TaggedError<ListenError>()("ListenError", {
  host: Schema.String,
  port: Schema.Int,
  detail: Schema.String
}) {
  override get message() {
    return `the APNs simulator can't listen on ${this.host}:${this.port}: ${this.detail}. ` +
      `Choose another port, or 0 for a free one`
  }
}

// -----------------------------------------------------------------------------
// The server
// -----------------------------------------------------------------------------

/** The SETTINGS of Apple's server (observed). */
const settings = { maxHeaderListSize: 8000 }

/** Tests send faulty requests, so the limits of node:http2 must not get in the way. */
const unlimited = {
  maxOutstandingSettings: 1_000_000,
  maxSessionMemory: 1000,
  maxSessionInvalidFrames: 1_000_000,
  maxSessionRejectedStreams: 1_000_000,
  streamResetBurst: 1_000_000,
  streamResetRate: 1_000_000
}

const makeServer = ({ cert, key }: Certificate.Identity, maxStreams: number): Http2.Http2SecureServer =>
  Http2.createSecureServer({
    cert,
    key,
    requestCert: true,
    rejectUnauthorized: false,
    settings: { ...settings, maxConcurrentStreams: maxStreams },
    ...unlimited
  })

const listen = (
  server: Http2.Http2SecureServer,
  host: string,
  port: number
): Effect.Effect<number, ListenError> =>
  Effect.callback((resume) => {
    server.once("error", (error) => resume(Effect.fail(new ListenError({ host, port, detail: error.message }))))
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

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

const makeTls = Effect.fnUntraced(function*(host: string) {
  const authority = yield* Certificate.makeAuthority
  const names = new Set(["localhost", "127.0.0.1", "::1", host])
  return { ...(yield* authority.issue({ names: Array.from(names) })), ca: authority.cert }
})

/** The open connections of a simulator, and the server that accepts them. */
class Connections {
  private readonly server: Http2.Http2SecureServer
  private readonly open = new Set<Connection>()

  constructor(server: Http2.Http2SecureServer) {
    this.server = server
  }

  get size(): number {
    return this.open.size
  }

  add(connection: Connection, session: Http2.ServerHttp2Session): void {
    this.open.add(connection)
    session.once("close", () => this.open.delete(connection))
  }

  /** Sets how many streams a connection may have, before and after its first good provider token. */
  allow({ after, before }: Responder["maxStreams"]): void {
    this.server.updateSettings({ ...settings, maxConcurrentStreams: before })
    for (const connection of this.open) {
      connection.setMaxStreams(connection.proven || connection.certificate !== undefined ? after : before)
    }
  }

  goaway(goaway: Goaway, now: number): void {
    for (const connection of this.open) connection.goaway(goaway, now)
  }

  cut(): void {
    for (const connection of this.open) connection.cut()
  }
}

/** Starts to accept connections, until the scope closes. */
const accept = Effect.fnUntraced(function*(
  tls: Certificate.Identity,
  responder: Responder,
  tally: Tally
): Effect.fn.Return<{ server: Http2.Http2SecureServer; connections: Connections }, never, Scope.Scope> {
  const fork = yield* FiberSet.makeRuntime<never, void, never>()
  const server = makeServer(tls, responder.maxStreams.before)
  const connections = new Connections(server)
  onSession(server, (session, socket) => {
    const connection = new Connection(++tally.connections, session, socket)
    connections.add(connection, session)
    if (connection.certificate !== undefined) connection.setMaxStreams(responder.maxStreams.after)
    connection.open({
      react: responder.react,
      reacted: responder.reacted,
      later: (millis, run) => void fork(Effect.andThen(Effect.sleep(millis), Effect.sync(run)))
    })
  })
  yield* Effect.addFinalizer(() =>
    Effect.callback<void>((resume) => {
      connections.cut()
      server.close(() => resume(Effect.void))
    })
  )
  return { server, connections }
})

/**
 * Starts a simulator. It stops when the scope closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(
  function*(
    options: Options = {}
  ): Effect.fn.Return<ApnsSimulator["Service"], ListenError, Scope.Scope> {
    const { environment = "sandbox", host = "127.0.0.1", record = 10_000 } = options
    const tls = options.tls ?? (yield* makeTls(host))
    const clock = yield* Clock.Clock
    const now = () => clock.currentTimeMillisUnsafe()
    const live = yield* PubSub.sliding<Push>(1024)
    const recorder = new Recorder(record === false ? 0 : record, (push) => PubSub.publishUnsafe(live, push))
    const judge = ProviderTokens.make(options.keys, environment)
    const script = options.script ?? {}
    const responder = new Responder({ environment, judge, now, script, record: recorder.record })
    const { connections, server } = yield* accept(tls, responder, recorder.tally)
    const regularly = yield* FiberHandle.make<void>()
    const port = yield* listen(server, host, options.port ?? 0)

    const goaway = (goaway: Goaway = {}) => Effect.sync(() => connections.goaway(goaway, now()))
    const sayGoodbyeRegularly = Effect.suspend(() => {
      const { every, ...frame } = responder.script.goaway ?? {}
      return every === undefined
        ? FiberHandle.clear(regularly)
        : Effect.asVoid(
          FiberHandle.run(regularly, Effect.forever(Effect.andThen(Effect.sleep(every), goaway(frame))))
        )
    })
    yield* sayGoodbyeRegularly
    const setScript = (script: Script) =>
      Effect.suspend(() => {
        responder.script = script
        connections.allow(responder.maxStreams)
        return sayGoodbyeRegularly
      })

    return ApnsSimulator.of({
      host,
      port,
      ca: tls.ca,
      environment,
      script: { get: Effect.sync(() => responder.script), set: setScript },
      goaway,
      cut: Effect.sync(() => connections.cut()),
      pushes: Effect.sync(() => recorder.pushes()),
      changes: Stream.fromPubSub(live),
      counts: Effect.sync(() => recorder.tally.counts(connections.size)),
      clear: Effect.sync(() => recorder.clear())
    })
  }
)

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * Runs a simulator for as long as the layer lives.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<ApnsSimulator, ListenError> =>
  Layer.effect(ApnsSimulator, make(options))
