/**
 * Sends push messages through Firebase Cloud Messaging, to Android, iOS and browsers.
 *
 * {@link send} pushes one message to one target and waits for Google's answer.
 * {@link sendAll} does so for a stream of any length, with as many pushes in flight as
 * the connections allow. Every push ends exactly once: with a {@link Receipt}, or with an
 * `FcmError` that says what to do.
 *
 * ```ts
 * const receipt = yield* Fcm.send(message, token)
 * yield* Fcm.sendAll(Stream.map(tokens, (token) => ({ message, target: token }))).pipe(
 *   Stream.runForEach(({ push, result }) => Result.isFailure(result) ? report(push.target, result.failure) : Effect.void)
 * )
 * ```
 *
 * One `Fcm` may serve several projects, which do not affect each other: the push names
 * its project.
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
import * as FcmError from "./answer/FcmError.ts"
import type { ConnectionOptions } from "./connectionOptions.ts"
import type * as Credential from "./credential/Credential.ts"
import * as CredentialError from "./credential/CredentialError.ts"
import * as FcmConfig from "./FcmConfig.ts"
import type { Gateway, Receipt, TopicChange, TopicResult } from "./Gateway.ts"
import { route } from "./Gateway.ts"
import type { Encoded } from "./message/Encoder.ts"
import * as Encoder from "./message/Encoder.ts"
import type { Message } from "./message/Message.ts"
import * as Target from "./message/Target.ts"
import * as PooledGateway from "./pooledGateway.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The options of a push.
 *
 * @category models
 * @since 0.1.0
 */
export interface SendOptions {
  /** The id of the project. Default: that of the first credential. */
  readonly project?: string | undefined
  /** A push that was not sent by this time fails with `Expired`. Milliseconds since 1970. Default: never. */
  readonly expiresAt?: number | undefined
}

/**
 * A message for one target.
 *
 * @category models
 * @since 0.1.0
 */
export interface Push extends SendOptions {
  readonly message: Message
  /** A registration token, or another target. */
  readonly target: Target.Target | string
}

/**
 * A push of {@link sendAll} and its result.
 *
 * @category models
 * @since 0.1.0
 */
export interface PushResult<out P extends Push = Push> {
  readonly push: P
  readonly result: Result.Result<Receipt, FcmError.FcmError>
}

/**
 * The options of {@link sendAll}.
 *
 * @category models
 * @since 0.1.0
 */
export interface SendAllOptions {
  /** At most this many pushes are taken from the stream without a result yet. Default: as many as the connections allow. */
  readonly inFlight?: number | undefined
}

/**
 * The options of a change of topics.
 *
 * @category models
 * @since 0.1.0
 */
export interface TopicOptions {
  /** The id of the project. Default: that of the first credential. */
  readonly project?: string | undefined
}

/** Changes the topics of installations. */
type ChangeTopic = (
  topic: string,
  tokens: ReadonlyArray<string>,
  options?: TopicOptions
) => Effect.Effect<ReadonlyArray<TopicResult>, FcmError.FcmError>

/**
 * Sends push messages.
 *
 * @category services
 * @since 0.1.0
 */
export class Fcm extends Context.Service<Fcm, {
  /** Pushes to one target and waits for Google's answer. */
  readonly send: (
    message: Message,
    target: Target.Target | string,
    options?: SendOptions
  ) => Effect.Effect<Receipt, FcmError.FcmError>

  /**
   * Sends all pushes of a stream, and emits a result for each in the order of Google's
   * answers. It takes a push from the stream when there is room for it. A failed push
   * does not end the stream. If the input fails, the taken pushes finish first.
   */
  readonly sendAll: <P extends Push, E, R>(
    pushes: Stream.Stream<P, E, R>,
    options?: SendAllOptions
  ) => Stream.Stream<PushResult<P>, E, R>

  /** Lets Google check a push, and sends nothing. It counts against the quota. */
  readonly validateOnly: (
    message: Message,
    target: Target.Target | string,
    options?: SendOptions
  ) => Effect.Effect<Receipt, FcmError.FcmError>

  /** Subscribes installations to a topic, by their tokens. Succeeds with a result for each token, in order. */
  readonly subscribe: ChangeTopic

  /** Removes installations from a topic, by their tokens. Succeeds with a result for each token, in order. */
  readonly unsubscribe: ChangeTopic

