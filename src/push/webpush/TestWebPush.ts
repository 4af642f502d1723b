/**
 * A `WebPush` for tests. It sends nothing, records every message, and answers by a script.
 *
 * ```ts
 * const gone = TestWebPush.layer({
 *   answer: ({ subscription }) => subscription.endpoint.endsWith("/old") ? TestWebPush.reject(410) : TestWebPush.accept
 * })
 * ```
 *
 * It checks messages, subscriptions and endpoints like the real service. It does not
 * record what the real service refuses before sending.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { scripted } from "../pool/index.ts"
import * as Reason from "./answer/Reason.ts"
import * as WebPushError from "./answer/WebPushError.ts"
import type { Gateway, Outgoing, Receipt } from "./Gateway.ts"
import type { Allowed } from "./subscription/Endpoints.ts"
import * as Subscription from "./subscription/Subscription.ts"
import { defaultId, type VapidKey } from "./vapid/VapidKey.ts"
import { make, WebPush } from "./WebPush.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * An answer of the script: a receipt with optional parts, a failure, or a rejection in the
 * form of the push service.
 *
 * @category models
 * @since 0.1.0
 */
export type Answer = Effect.Effect<Partial<Receipt>, WebPushError.WebPushError | Rejection>

/**
 * An answer of a push service that is no acceptance.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rejection {
  readonly _tag: "Rejection"
  readonly status: number
  readonly body: string
  readonly headers: Readonly<Record<string, string>>
}

/**
 * The options of the test service.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Answers each message; `index` counts from 0. Default: {@link accept}. */
  readonly answer?: ((push: Outgoing, index: number) => Answer) | undefined
  /** The hosts that messages may go to. Default: `"known"`. */
  readonly allow?: Allowed | undefined
  /** The ids of the VAPID keys. Default: `["default"]`. */
  readonly keys?: ReadonlyArray<string> | undefined
  /** Default: 1000. */
  readonly inFlight?: number | undefined
}

/**
 * The recorded messages.
 *
 * @category services
 * @since 0.1.0
 */
export class TestWebPush extends Context.Service<TestWebPush, {
  /** The sent messages, in order. */
  readonly pushes: Effect.Effect<ReadonlyArray<Outgoing>>
}>()("backq/webpush/TestWebPush") {}

// -----------------------------------------------------------------------------
// Answers
// -----------------------------------------------------------------------------

/**
 * The push service accepts the message.
 *
 * @category constructors
 * @since 0.1.0
 */
export const accept: Answer = Effect.succeed({})

/**
 * The push service refuses the message. Its host decides how the answer is read.
 *
 * @category constructors
 * @since 0.1.0
 */
export const reject = (status: number, body = "", headers: Readonly<Record<string, string>> = {}): Answer =>
  Effect.fail({ _tag: "Rejection", status, body, headers })

/**
 * The message fails without an answer.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fail = (reason: WebPushError.WebPushErrorReason): Answer => Effect.fail(WebPushError.make(reason))

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

const toError =
  ({ encoded, key, subscription, target: { endpoint } }: Outgoing, now: number) =>
  (error: WebPushError.WebPushError | Rejection): WebPushError.WebPushError => {
    if (error._tag !== "Rejection") return error
    const { body, headers, status } = error
    const response = { status, headers: Object.entries(headers), body: Buffer.from(body) }
    return WebPushError.fromRefusal(Reason.classify(Reason.serviceOf(endpoint.host), response, now), {
      host: endpoint.host,
      subscription: Subscription.nameOf(subscription.endpoint),
      key: key.id,
      bytes: encoded.plaintext?.length ?? 0
    })
  }

const receipt = (part: Partial<Receipt>): Receipt => ({
  status: 201,
  location: undefined,
  attempts: 1,
  duration: 0,
  ...part
})

const keyOf = (id: string): VapidKey => ({ id, publicKey: `the public key ${id}`, pem: Redacted.make("") })

const makeContext = (options: Options) =>
  Effect.gen(function*() {
    const recorded: Array<Outgoing> = []
    const answer = options.answer ?? (() => accept)
    const submit = yield* scripted({
      recorded,
      answer: (push: Outgoing, index) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) =>
          answer(push, index).pipe(Effect.map(receipt), Effect.mapError(toError(push, now)))),
      died: (what) =>
        WebPushError.make(new WebPushError.Unknown(what))
    })
    const gateway: Gateway = {
      keys: (options.keys ?? [defaultId]).map(keyOf),
      inFlight: options.inFlight ?? 1000,
      submit
    }
    return Context.make(WebPush, yield* make(gateway, options.allow)).pipe(
      Context.add(TestWebPush, { pushes: Effect.sync(() => recorded.slice()) })
    )
  })

/**
 * Records messages and answers them by the script.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<WebPush | TestWebPush> =>
  Layer.effectContext(makeContext(options))

/**
 * The sent messages, in order.
 *
 * @category accessors
 * @since 0.1.0
 */
export const pushes: Effect.Effect<ReadonlyArray<Outgoing>, never, TestWebPush> = TestWebPush.use(({ pushes }) =>
  pushes
)
