/**
 * Sends messages to browsers by Web Push: RFC 8030, 8188, 8291 and 8292.
 *
 * {@link send} pushes one message to one subscription and waits for the push service's
 * answer. {@link sendAll} does so for a stream of any length. Every message ends exactly
 * once: with a {@link Receipt}, or with a `WebPushError` that says what to do.
 *
 * ```ts
 * const receipt = yield* WebPush.send({ body: "Hello", ttl: 3600 }, subscription)
 * yield* WebPush.sendAll(Stream.map(subscriptions, (subscription) => ({ message, subscription }))).pipe(
 *   Stream.runForEach(({ push, result }) => Result.isFailure(result) ? report(push, result.failure) : Effect.void)
 * )
 * ```
 *
 * Endpoints come from strangers. So a message goes only to hosts that are allowed, and
 * only to public addresses; redirects are not followed, and no error, log or span
 * contains an endpoint.
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { integer } from "../../internal/options.ts"
import { InFlight } from "../pool/index.ts"
import * as WebPushError from "./answer/WebPushError.ts"
import type { Gateway, Receipt } from "./Gateway.ts"
import * as Message from "./Message.ts"
import { type ConnectionOptions, settled, wrongOption } from "./options.ts"
import * as PooledGateway from "./pooledGateway.ts"
import * as Endpoints from "./subscription/Endpoints.ts"
import * as Subscription from "./subscription/Subscription.ts"
import * as SetupError from "./vapid/SetupError.ts"
import * as Tokens from "./vapid/tokens.ts"
import * as VapidKey from "./vapid/VapidKey.ts"
import * as WebPushConfig from "./WebPushConfig.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

export type { ConnectionOptions, Receipt }

/**
 * A message for one subscription.
 *
 * @category models
 * @since 0.1.0
 */
export interface Push {
  readonly message: Message.Message
  readonly subscription: Subscription.Subscription
}

/**
 * A push of {@link sendAll} and its result.
 *
 * @category models
 * @since 0.1.0
 */
export interface PushResult<out P extends Push = Push> {
  readonly push: P
  readonly result: Result.Result<Receipt, WebPushError.WebPushError>
}

/**
 * The options of {@link sendAll}.
 *
 * @category models
 * @since 0.1.0
 */
export interface SendAllOptions {
  /**
   * At most this many pushes are taken from the stream without a result yet. A whole
   * number of at least 1; the stream dies of any other. Default: 1000.
   */
  readonly inFlight?: number | undefined
}

/**
 * Sends messages to browsers.
 *
 * @category services
 * @since 0.1.0
 */
export class WebPush extends Context.Service<WebPush, {
  /** Pushes to one subscription and waits for the push service's answer. */
  readonly send: (
    message: Message.Message,
    subscription: Subscription.Subscription
  ) => Effect.Effect<Receipt, WebPushError.WebPushError>

  /**
   * Sends all pushes of a stream, and emits a result for each in the order of the answers.
   * It takes a push from the stream when there is room for it. A failed push does not end
   * the stream. If the input fails, the taken pushes finish first.
   */
  readonly sendAll: <P extends Push, E, R>(
    pushes: Stream.Stream<P, E, R>,
    options?: SendAllOptions
  ) => Stream.Stream<PushResult<P>, E, R>

  /** The public keys, for the pages that subscribe: the first one is for new subscriptions. */
  readonly keys: ReadonlyArray<{ readonly id: string; readonly publicKey: string }>
}>()("backq/webpush/WebPush") {}

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

/** Encodes each message once. */
const encoder = () => {
  const known = new WeakMap<Message.Message, ReturnType<typeof Message.encode>>()
  return (message: Message.Message) => {
    const found = known.get(message)
    if (found !== undefined) return found
    const made = Message.encode(message)
    if (Predicate.isObject(message)) known.set(message, made)
    return made
  }
}

const nameOf = (subscription: Subscription.Subscription): string => Subscription.nameOf(subscription?.endpoint)

const invalid = (subscription: Subscription.Subscription, { field, rule }: Subscription.Problem) =>
  WebPushError.make(new WebPushError.InvalidSubscription({ subscription: nameOf(subscription), field, rule }))

const ended = (subscription: Subscription.Subscription) =>
  WebPushError.make(
    new WebPushError.DeadSubscription({ subscription: nameOf(subscription), reason: "its expirationTime has passed" })
  )

const unknownKey = (subscription: Subscription.Subscription, key: string) =>
  WebPushError.make(
    new WebPushError.WrongKey({ subscription: nameOf(subscription), key, reason: "no such key is configured" })
  )