  /** The project of pushes with this project, or without one. Fails with `ConfigFault` if no credential covers it. */
  readonly project: (project?: string) => Effect.Effect<string, FcmError.FcmError>
}>()("backq/fcm/Fcm") {}

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

/** Encodes each message once. */
const cached = () => {
  const known = new WeakMap<Message, Result.Result<Encoded, FcmError.FcmError>>()
  return (message: Message) => {
    const found = Predicate.isObject(message) ? known.get(message) : undefined
    if (found !== undefined) return found
    const made = Encoder.encode(message)
    if (Predicate.isObject(message)) known.set(message, made)
    return made
  }
}

/** A wrong token is a fault of the application's data; a wrong topic is one of the program. */
const wrongTarget = (target: Target.Target): FcmError.FcmError | undefined => {
  const wrong = Target.check(target)
  if (wrong === undefined) return undefined
  const isToken = wrong.field === "token" || wrong.field === "fid"
  const { value } = isToken ? Target.fieldOf(target) : { value: undefined }
  return isToken && typeof value === "string"
    ? FcmError.make(
      new FcmError.WrongToken({ status: 400, said: `${wrong.field} ${wrong.rule}`, token: value, kind: "Malformed" })
    )
    : FcmError.make(new FcmError.InvalidMessage(wrong))
}

/** Google's limit of tokens in one change. */
const maxTopicTokens = 1000

/**
 * Builds the service on the gateways of one or several projects.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (gateways: ReadonlyArray<Gateway>): Effect.Effect<Fcm["Service"]> =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const fork = Effect.runForkWith(yield* Effect.context())
    const encodedOf = cached()
    const warned = new WeakSet<Encoded>()
    const capacity = gateways.reduce((sum, { inFlight }) => sum + inFlight, 0)

    const warn = (encoded: Encoded, target: Target.Target) => {
      if (encoded.size <= Encoder.limits.topic || warned.has(encoded)) return
      const warning = Encoder.sizeWarning(encoded, target)
      if (warning === undefined) return
      warned.add(encoded)
      fork(Effect.logWarning(warning))
    }

    const submitAs = (isDryRun: boolean): InFlight.Submit<Push, Receipt, FcmError.FcmError> => (push, settle) => {
      const { expiresAt, message, project } = push
      const encoded = encodedOf(message)
      if (Result.isFailure(encoded)) return Result.fail(encoded.failure)
      const target = Target.of(push.target)
      const wrong = wrongTarget(target)
      if (wrong !== undefined) return Result.fail(wrong)
      const gateway = route(gateways, project)
      if (Result.isFailure(gateway)) return Result.fail(gateway.failure)
      if (expiresAt !== undefined && expiresAt <= clock.currentTimeMillisUnsafe()) {
        return Result.fail(FcmError.make(new FcmError.Expired({ expiresAt })))
      }
      warn(encoded.success, target)
      return Result.succeed(gateway.success.submit({
        message,
        encoded: encoded.success,
        target,
        project: gateway.success.project,
        isDryRun,
        expiresAt
      }, settle))
    }
    const submit = submitAs(false)

    const changeTopic = (kind: TopicChange["kind"]): ChangeTopic => (given, tokens, options) =>
      Effect.gen(function*() {
        const target = Target.topic(given)
        const wrong = wrongTarget(target)
        if (wrong !== undefined) return yield* wrong
        const gateway = yield* Effect.fromResult(route(gateways, options?.project))
        const { value: topic } = Target.fieldOf(target)
        const parts = Arr.chunksOf(tokens, maxTopicTokens)
        return (yield* Effect.forEach(parts, (tokens) => gateway.changeTopic({ kind, topic, tokens }))).flat()
      })

    return Fcm.of({
      send: (message, target, options) => InFlight.one(submit, { ...options, message, target }),
      sendAll: (pushes, { inFlight = Math.max(1, capacity) } = {}) => {
        const rule = integer(inFlight, 1)
        return rule === undefined
          ? Stream.map(InFlight.all(submit, pushes, inFlight), ({ input, result }) => ({ push: input, result }))
          : Stream.die(CredentialError.make(new CredentialError.OptionInvalid({ option: "inFlight", rule })))
      },
      validateOnly: (message, target, options) => InFlight.one(submitAs(true), { ...options, message, target }),
      subscribe: changeTopic("Subscribe"),
      unsubscribe: changeTopic("Unsubscribe"),
      project: (project) => Effect.map(Effect.fromResult(route(gateways, project)), (gateway) => gateway.project)
    })
  })

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

export type { ConnectionOptions }

/**
 * The credentials and the connections of the service.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends ConnectionOptions {
  /** A service account, or several for several projects. */
  readonly credential: Credential.Options | Arr.NonEmptyReadonlyArray<Credential.Options>
}

