/**
 * Sends push notifications through Apple's Push Notification service.
 *
 * {@link send} pushes one notification to one device and waits for Apple's
 * answer; {@link sendAll} does it for a stream of any length, with as many
 * pushes under way at once as the connections carry. Every push ends exactly
 * once: with a {@link Receipt}, or with an `ApnsError` that says what to do.
 *
 * ```ts
 * const receipt = yield* Apns.send(notification, token)
 * yield* Apns.sendAll(Stream.map(tokens, (token) => ({ notification, token }))).pipe(
 *   Stream.runForEach(({ push, result }) => Result.isFailure(result) ? report(push.token, result.failure) : Effect.void)
 * )
 * ```
 *
 * One `Apns` may serve several apps and teams: which credential sends a push is
 * decided by the notification's topic.
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
import { callSafely } from "../../internal/thrown.ts"
import * as Uuid from "../../internal/uuid.ts"
import { InFlight } from "../pool/index.ts"
import * as ApnsError from "./answer/ApnsError.ts"
import * as ApnsConfig from "./ApnsConfig.ts"
import type { ConnectionOptions } from "./connectionOptions.ts"
import type * as Credential from "./credential/Credential.ts"
import * as CredentialError from "./credential/CredentialError.ts"
import * as Endpoint from "./Endpoint.ts"
import type { Gateway, Receipt, Route } from "./Gateway.ts"
import { bundleIdOf, route } from "./Gateway.ts"
import * as BroadcastChannel from "./notification/BroadcastChannel.ts"
import * as DeviceToken from "./notification/DeviceToken.ts"
import type { Encoded } from "./notification/Encoder.ts"
import * as Encoder from "./notification/Encoder.ts"
import type { Notification } from "./notification/Notification.ts"
import type { PushType } from "./notification/PushType.ts"
import { problem } from "./notification/rules.ts"
import * as OptionRules from "./options.ts"
import * as PooledGateway from "./pooledGateway.ts"
import { canonical } from "./pushId.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A notification on its way to one device.
 *
 * @category models
 * @since 0.1.0
 */
export interface Push {
  readonly notification: Notification
  /** The device token, in hexadecimal digits. */
  readonly token: string
  /**
   * The push's id, a UUID, by which Apple's delivery log finds it. Give the
   * same one when a push is repeated; one that is no UUID is refused. Default:
   * a new UUID v7.
   */
  readonly apnsId?: string | undefined
}

/**
 * What became of one push of many.
 *
 * @category models
 * @since 0.1.0
 */
export interface PushResult<out P extends Push = Push> {
  readonly push: P
  readonly result: Result.Result<Receipt, ApnsError.ApnsError>
}

/**
 * An app, in one of Apple's two worlds.
 *
 * @category models
 * @since 0.1.0
 */
export interface App {
  /** The app's bundle id. */
  readonly topic: string
  readonly environment: Endpoint.Environment
}

/**
 * How many pushes are sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface SendAllOptions {
  /**
   * The most pushes that are taken from the stream and not yet handed on as
   * results, at least 1; the stream dies of a number that can't be meant.
   * Default: as many as the connections carry.
   */
  readonly inFlight?: number | undefined
}

/**
 * Which app a broadcast channel belongs to.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChannelOptions {
  /** The app's bundle id. Default: the topic of notifications that have none. */
  readonly topic?: string | undefined
}

/**
 * Sends push notifications.
 *
 * @category services
 * @since 0.1.0
 */
export class Apns extends Context.Service<Apns, {
  /** Pushes to one device and waits for Apple's answer. */
  readonly send: (
    notification: Notification,
    token: string,
    options?: { readonly apnsId?: string | undefined }
  ) => Effect.Effect<Receipt, ApnsError.ApnsError>

  /**
   * Pushes everything in a stream, and gives a result for each in the order of
   * Apple's answers. Nothing is taken from the stream before there is room for
   * it, and a failed push does not end it. When the input fails, what was taken
   * from it is finished first.
   */
  readonly sendAll: <P extends Push, E, R>(
    pushes: Stream.Stream<P, E, R>,
    options?: SendAllOptions
  ) => Stream.Stream<PushResult<P>, E, R>

  /**
   * The app that a notification with this topic, and of this push type, is for.
   * Fails with `ConfigFault` when no credential covers it.
   */
  readonly app: (topic?: string, pushType?: PushType) => Effect.Effect<App, ApnsError.ApnsError>

  /**
   * Sends an update, or the end, of a Live Activity to everybody who follows a
   * channel of the notification's app.
   */
  readonly broadcast: (
    notification: Notification,
    channelId: string,
    options?: Encoder.BroadcastOptions
  ) => Effect.Effect<void, ApnsError.ApnsError>

  /** Makes a broadcast channel and gives its id. An app may have 10,000 in each environment. */
  readonly createChannel: (
    storage: BroadcastChannel.Storage,
    options?: ChannelOptions
  ) => Effect.Effect<string, ApnsError.ApnsError>