/**
 * Builds the service on a gateway. `allow` names the hosts that messages may go to.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (gateway: Gateway, allow: Endpoints.Allowed = "known"): Effect.Effect<WebPush["Service"]> =>
  Effect.map(Clock.Clock, (clock) => {
    const encoded = encoder()
    const hostRule = Endpoints.rulesOf(allow)
    const keyOf = (id: string | undefined) =>
      id === undefined ? gateway.keys[0] : gateway.keys.find((key) => key.id === id)

    const submit: InFlight.Submit<Push, Receipt, WebPushError.WebPushError> = ({ message, subscription }, settle) => {
      const ready = encoded(message)
      if (Result.isFailure(ready)) return Result.fail(ready.failure)
      const target = Subscription.read(subscription)
      if (Result.isFailure(target)) return Result.fail(invalid(subscription, target.failure))
      const { endpoint, expirationTime, key: id } = target.success
      const rule = hostRule(endpoint)
      if (rule !== undefined) {
        return Result.fail(WebPushError.make(new WebPushError.EndpointRefused({ host: endpoint.host, rule })))
      }
      if (expirationTime !== undefined && expirationTime <= clock.currentTimeMillisUnsafe()) {
        return Result.fail(ended(subscription))
      }
      const key = keyOf(id)
      if (key === undefined) return Result.fail(unknownKey(subscription, id!))
      return Result.succeed(
        gateway.submit({ message, encoded: ready.success, subscription, target: target.success, key }, settle)
      )
    }

    return WebPush.of({
      send: (message, subscription) => InFlight.one(submit, { message, subscription }),
      sendAll: (pushes, { inFlight = gateway.inFlight } = {}) => {
        const rule = integer(inFlight, 1)
        return rule === undefined
          ? Stream.map(InFlight.all(submit, pushes, inFlight), ({ input, result }) => ({ push: input, result }))
          : Stream.die(SetupError.make(new SetupError.OptionInvalid({ option: "inFlight", rule })))
      },
      keys: gateway.keys.map(({ id, publicKey }) => ({ id, publicKey }))
    })
  })

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * The keys, the contact and the connections of the service.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends ConnectionOptions {
  /**
   * One key, or several. The first one signs for subscriptions that name none; the others
   * sign for the subscriptions that were made with them.
   */
  readonly keys: VapidKey.Options | Arr.NonEmptyReadonlyArray<VapidKey.Options>
  /** Whom a push service can ask: `mailto:ops@example.com`, or a page. Apple refuses one that is not real. */
  readonly subject: string
}

const wrong = (option: string, rule: string) =>
  Effect.fail(SetupError.make(new SetupError.OptionInvalid({ option, rule })))

const readKeys = Effect.fnUntraced(function*(
  { keys: given, subject }: Options
): Effect.fn.Return<ReadonlyArray<VapidKey.VapidKey>, SetupError.SetupError> {
  const rule = VapidKey.subjectRule(subject)
  if (rule !== undefined) return yield* wrong("subject", rule)
  const all: ReadonlyArray<VapidKey.Options> = Arr.ensure(given)
  if (all.length === 0) return yield* wrong("keys", "must be at least one key: `backq vapid-keys` makes one")
  const keys = yield* Effect.forEach(all, VapidKey.read)
  const ids = keys.map(({ id }) => id)
  if (new Set(ids).size < ids.length) {
    return yield* wrong("keys", "must have an id each: give every key an id of its own")
  }
  return keys
})

/**
 * Pushes to browsers. The layer fails if a key or an option is invalid. The first
 * messages open connections.
 *
 * **Example**
 *
 * ```ts
 * const webPush = WebPush.layer({
 *   keys: { privateKey: Redacted.make("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw") },
 *   subject: "mailto:ops@example.com"
 * })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<WebPush, SetupError.SetupError> =>
  Layer.effect(
    WebPush,
    Effect.gen(function*() {
      const broken = wrongOption(options)
      if (broken !== undefined) return yield* SetupError.make(broken)
      const keys = yield* readKeys(options)
      const own = settled(options)
      const tokens = yield* Tokens.make(options.subject, keys)
      return yield* make(yield* PooledGateway.make(keys, tokens, own), own.allow)
    })
  )

/**
 * Pushes to browsers with a configuration from the environment: see `WebPushConfig`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: ConnectionOptions = {}
): Layer.Layer<WebPush, Config.ConfigError | SetupError.SetupError> =>
  Layer.unwrap(Effect.map(WebPushConfig.load, (given) => layer({ ...options, ...given })))

// -----------------------------------------------------------------------------
// Accessors
// -----------------------------------------------------------------------------

/**
 * Pushes to one subscription and waits for the push service's answer.
 *
 * @category accessors
 * @since 0.1.0
 */
export const send = (
  message: Message.Message,
  subscription: Subscription.Subscription
): Effect.Effect<Receipt, WebPushError.WebPushError, WebPush> =>
  WebPush.use((webPush) => webPush.send(message, subscription))

/**
 * Sends all pushes of a stream, and emits a result for each in the order of the answers.
 *
 * @category accessors
 * @since 0.1.0
 */
export const sendAll = <P extends Push, E, R>(
  pushes: Stream.Stream<P, E, R>,
  options?: SendAllOptions
): Stream.Stream<PushResult<P>, E, R | WebPush> =>
  Stream.unwrap(WebPush.useSync((webPush) => webPush.sendAll(pushes, options)))
