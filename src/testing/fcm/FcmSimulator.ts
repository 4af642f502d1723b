/**
 * A local FCM: an HTTP/2 server over TLS that issues access tokens, checks requests in
 * Google's order, and answers in Google's form. It delivers nothing.
 *
 * A {@link Script} makes it misbehave as Google does on bad days. A test can read the
 * pushes that it received. Time is Effect's clock.
 *
 * ```ts
 * const simulator = yield* FcmSimulator.FcmSimulator
 * const fcm = Fcm.layer({
 *   credential: { serviceAccount: simulator.serviceAccount() },
 *   host: simulator.host, port: simulator.port, ca: simulator.ca
 * })
 * ```
 *
 * Limits: it uses node:http2, which takes tens of microseconds of CPU per push. A client
 * must offer `h2` by ALPN.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { type Certificate, Recorder, Server } from "../push/index.ts"
import * as Account from "./Account.ts"
import { FcmConnection, goawayOf, type Push, Responder } from "./responder.ts"
import type { Goaway, Script } from "./Script.ts"
import { TokenHost } from "./tokenHost.ts"

export type { Push } from "./responder.ts"

/**
 * The counts of a simulator since it was started or cleared.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counts extends Recorder.Counts {
  /** Requests to the token host, and tokens that it issued, since the start. */
  readonly tokensAsked: number
  readonly tokensIssued: number
  /** The most streams that a connection had open at a time, since the start. */
  readonly peakStreams: number
  /** All PINGs, and those on a connection without open streams, since the start. */
  readonly pings: number
  readonly idlePings: number
}

/**
 * A running simulator.
 *
 * @category services
 * @since 0.1.0
 */
export class FcmSimulator extends Context.Service<FcmSimulator, {
  readonly host: string
  readonly port: number
  /** The certificate of the authority that clients must trust, PEM. */
  readonly ca: string
  readonly accounts: ReadonlyArray<Account.Account>
  /** The JSON of an account, which gets its tokens here. Default: the first. */
  readonly serviceAccount: (account?: Account.Account) => Redacted.Redacted
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
  /** The recorded pushes, the oldest first. */
  readonly pushes: Effect.Effect<ReadonlyArray<Push>>
  /** The pushes from now on. A reader that is more than 1024 behind misses the oldest. */
  readonly changes: Stream.Stream<Push>
  readonly counts: Effect.Effect<Counts>
  /** Clears the recorded pushes and their counts. */
  readonly clear: Effect.Effect<void>
}>()("backq/testing/fcm/FcmSimulator") {}

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
  /** The service accounts. Default: a new one of the project `test-project`. */
  readonly accounts?: ReadonlyArray<Account.Account> | undefined
  /** How it misbehaves. Default: not at all. */
  readonly script?: Script | undefined
  /** SETTINGS_MAX_CONCURRENT_STREAMS. Default: 100. */
  readonly maxStreams?: number | undefined
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
 * An instance of {@link ListenError}.
 *
 * @category errors
 * @since 0.1.0
 */
export type ListenError = Server.ListenError

/** How often idle connections are looked for. */
const idleInterval = Duration.millis(50)

/**
 * Starts a simulator. It stops when the scope closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(
  function*(options: Options = {}): Effect.fn.Return<FcmSimulator["Service"], ListenError, Scope.Scope> {
    const { host = "127.0.0.1", maxStreams = 100 } = options
    const accounts = options.accounts ?? [yield* Account.makeAccount()]
    const clock = yield* Clock.Clock
    const now = () => clock.currentTimeMillisUnsafe()
    const recorder = yield* Recorder.make<Push>(options.record)
    let port = 0
    const tokenUri = () => `https://${host.includes(":") ? `[${host}]` : host}:${port}/token`
    const tokens = new TokenHost(accounts, tokenUri)
    const responder = new Responder({
      tokens,
      projects: accounts.map(({ project }) => project),
      now,
      script: options.script ?? {},
      maxStreams,
      record: recorder.record
    })
    const server = yield* Server.make<FcmConnection>({
      service: "FCM",
      host,
      port: options.port ?? 0,
      tls: options.tls,
      settings: { maxConcurrentStreams: maxStreams },
      connect: (number, session, socket) => new FcmConnection(number, session, socket),
      opened: (connection) => {
        recorder.tally.connections++
        connection.usedAt = now()
      },
      reactions: responder
    })
    port = server.port

    const closeIdle = Effect.sync(() => {
      const { idle } = responder.script
      if (idle === undefined) return
      const after = Duration.toMillis(Duration.fromInputUnsafe(idle.after))
      for (const connection of server.connections) {
        if (connection.streams > 0 || now() - connection.usedAt < after) continue
        if (idle.how === "Cut") connection.cut()
        else connection.goaway({ debug: "session_timed_out" })
      }
    })
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(idleInterval), closeIdle)))

    const sayGoodbyeRegularly = Effect.suspend(() => {
      const { every, ...frame } = responder.script.goaway ?? {}
      return server.goawayEvery(every, () => goawayOf(frame))
    })
    yield* sayGoodbyeRegularly

    return FcmSimulator.of({
      host,
      port,
      ca: server.ca,
      accounts,
      serviceAccount: (account = accounts[0]!) => Account.toJson(account, tokenUri()),
      script: {
        get: Effect.sync(() => responder.script),
        set: (script) =>
          Effect.suspend(() => {
            responder.script = script
            return sayGoodbyeRegularly
          })
      },
      goaway: (goaway = {}) => Effect.sync(() => server.goaway(goawayOf(goaway))),
      cut: Effect.sync(server.cut),
      pushes: recorder.pushes,
      changes: recorder.changes,
      counts: Effect.sync(() => ({
        ...recorder.tally.counts(server.connections.size),
        tokensAsked: tokens.asked,
        tokensIssued: tokens.issued,
        peakStreams: responder.peakStreams,
        pings: responder.pings,
        idlePings: responder.idlePings
      })),
      clear: recorder.clear
    })
  }
)

/**
 * Runs a simulator for as long as the layer lives.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<FcmSimulator, ListenError> =>
  Layer.effect(FcmSimulator, make(options))
