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
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Endpoint } from "../../push/apns/index.ts"
import { type Certificate, Recorder, Server } from "../push/index.ts"
import { Connection, goawayOf } from "./connection.ts"
import * as ProviderTokens from "./providerTokens.ts"
import type { Push } from "./push.ts"
import { Responder } from "./responder.ts"
import type { Goaway, Script } from "./Script.ts"

export type { Push } from "./push.ts"

/**
 * The counts of a simulator since it was started or cleared.
 *
 * @category models
 * @since 0.1.0
 */
export type Counts = Recorder.Counts

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
export const ListenError = Server.ListenError

/**
 * The type of {@link ListenError}.
 *
 * @category errors
 * @since 0.1.0
 */
export type ListenError = Server.ListenError

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

/** The SETTINGS of Apple's server (observed). */
const settingsOf = (maxStreams: number) => ({ maxHeaderListSize: 8000, maxConcurrentStreams: maxStreams })

/** How many streams a connection may have, before and after its first good provider token. */
const maxStreamsOf = ({ certificate, proven }: Connection, { after, before }: Responder["maxStreams"]): number =>
  proven || certificate !== undefined ? after : before

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
    const { environment = "sandbox", host = "127.0.0.1" } = options
    const clock = yield* Clock.Clock
    const now = () => clock.currentTimeMillisUnsafe()
    const recorder = yield* Recorder.make<Push>(options.record)
    const judge = ProviderTokens.make(options.keys, environment)
    const script = options.script ?? {}
    const responder = new Responder({ environment, judge, now, script, record: recorder.record })
    const server = yield* Server.make<Connection>({
      service: "APNs",
      host,
      port: options.port ?? 0,
      tls: options.tls,
      asksCertificate: true,
      settings: settingsOf(responder.maxStreams.before),
      connect: (number, session, socket) => new Connection(number, session, socket),
      opened: (connection) => {
        recorder.tally.connections++
        if (connection.certificate !== undefined) connection.setMaxStreams(responder.maxStreams.after)
      },
      reactions: responder
    })

    const sayGoodbyeRegularly = Effect.suspend(() => {
      const { every, ...frame } = responder.script.goaway ?? {}
      return server.goawayEvery(every, () => goawayOf(frame, now()))
    })
    yield* sayGoodbyeRegularly
    const setScript = (script: Script) =>
      Effect.suspend(() => {
        responder.script = script
        server.setSettings(settingsOf(responder.maxStreams.before))
        for (const connection of server.connections) {
          connection.setMaxStreams(maxStreamsOf(connection, responder.maxStreams))
        }
        return sayGoodbyeRegularly
      })

    return ApnsSimulator.of({
      host,
      port: server.port,
      ca: server.ca,
      environment,
      script: { get: Effect.sync(() => responder.script), set: setScript },
      goaway: (goaway = {}) => Effect.sync(() => server.goaway(goawayOf(goaway, now()))),
      cut: Effect.sync(server.cut),
      pushes: recorder.pushes,
      changes: recorder.changes,
      counts: Effect.sync(() => recorder.tally.counts(server.connections.size)),
      clear: recorder.clear
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