  /** Looks at a broadcast channel. */
  readonly readChannel: (
    id: string,
    options?: ChannelOptions
  ) => Effect.Effect<BroadcastChannel.BroadcastChannel, ApnsError.ApnsError>

  /** The ids of all broadcast channels of an app. */
  readonly listChannels: (options?: ChannelOptions) => Effect.Effect<ReadonlyArray<string>, ApnsError.ApnsError>

  /** Deletes a broadcast channel, for ever. */
  readonly deleteChannel: (id: string, options?: ChannelOptions) => Effect.Effect<void, ApnsError.ApnsError>
}>()("backq/apns/Apns") {}

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

/** Where a notification goes and what it is on the wire. */
interface Prepared extends Route {
  readonly encoded: Encoded
}

/** Where the wrong topic is not the notification's but the default of the service, it is not the notification that has to be mended. */
const blameTopic = (error: ApnsError.ApnsError, field: "topic" | "bundleId"): ApnsError.ApnsError => {
  const { reason } = error
  return reason._tag === "InvalidNotification" && reason.field === field
    ? ApnsError.make(
      new ApnsError.ConfigFault({ detail: `the topic of notifications that have none is wrong: ${reason.rule}` })
    )
    : error
}

const prepare = (
  gateways: ReadonlyArray<Gateway>,
  notification: Notification
): Result.Result<Prepared, ApnsError.ApnsError> =>
  Result.getOrElse(
    callSafely(() =>
      Result.flatMap(route(gateways, bundleIdOf(notification), notification.pushType), (found) =>
        Result.mapBoth(Encoder.encode(notification, { topic: found.topic }), {
          onSuccess: (encoded) => ({ ...found, encoded }),
          onFailure: (error) =>
            notification.topic === undefined ? blameTopic(error, "topic") : error
        }))
    ),
    // what can't be routed breaks a rule, or can't even be read
    () =>
      Result.fail(Encoder.invalid(Encoder.check(notification) ?? problem("notification", "it can't be read")))
  )

/** Once for each notification, however many tokens it goes to, until a credential is replaced. */
const once = <A>(gateways: ReadonlyArray<Gateway>, f: (notification: Notification) => A) => {
  let known = new WeakMap<Notification, A>()
  let topics: ReadonlyArray<Gateway["topics"]> = []
  return (notification: Notification): A => {
    if (gateways.some((gateway, index) => gateway.topics !== topics[index])) {
      known = new WeakMap()
      topics = gateways.map((gateway) => gateway.topics)
    }
    const found = known.get(notification)
    if (found !== undefined) return found
    const made = f(notification)
    if (Predicate.isObject(notification)) known.set(notification, made)
    return made
  }
}

const notUuid = Encoder.invalid(problem(
  "apnsId",
  "it has to be a UUID, such as 0193e2c8-6d1e-7c4a-9b57-2f0a8e6d41b3: make one of an id of your own, or give none",
  "BadMessageId"
))

const tooLate = (expiration: number | undefined, now: number): ApnsError.ApnsError | undefined =>
  Encoder.isExpired(expiration, now)
    ? ApnsError.make(new ApnsError.Expired({ expiration: expiration! }))
    : undefined

/**
 * Builds the service on the gateways of one or several credentials.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (gateways: ReadonlyArray<Gateway>): Effect.Effect<Apns["Service"]> =>
  Effect.map(Clock.Clock, (clock) => {
    const prepared = once(gateways, (notification) => prepare(gateways, notification))
    const capacity = gateways.reduce((sum, { inFlight }) => sum + inFlight, 0)

    const submit: InFlight.Submit<Push, Receipt, ApnsError.ApnsError> = ({ apnsId, notification, token }, settle) => {
      const ready = prepared(notification)
      if (Result.isFailure(ready)) return Result.fail(ready.failure)
      const wrong = DeviceToken.check(token)
      if (wrong !== undefined) return Result.fail(ApnsError.make(wrong))
      const id = apnsId === undefined ? undefined : canonical(apnsId)
      if (id === undefined && apnsId !== undefined) return Result.fail(notUuid)
      const { encoded, gateway } = ready.success
      const now = clock.currentTimeMillisUnsafe()
      const late = tooLate(encoded.expiration, now)
      if (late !== undefined) return Result.fail(late)
      return Result.succeed(
        gateway.submit({ notification, encoded, token, apnsId: id ?? Uuid.v7(now) }, settle)
      )
    }

    const call = <A>(topic: string | undefined, make: (bundleId: string) => BroadcastChannel.CallResult<A>) =>
      Effect.gen(function*() {
        const found = yield* Effect.fromResult(route(gateways, topic, "liveactivity"))
        const { decode, request } = yield* Effect.fromResult(
          Result.mapError(make(found.topic), (error) => topic === undefined ? blameTopic(error, "bundleId") : error)
        )
        const late = tooLate(request.expiration, clock.currentTimeMillisUnsafe())
        if (late !== undefined) return yield* late
        return yield* Effect.fromResult(decode(yield* found.gateway.exchange(request)))
      })

    return Apns.of({
      send: (notification, token, options) => InFlight.one(submit, { notification, token, apnsId: options?.apnsId }),
      sendAll: (pushes, { inFlight = Math.max(1, capacity) } = {}) => {
        const rule = integer(inFlight, 1)
        return rule === undefined
          ? Stream.map(InFlight.all(submit, pushes, inFlight), ({ input, result }) => ({ push: input, result }))
          : Stream.die(CredentialError.make(new CredentialError.OptionInvalid({ option: "inFlight", rule })))
      },
      app: (topic, pushType) =>
        Effect.map(
          Effect.fromResult(route(gateways, topic, pushType)),
          ({ gateway, topic }) => ({ topic, environment: gateway.environment })
        ),
      broadcast: (notification, id, options) =>
        call(bundleIdOf(notification), (bundleId) => BroadcastChannel.send(bundleId, id, notification, options)),
      createChannel: (storage, options) =>
        call(options?.topic, (bundleId) => BroadcastChannel.create(bundleId, storage)),
      readChannel: (id, options) => call(options?.topic, (bundleId) => BroadcastChannel.read(bundleId, id)),
      listChannels: (options) => call(options?.topic, BroadcastChannel.list),
      deleteChannel: (id, options) => call(options?.topic, (bundleId) => BroadcastChannel.remove(bundleId, id))
    })
  })

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

export type { ConnectionOptions }

/**
 * Who pushes, and where to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends Endpoint.Options, ConnectionOptions {
  /** A key or a certificate; several for several teams or apps. */
  readonly credential: Credential.Options | Arr.NonEmptyReadonlyArray<Credential.Options>
}

