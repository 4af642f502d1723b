/**
 * An `Fcm` for tests. It sends nothing, records every push, and answers by a script.
 *
 * ```ts
 * const gone = TestFcm.layer({
 *   answer: ({ target }) => target._tag === "Token" && target.token === "a" ? TestFcm.reject(404, "UNREGISTERED") : TestFcm.accept
 * })
 * ```
 *
 * It checks messages, targets, projects and expirations like the real service. It does
 * not record a push that the real service refuses before sending. Tests can subscribe
 * tokens to topics.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { scripted } from "../pool/index.ts"
import * as ErrorCode from "./answer/ErrorCode.ts"
import * as FcmError from "./answer/FcmError.ts"
import { Fcm, make } from "./Fcm.ts"
import type { Gateway, Outgoing, Receipt, TopicChange } from "./Gateway.ts"
import { fieldOf } from "./message/Target.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * An answer of the script: a receipt with optional parts, a failure, or a rejection in Google's form.
 *
 * @category models
 * @since 0.1.0
 */
export type Answer = Effect.Effect<Partial<Receipt>, FcmError.FcmError | Rejection>

/**
 * A rejection by Google.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rejection {
  readonly _tag: "Rejection"
  readonly status: number
  /** The code of FcmError. */
  readonly errorCode: string | undefined
  readonly message: string | undefined
  readonly retryAfter: Duration.Duration | undefined
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
  /** The projects. Default: `["test-project"]`. */
  readonly projects?: ReadonlyArray<string> | undefined
  /** Default: 1000. */
  readonly inFlight?: number | undefined
}

/**
 * The recorded pushes and changes of topics.
 *
 * @category services
 * @since 0.1.0
 */
export class TestFcm extends Context.Service<TestFcm, {
  /** The sent pushes, in order. */
  readonly pushes: Effect.Effect<ReadonlyArray<Outgoing>>
  /** The changes of topics, in order. */
  readonly topics: Effect.Effect<ReadonlyArray<TopicChange>>
}>()("backq/fcm/TestFcm") {}

// -----------------------------------------------------------------------------
// Answers
// -----------------------------------------------------------------------------

/**
 * Google accepts the push.
 *
 * @category constructors
 * @since 0.1.0
 */
export const accept: Answer = Effect.succeed({})

/**
 * Google refuses the push.
 *
 * @category constructors
 * @since 0.1.0
 */
export const reject = (
  status: number,
  errorCode?: string,
  options: { readonly message?: string | undefined; readonly retryAfter?: Duration.Duration | undefined } = {}
): Answer =>
  Effect.fail({ _tag: "Rejection", status, errorCode, message: options.message, retryAfter: options.retryAfter })

/**
 * The push fails without an answer from Google.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fail = (reason: FcmError.FcmErrorReason): Answer => Effect.fail(FcmError.make(reason))

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

const toError = ({ target }: Outgoing) => (error: FcmError.FcmError | Rejection): FcmError.FcmError => {
  if (error._tag !== "Rejection") return error
  const { errorCode, message, retryAfter, status } = error
  const body: ErrorCode.Body = {
    isGoogles: true,
    errorCode,
    status: undefined,
    reason: undefined,
    message,
    violations: [],
    isQuotaFailure: false
  }
  const token = target._tag === "Token" || target._tag === "Fid" ? fieldOf(target).value : undefined
  return FcmError.fromClassification(ErrorCode.classify(status, body, { retryAfter }), { token })
}

const makeGateway = Effect.fnUntraced(function*(
  project: string,
  { answer = () => accept, inFlight = 1000 }: Options,
  recorded: Array<Outgoing>,
  topics: Array<TopicChange>
): Effect.fn.Return<Gateway> {
  const submit = yield* scripted({
    recorded,
    answer: (push: Outgoing, index) => {
      const receipt: Receipt = { name: `projects/${project}/messages/${index}`, attempts: 1, duration: 0 }
      return answer(push, index).pipe(
        Effect.map((part): Receipt => ({ ...receipt, ...part })),
        Effect.mapError(toError(push))
      )
    },
    died: (what) => FcmError.make(new FcmError.Unknown(what))
  })
  return {
    project,
    inFlight,
    submit,
    changeTopic: (change) =>
      Effect.sync(() => {
        topics.push(change)
        return change.tokens.map((token) => ({ token, result: Result.void }))
      })
  }
})

const makeContext = (options: Options) =>
  Effect.gen(function*() {
    const recorded: Array<Outgoing> = []
    const topics: Array<TopicChange> = []
    const gateways = yield* Effect.forEach(
      options.projects ?? ["test-project"],
      (project) => makeGateway(project, options, recorded, topics)
    )
    return Context.make(Fcm, yield* make(gateways)).pipe(
      Context.add(TestFcm, {
        pushes: Effect.sync(() => recorded.slice()),
        topics: Effect.sync(() => topics.slice())
      })
    )
  })

/**
 * Records pushes and answers them by the script.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<Fcm | TestFcm> => Layer.effectContext(makeContext(options))

/**
 * The sent pushes, in order.
 *
 * @category accessors
 * @since 0.1.0
 */
export const pushes: Effect.Effect<ReadonlyArray<Outgoing>, never, TestFcm> = TestFcm.use(({ pushes }) => pushes)

/**
 * The changes of topics, in order.
 *
 * @category accessors
 * @since 0.1.0
 */
export const topics: Effect.Effect<ReadonlyArray<TopicChange>, never, TestFcm> = TestFcm.use(({ topics }) => topics)
