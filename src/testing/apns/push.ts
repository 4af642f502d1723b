/** The record of a push to the simulator. */

/**
 * A push or a broadcast, and its answer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Push {
  /** The number of its connection, from 1. */
  readonly connection: number
  /** When it arrived, in milliseconds since the epoch. */
  readonly at: number
  /** The device token, or the channel id of a broadcast. */
  readonly target: string
  readonly headers: Readonly<Record<string, string | undefined>>
  /** The payload, unchanged. */
  readonly body: string
  /** The `apns-id` of the answer. */
  readonly apnsId: string
  /** The HTTP status of the answer; `undefined` if the script left it unanswered or a GOAWAY disowned it. */
  readonly status: number | undefined
  /** Apple's reason, if the push was refused. */
  readonly reason: string | undefined
}