const wrongOption = (option: string, rule: string) =>
  Effect.fail(CredentialError.make(new CredentialError.OptionInvalid({ option, rule })))

/** Pushes without a topic would fail, one by one. */
const checkDefaults = (gateways: ReadonlyArray<Gateway>): Effect.Effect<void, CredentialError.CredentialError> => {
  for (const { defaultTopic } of gateways) {
    if (defaultTopic === undefined) continue
    const found = route(gateways, defaultTopic)
    if (Result.isFailure(found)) {
      return wrongOption("topic", `must be a topic of a credential: ${found.failure.message}`)
    }
  }
  return Effect.void
}

/**
 * Pushes to Apple. Fails when a credential is no good, or an option can't be
 * meant; connections are opened for the first pushes, and what is wrong with
 * them is the failure of pushes.
 *
 * **Example**
 *
 * ```ts
 * const apns = Apns.layer({
 *   credential: { key: { file: "AuthKey_ABC123DEFG.p8" }, keyId: "ABC123DEFG", teamId: "DEF123GHIJ", topic: "com.example.app" },
 *   environment: "sandbox"
 * })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Apns, CredentialError.CredentialError> =>
  Layer.effect(
    Apns,
    Effect.suspend(() => {
      const credentials: ReadonlyArray<Credential.Options> = Arr.ensure(options.credential)
      if (credentials.length === 0) return wrongOption("credential", "must be at least one credential, not []")
      const environment = OptionRules.environment(options.environment ?? "production")
      if (environment !== undefined) return wrongOption("environment", environment)
      const endpoint = Endpoint.make(options)
      return Effect.flatMap(
        Effect.forEach(credentials, (credential) => PooledGateway.make(credential, endpoint, options)),
        (gateways) => Effect.andThen(checkDefaults(gateways), make(gateways))
      )
    })
  )

/**
 * Pushes to Apple, as the environment says: see `ApnsConfig`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: ConnectionOptions = {}
): Layer.Layer<Apns, Config.ConfigError | CredentialError.CredentialError> =>
  Layer.unwrap(
    Effect.map(ApnsConfig.load, ({ credential, endpoint }) =>
      Layer.catch(
        layer({ ...options, ...endpoint, credential }),
        (error) => Layer.effectContext(Effect.fail(ApnsConfig.named(error)))
      ))
  )

// -----------------------------------------------------------------------------
// Accessors
// -----------------------------------------------------------------------------

/**
 * Pushes to one device and waits for Apple's answer.
 *
 * @category accessors
 * @since 0.1.0
 */
export const send = (
  notification: Notification,
  token: string,
  options?: { readonly apnsId?: string | undefined }
): Effect.Effect<Receipt, ApnsError.ApnsError, Apns> => Apns.use((apns) => apns.send(notification, token, options))

/**
 * Pushes everything in a stream, and gives a result for each in the order of Apple's answers.
 *
 * @category accessors
 * @since 0.1.0
 */
export const sendAll = <P extends Push, E, R>(
  pushes: Stream.Stream<P, E, R>,
  options?: SendAllOptions
): Stream.Stream<PushResult<P>, E, R | Apns> => Stream.unwrap(Apns.useSync((apns) => apns.sendAll(pushes, options)))
