/**
 * A local push service for browsers: it makes subscriptions, checks messages in the order
 * of Mozilla's service, answers as the service that it plays, and reads what they say. It
 * delivers nothing.
 *
 * A {@link Script.Script} makes it misbehave. A test can read the messages that it
 * received. Time is Effect's clock.
 *
 * The endpoints have the host of the service that it plays, and the simulator's port. So a
 * client needs {@link layerLoopback}, which leads every host to this machine and opens the
 * guard of addresses for it, the simulator's `ca`, and its `allow`.
 *
 * Limits: it uses node:http2, which takes tens of microseconds of CPU per message.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as Uuid from "../../internal/uuid.ts"
import { AddressGuard, type Subscription } from "../../push/webpush/index.ts"
import { Connection as Base, Recorder, Server } from "../push/index.ts"
import * as Browser from "./Browser.ts"
import type { Subscribed } from "./checks.ts"
import { hosts, type Personality } from "./Personality.ts"
import * as Plain from "./plain.ts"
import { type Push, Responder } from "./responder.ts"
import type { Script } from "./Script.ts"
import * as Tokens from "./tokens.ts"

export type { Push } from "./responder.ts"

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
 * What a new subscription is made of.
 *
 * @category models
 * @since 0.1.0
 */
export interface SubscribeOptions {
  /** The VAPID key that it is restricted to, in base64url. Default: any key may push. */
  readonly applicationServerKey?: string | undefined
  /** The id of that key, which the subscription names. Default: none. */
  readonly key?: string | undefined
  /** The keys of a browser elsewhere, such as a page. The simulator can't read its messages. Default: new keys. */
  readonly keys?: { readonly p256dh: string; readonly auth: string } | undefined
}

/**
 * A running simulator.
 *
 * @category services
 * @since 0.1.0
 */
export class WebPushSimulator extends Context.Service<WebPushSimulator, {
  readonly personality: Personality
  readonly port: number
  /** Scheme, host and port of its endpoints. */
  readonly origin: string
  /** Its host and port, for the option `allow` of `WebPush.layer`. */
  readonly allow: string
  /** The certificate of the authority that clients must trust, PEM. */
  readonly ca: string
  /** Makes a subscription. */
  readonly subscribe: (options?: SubscribeOptions) => Effect.Effect<Subscription.Subscription>
  /** Ends a subscription: messages to it get 410. */
  readonly unsubscribe: (subscription: Subscription.Subscription) => Effect.Effect<void>
  /** How it misbehaves. */
  readonly script: {
    readonly get: Effect.Effect<Script>
    /** Replaces the script from the next message on. Its counts restart. */
    readonly set: (script: Script) => Effect.Effect<void>
  }
  /** Sends a GOAWAY on every open connection. */
  readonly goaway: Effect.Effect<void>
  /** Ends every connection at once. */
  readonly cut: Effect.Effect<void>
  /** The recorded messages, the oldest first. */
  readonly pushes: Effect.Effect<ReadonlyArray<Push>>
  /** The messages from now on. A reader that is more than 1024 behind misses the oldest. */
  readonly changes: Stream.Stream<Push>
  readonly counts: Effect.Effect<Counts>
  /** Clears the recorded messages and the counts. */
  readonly clear: Effect.Effect<void>
}>()("backq/testing/webpush/WebPushSimulator") {}

/**
 * The options of a simulator.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The service that it plays. Default: `"mozilla"`. */
  readonly personality?: Personality | undefined
  /** The address to listen on. Default: `"127.0.0.1"`. */
  readonly host?: string | undefined
  /** The port to listen on. Default: 0, which picks a free one. */
  readonly port?: number | undefined
  /** The host of its endpoints. Default: that of the service; `"localhost"` needs no resolver. */
  readonly name?: string | undefined
  /** How it misbehaves. Default: not at all. */
  readonly script?: Script | undefined
  /** At most this many messages are recorded, the newest; `false` for none. Default: 10,000. */
  readonly record?: number | false | undefined
  /** The server's certificate and its authority. Default: new ones for localhost, `host` and `name`. */
  readonly tls?: Server.Tls | undefined
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

