/**
 * An `Apns` for tests. It sends nothing, records every push, and answers by a script.
 *
 * ```ts
 * const gone = TestApns.layer({
 *   answer: ({ token }) => token === "0a" ? TestApns.reject(410, "Unregistered") : TestApns.accept
 * })
 * ```
 *
 * It checks notifications, tokens, topics and expirations like the real service. It
 * does not record a push that the real service refuses before sending. Tests can create
 * broadcast channels, which live as long as the layer.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { scripted } from "../pool/index.ts"
import * as ApnsError from "./answer/ApnsError.ts"
import { Apns, make } from "./Apns.ts"
import type { Environment } from "./Endpoint.ts"
import type { Gateway, Outgoing, Receipt } from "./Gateway.ts"
import type * as BroadcastChannel from "./notification/BroadcastChannel.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * An answer of the script: a receipt with optional parts, a failure, or a rejection in Apple's form.
 *
 * @category models
 * @since 0.1.0
 */
export type Answer = Effect.Effect<Partial<Receipt>, ApnsError.ApnsError | Rejection>

/**
 * A rejection by Apple.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rejection {
  readonly _tag: "Rejection"
  readonly status: number
  readonly reason: string | undefined
  readonly timestamp: number | undefined
}

/**
 * The options of the test service.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Answers each push; `index` counts from 0. Default: {@link accept}. */
  readonly answer?: ((push: Outgoing, index: number) => Answer) | undefined
  /** The kind of credential. Default: `undefined`, which can send all push types. */
  readonly credential?: Gateway["credential"]
  /** Default: any. */
  readonly topics?: ReadonlyArray<string> | undefined
  /** Default: `"com.example.app"`. */
  readonly defaultTopic?: string | undefined
  /** Default: `"sandbox"`. */
  readonly environment?: Environment | undefined
  /** Default: 1000. */
  readonly inFlight?: number | undefined
}

/**
 * The recorded pushes and broadcasts.
 *
 * @category services
 * @since 0.1.0
 */
export class TestApns extends Context.Service<TestApns, {
  /** The sent pushes, in order. */
  readonly pushes: Effect.Effect<ReadonlyArray<Outgoing>>
  /** The sent broadcasts, in order. */
  readonly broadcasts: Effect.Effect<ReadonlyArray<BroadcastChannel.Request>>
}>()("backq/apns/TestApns") {}

// -----------------------------------------------------------------------------
// Answers
// -----------------------------------------------------------------------------

/**
 * Apple accepts the push.
 *
 * @category constructors
 * @since 0.1.0
 */
export const accept: Answer = Effect.succeed({})

/**
 * Apple refuses the push.
 *
 * @category constructors
 * @since 0.1.0
 */
export const reject = (status: number, reason?: string, timestamp?: number): Answer =>
  Effect.fail({ _tag: "Rejection", status, reason, timestamp })

/**
 * The push fails without an answer from Apple.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fail = (reason: ApnsError.ApnsErrorReason): Answer => Effect.fail(ApnsError.make(reason))

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

const toError = ({ apnsId, token }: Outgoing) => (error: ApnsError.ApnsError | Rejection): ApnsError.ApnsError =>
  error._tag === "Rejection"
    ? ApnsError.fromAnswer({ status: error.status, reason: error.reason, timestamp: error.timestamp, token, apnsId })
    : error

const receipt = ({ apnsId }: Outgoing, part: Partial<Receipt>): Receipt => ({
  apnsId,
  apnsUniqueId: undefined,
  attempts: 1,
  duration: 0,
  ...part
})

const response = (status: number, body: unknown = "", ...headers: ReadonlyArray<readonly [string, string]>) => ({
  status,
  headers,
  body: Buffer.from(body === "" ? "" : JSON.stringify(body))
})

/** Simulates Apple's broadcast channels. */
const makeChannels = (
  broadcasts: Array<BroadcastChannel.Request>
): (request: BroadcastChannel.Request) => BroadcastChannel.Response => {
  const channels = new Map<string, { readonly path: string; readonly body: unknown }>()
  let made = 0
  return (request) => {
    const { body, headers, host, method, path } = request
    const id = new Map(headers).get("apns-channel-id") ?? ""
    if (host === "manage" && method === "POST") {
      const created = Buffer.from(`channel ${++made}`).toString("base64")
      channels.set(created, { path, body: JSON.parse(Buffer.from(body ?? []).toString()) })
      return response(201, "", ["apns-channel-id", created])
    }
    if (host === "manage" && path.endsWith("/all-channels")) {
      const own = path.replace(/all-channels$/, "channels")
      return response(200, { channels: [...channels].flatMap(([id, { path }]) => path === own ? [id] : []) })
    }
    const channel = channels.get(id)
    if (channel === undefined) return response(400, { reason: "ChannelNotRegistered" })
    if (method === "GET") return response(200, channel.body)
    if (method === "DELETE") {
      channels.delete(id)
      return response(204)
    }
    broadcasts.push(request)
    return response(200)
  }
}

const makeContext = (options: Options) =>
  Effect.gen(function*() {
    const recorded: Array<Outgoing> = []
    const broadcasts: Array<BroadcastChannel.Request> = []
    const channels = makeChannels(broadcasts)
    const answer = options.answer ?? (() => accept)
    const submit = yield* scripted({
      recorded,
      answer: (push: Outgoing, index) =>
        answer(push, index).pipe(Effect.map((part) => receipt(push, part)), Effect.mapError(toError(push))),
      died: (what) => ApnsError.make(new ApnsError.Unknown(what))
    })
    const gateway: Gateway = {
      environment: options.environment ?? "sandbox",
      credential: options.credential,
      topics: options.topics ?? "any",
      defaultTopic: options.defaultTopic ?? "com.example.app",
      inFlight: options.inFlight ?? 1000,
      submit,
      exchange: (request) => Effect.sync(() => channels(request))
    }
    return Context.make(Apns, yield* make([gateway])).pipe(
      Context.add(TestApns, {
        pushes: Effect.sync(() => recorded.slice()),
        broadcasts: Effect.sync(() => broadcasts.slice())
      })
    )
  })

/**
 * Records pushes and answers them by the script.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<Apns | TestApns> => Layer.effectContext(makeContext(options))

/**
 * The sent pushes, in order.
 *
 * @category accessors
 * @since 0.1.0
 */
export const pushes: Effect.Effect<ReadonlyArray<Outgoing>, never, TestApns> = TestApns.use(({ pushes }) => pushes)

/**
 * The sent broadcasts, in order.
 *
 * @category accessors
 * @since 0.1.0
 */
export const broadcasts: Effect.Effect<ReadonlyArray<BroadcastChannel.Request>, never, TestApns> = TestApns.use(
  ({ broadcasts }) => broadcasts
)
