/**
 * The layer below `Fcm`: the connections of one project. A gateway gets checked and
 * encoded pushes, sends a push again if Google certainly did not process it, and
 * settles each push once.
 */
import type * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { safeName } from "../../internal/text.ts"
import * as FcmError from "./answer/FcmError.ts"
import type { Encoded } from "./message/Encoder.ts"
import type { Message } from "./message/Message.ts"
import type { Target } from "./message/Target.ts"

/**
 * Google's acceptance of a push. It does not say whether the device shows it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Receipt {
  /** Google's name of the message, `projects/my-project/messages/0:15...`, if the answer has one. */
  readonly name: string | undefined
  /** How many times it was sent: more than 1 if Google did not process earlier attempts. */
  readonly attempts: number
  /** From the call to the answer, in milliseconds. */
  readonly duration: number
}

/**
 * An encoded push.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outgoing {
  readonly message: Message
  /** The encoded message: the same object for all pushes of one message. */
  readonly encoded: Encoded
  readonly target: Target
  readonly project: string
  /** Google checks the push and sends nothing. */
  readonly isDryRun: boolean
  /** The deadline to send it, in milliseconds since 1970. */
  readonly expiresAt: number | undefined
}

/**
 * A change of the topics of installations.
 *
 * @category models
 * @since 0.1.0
 */
export interface TopicChange {
  readonly kind: "Subscribe" | "Unsubscribe"
  readonly topic: string
  /** At most 1000. */
  readonly tokens: ReadonlyArray<string>
}

/**
 * The result of a change for a token.
 *
 * @category models
 * @since 0.1.0
 */
export interface TopicResult {
  readonly token: string
  readonly result: Result.Result<void, FcmError.FcmError>
}

/**
 * The connections of one project.
 *
 * @category models
 * @since 0.1.0
 */
export interface Gateway {
  readonly project: string
  /** The useful number of pushes in flight. */
  readonly inFlight: number
  /**
   * Sends a push. It calls `settle` exactly once, and never before `submit` returns. It
   * returns a function that cancels the push; `settle` is not called after that.
   */
  readonly submit: (push: Outgoing, settle: (result: Result.Result<Receipt, FcmError.FcmError>) => void) => () => void
  /** Changes the topics of installations. Succeeds with a result for each token, in order. */
  readonly changeTopic: (change: TopicChange) => Effect.Effect<ReadonlyArray<TopicResult>, FcmError.FcmError>
}

/**
 * Finds the gateway of a project; without a project it is the first.
 *
 * @category functions
 * @since 0.1.0
 */
export const route = (
  gateways: ReadonlyArray<Gateway>,
  project: string | undefined
): Result.Result<Gateway, FcmError.FcmError> => {
  const found = project === undefined ? gateways[0] : gateways.find((gateway) => gateway.project === project)
  if (found !== undefined) return Result.succeed(found)
  const known = gateways.map((gateway) => gateway.project).join(", ") || "none"
  const detail = `no credential covers the project ${safeName(String(project))} (covered: ${known}): add one that does`
  return Result.fail(FcmError.make(new FcmError.ConfigFault({ detail })))
}
