/**
 * The layer below `WebPush`: the connections to push services.
 *
 * A gateway gets checked messages, encrypts and sends each, and settles it once.
 */
import type * as Result from "effect/Result"
import type * as WebPushError from "./answer/WebPushError.ts"
import type { Encoded, Message } from "./Message.ts"
import type { Subscription, Target } from "./subscription/Subscription.ts"
import type { VapidKey } from "./vapid/VapidKey.ts"

/**
 * The acceptance of a message by the push service. It does not say whether the browser
 * shows it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Receipt {
  readonly status: number
  /** The URL of the message at the push service, if it gives one. Keep it secret, like the endpoint. */
  readonly location: string | undefined
  /** How many times it was sent: more than 1 if the service did not process earlier attempts. */
  readonly attempts: number
  /** From the call to the answer, in milliseconds. */
  readonly duration: number
}

/**
 * A message for one subscription.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outgoing {
  readonly message: Message
  /** The encoded message: the same object for all subscriptions of one message. */
  readonly encoded: Encoded
  readonly subscription: Subscription
  /** The subscription, checked and as bytes. */
  readonly target: Target
  readonly key: VapidKey
}

/**
 * The connections to push services.
 *
 * @category models
 * @since 0.1.0
 */
export interface Gateway {
  /** The VAPID keys. The first one signs for subscriptions without a key. */
  readonly keys: ReadonlyArray<VapidKey>
  /** The useful number of messages in flight. */
  readonly inFlight: number
  /**
   * Sends a message. It calls `settle` exactly once, and never before `submit` returns. It
   * returns a function that cancels the message; `settle` is not called after that.
   */
  readonly submit: (
    push: Outgoing,
    settle: (result: Result.Result<Receipt, WebPushError.WebPushError>) => void
  ) => () => void
}