const wrongCredential = (rule: string) =>
  Effect.fail(CredentialError.make(new CredentialError.OptionInvalid({ option: "credential", rule })))

/**
 * Pushes to Google. The layer fails if a credential or an option is invalid. The first
 * pushes get an access token and open connections.
 *
 * **Example**
 *
 * ```ts
 * const fcm = Fcm.layer({ credential: { serviceAccount: { file: "service-account.json" } } })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Fcm, CredentialError.CredentialError> =>
  Layer.effect(
    Fcm,
    Effect.gen(function*() {
      const { credential, ...connection } = options
      const credentials: ReadonlyArray<Credential.Options> = Arr.ensure(credential)
      if (credentials.length === 0) return yield* wrongCredential("must be at least one credential, not []")
      const gateways = yield* Effect.forEach(credentials, (one) => PooledGateway.make(one, connection))
      const projects = gateways.map(({ project }) => project)
      const twice = projects.find((project, index) => projects.indexOf(project) !== index)
      if (twice !== undefined) {
        return yield* wrongCredential(`must have one credential for the project ${twice}, not two`)
      }
      return yield* make(gateways)
    })
  )

/**
 * Pushes to Google with the credential of the configuration, by default of the
 * environment: see `FcmConfig`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: ConnectionOptions = {}
): Layer.Layer<Fcm, Config.ConfigError | CredentialError.CredentialError> =>
  Layer.unwrap(
    Effect.map(FcmConfig.load, ({ connection, credential }) =>
      Layer.catch(
        layer({ ...options, ...connection, credential }),
        (error) => Layer.effectContext(Effect.fail(FcmConfig.named(error)))
      ))
  )

// -----------------------------------------------------------------------------
// Accessors
// -----------------------------------------------------------------------------

/**
 * Pushes to one target and waits for Google's answer.
 *
 * @category accessors
 * @since 0.1.0
 */
export const send = (
  message: Message,
  target: Target.Target | string,
  options?: SendOptions
): Effect.Effect<Receipt, FcmError.FcmError, Fcm> => Fcm.use((fcm) => fcm.send(message, target, options))

/**
 * Sends all pushes of a stream, and emits a result for each in the order of Google's answers.
 *
 * @category accessors
 * @since 0.1.0
 */
export const sendAll = <P extends Push, E, R>(
  pushes: Stream.Stream<P, E, R>,
  options?: SendAllOptions
): Stream.Stream<PushResult<P>, E, R | Fcm> => Stream.unwrap(Fcm.useSync((fcm) => fcm.sendAll(pushes, options)))

/**
 * Lets Google check a push, and sends nothing.
 *
 * @category accessors
 * @since 0.1.0
 */
export const validateOnly = (
  message: Message,
  target: Target.Target | string,
  options?: SendOptions
): Effect.Effect<Receipt, FcmError.FcmError, Fcm> => Fcm.use((fcm) => fcm.validateOnly(message, target, options))

/**
 * Subscribes installations to a topic, by their tokens.
 *
 * @category accessors
 * @since 0.1.0
 */
export const subscribe = (
  topic: string,
  tokens: ReadonlyArray<string>,
  options?: TopicOptions
): Effect.Effect<ReadonlyArray<TopicResult>, FcmError.FcmError, Fcm> =>
  Fcm.use((fcm) => fcm.subscribe(topic, tokens, options))

/**
 * Removes installations from a topic, by their tokens.
 *
 * @category accessors
 * @since 0.1.0
 */
export const unsubscribe = (
  topic: string,
  tokens: ReadonlyArray<string>,
  options?: TopicOptions
): Effect.Effect<ReadonlyArray<TopicResult>, FcmError.FcmError, Fcm> =>
  Fcm.use((fcm) => fcm.unsubscribe(topic, tokens, options))