/** Google allows so many streams, and so do we of each. */
const maxStreams = 100

class Connection extends Base.Connection {
  pushes = 0
}

/** A server of either version of HTTP. */
interface Running {
  readonly port: number
  readonly open: () => number
  readonly goaway: () => void
  readonly cut: () => void
}

const listen = Effect.fnUntraced(function*(
  { host = "127.0.0.1", personality, port = 0 }: Options,
  tls: Server.Tls,
  responder: Responder,
  opened: () => void
): Effect.fn.Return<Running, ListenError, Scope.Scope> {
  if (personality === "plain") {
    const { cut, open, port: bound } = yield* Plain.make({ host, port, tls, opened, reactions: responder })
    return { port: bound, open, goaway: cut, cut }
  }
  const server = yield* Server.make<Connection>({
    service: "Web Push",
    host,
    port,
    tls,
    settings: { maxConcurrentStreams: maxStreams },
    connect: (number, session, socket) => new Connection(number, session, socket),
    opened,
    reactions: responder
  })
  return { port: server.port, open: () => server.connections.size, goaway: () => server.goaway(), cut: server.cut }
})

/**
 * Starts a simulator. It stops when the scope closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options = {}
): Effect.fn.Return<WebPushSimulator["Service"], ListenError, Scope.Scope> {
  const { personality = "mozilla" } = options
  const name = options.name ?? hosts[personality]
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()
  const recorder = yield* Recorder.make<Push>(options.record)
  const subscriptions = new Map<string, Subscribed>()
  let authority = name
  const origin = () => `https://${authority}`
  const judge = Tokens.make({ origin, now, checksSubject: personality === "apple" })
  const responder = new Responder({
    personality,
    judge,
    origin,
    subscriptions,
    now,
    script: options.script ?? {},
    record: recorder.record
  })
  const tls = options.tls ?? (yield* Server.makeTls(name))
  const server = yield* listen({ ...options, personality }, tls, responder, () => recorder.tally.connections++)
  authority = `${name}:${server.port}`

  const subscribe = Effect.fnUntraced(function*({ applicationServerKey, key, keys }: SubscribeOptions = {}) {
    const browser = keys === undefined ? yield* Browser.make : undefined
    const id = Uuid.v7(now())
    subscriptions.set(id, { applicationServerKey, read: browser?.read, isDead: false })
    const { auth, p256dh } = keys ?? browser!
    return {
      endpoint: `${origin()}/push/${id}`,
      keys: { p256dh, auth },
      ...(key === undefined ? undefined : { key })
    }
  })

  return WebPushSimulator.of({
    personality,
    port: server.port,
    origin: origin(),
    allow: authority,
    ca: tls.ca,
    subscribe,
    unsubscribe: ({ endpoint }) =>
      Effect.sync(() => {
        const known = subscriptions.get(endpoint.slice(endpoint.lastIndexOf("/") + 1))
        if (known !== undefined) known.isDead = true
      }),
    script: {
      get: Effect.sync(() => responder.script),
      set: (script) =>
        Effect.sync(() => {
          responder.script = script
        })
    },
    goaway: Effect.sync(server.goaway),
    cut: Effect.sync(server.cut),
    pushes: recorder.pushes,
    changes: recorder.changes,
    counts: Effect.sync(() => recorder.tally.counts(server.open())),
    clear: recorder.clear
  })
})

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * Runs a simulator for as long as the layer lives.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<WebPushSimulator, ListenError> =>
  Layer.effect(WebPushSimulator, make(options))

const loopback: ReadonlySet<string> = new Set(["127.0.0.1", "::1"])

/**
 * Leads every host to this machine, and opens the guard of addresses for it. Provide it to
 * `WebPush.layer` in tests, and nowhere else.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerLoopback: Layer.Layer<never> = Layer.merge(
  AddressGuard.layer((address) => loopback.has(address)),
  Layer.succeed(AddressGuard.Resolver, () => Effect.succeed(["127.0.0.1"]))
)
