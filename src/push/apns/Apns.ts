/**
 * Sends push notifications through Apple's Push Notification service.
 *
 * {@link send} pushes one notification to one device and waits for Apple's answer.
 * {@link sendAll} does so for a stream of any length, with as many pushes in flight as
 * the connections allow. Every push ends exactly once: with a {@link Receipt}, or with
 * an `ApnsError` that says what to do.
 *
 * ```ts
 * const receipt = yield* Apns.send(notification, token)
 * yield* Apns.sendAll(Stream.map(tokens, (token) => ({ notification, token }))).pipe(
 *   Stream.runForEach(({ push, result }) => Result.isFailure(result) ? report(push.token, result.failure) : Effect.void)
 * )
 * ```
 *
 * One `Apns` may serve several apps and teams: the notification's topic selects the
 * credential.
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
 * A notification for one device.
 *
 * @category models
 * @since 0.1.0
 */
export interface Push {
  readonly notification: Notification
  /** The device token, in hexadecimal digits. */
  readonly token: string
  /**
   * The push's id in Apple's delivery log, a UUID. Use the same id when you send a push
   * again. Another text than a UUID is refused. Default: a new UUID v7.
   */
  readonly apnsId?: string | undefined
}

/**
 * A push of {@link sendAll} and its result.
 *
 * @category models
 * @since 0.1.0
 */
export interface PushResult<out P extends Push = Push> {
  readonly push: P
  readonly result: Result.Result<Receipt, ApnsError.ApnsError>
}

/**
 * An app in one of Apple's environments.
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
 * The options of {@link sendAll}.
 *
 * @category models
 * @since 0.1.0
 */
export interface SendAllOptions {
  /**
   * At most this many pushes are taken from the stream without a result yet. A whole
   * number of at least 1; the stream dies of any other. Default: as many as the
   * connections allow.
   */
  readonly inFlight?: number | undefined
}

/**
 * The app of a broadcast channel.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChannelOptions {
  /** The app's bundle id. Default: the default topic of the credential. */
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
   * Sends all pushes of a stream, and emits a result for each in the order of Apple's
   * answers. It takes a push from the stream when there is room for it. A failed push
   * does not end the stream. If the input fails, the taken pushes finish first.
   */
  readonly sendAll: <P extends Push, E, R>(
    pushes: Stream.Stream<P, E, R>,
    options?: SendAllOptions
  ) => Stream.Stream<PushResult<P>, E, R>

  /**
   * The app of notifications with this topic and push type. Fails with `ConfigFault` if
   * no credential covers it.
   */
  readonly app: (topic?: string, pushType?: PushType) => Effect.Effect<App, ApnsError.ApnsError>

  /**
   * Sends an update or the end of a Live Activity to all devices that follow a channel
   * of the notification's app.
   */
  readonly broadcast: (
    notification: Notification,
    channelId: string,
    options?: Encoder.BroadcastOptions
  ) => Effect.Effect<void, ApnsError.ApnsError>

  /** Creates a broadcast channel and returns its id. An app may have at most 10,000 per environment. */
  readonly createChannel: (
    storage: BroadcastChannel.Storage,
    options?: ChannelOptions
  ) => Effect.Effect<string, ApnsError.ApnsError>

  /** Reads a broadcast channel. */
  readonly readChannel: (
    id: string,
    options?: ChannelOptions
  ) => Effect.Effect<BroadcastChannel.BroadcastChannel, ApnsError.ApnsError>

  /** Lists the ids of all broadcast channels of an app. */
  readonly listChannels: (options?: ChannelOptions) => Effect.Effect<ReadonlyArray<string>, ApnsError.ApnsError>

  /** Deletes a broadcast channel permanently. */
  readonly deleteChannel: (id: string, options?: ChannelOptions) => Effect.Effect<void, ApnsError.ApnsError>
}>()("backq/apns/Apns") {}

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

/** An encoded notification and its gateway. */
interface Prepared extends Route {
  readonly encoded: Encoded
}

/** Turns the error of a wrong default topic into a configuration fault: the notification is not at fault. */
const blameTopic = (error: ApnsError.ApnsError, field: "topic" | "bundleId"): ApnsError.ApnsError => {
  const { reason } = error
  return reason._tag === "InvalidNotification" && reason.field === field
    ? ApnsError.make(
      new ApnsError.ConfigFault({ detail: `the default topic ${reason.rule}` })
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
    // A notification that throws here breaks a rule, or can't be read.
    () =>
      Result.fail(Encoder.invalid(Encoder.check(notification) ?? problem("notification", "must be readable")))
  )

/** Caches `f` per notification, until a credential is replaced. */
const cached = <A>(gateways: ReadonlyArray<Gateway>, f: (notification: Notification) => A) => {
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
  "must be a UUID, such as 0193e2c8-6d1e-7c4a-9b57-2f0a8e6d41b3: derive one from your own id, or omit it",
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
    const prepared = cached(gateways, (notification) => prepare(gateways, notification))
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
 * The credentials, the endpoint and the connections of the service.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends Endpoint.Options, ConnectionOptions {
  /** A key or a certificate, or several for several teams or apps. */
  readonly credential: Credential.Options | Arr.NonEmptyReadonlyArray<Credential.Options>
}

const wrongOption = (option: string, rule: string) =>
  Effect.fail(CredentialError.make(new CredentialError.OptionInvalid({ option, rule })))

/** Checks that a credential covers each default topic, so that a mistake fails the layer and not each push. */
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
 * Pushes to Apple. The layer fails if a credential or an option is invalid. The first
 * pushes open connections, and a connection that fails is the failure of its pushes.
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
 * Pushes to Apple with a configuration from the environment: see `ApnsConfig`.
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
 * Sends all pushes of a stream, and emits a result for each in the order of Apple's answers.
 *
 * @category accessors
 * @since 0.1.0
 */
export const sendAll = <P extends Push, E, R>(
  pushes: Stream.Stream<P, E, R>,
  options?: SendAllOptions
): Stream.Stream<PushResult<P>, E, R | Apns> => Stream.unwrap(Apns.useSync((apns) => apns.sendAll(pushes, options)))
