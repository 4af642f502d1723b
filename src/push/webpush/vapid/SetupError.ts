/**
 * The failures of keys and options. Each names the option or the key, and what to do.
 * None contains any part of a private key.
 */
import * as Schema from "effect/Schema"

/**
 * A VAPID key is not usable.
 *
 * @category errors
 * @since 0.1.0
 */
export class KeyInvalid extends Schema.TaggedError<KeyInvalid>()("KeyInvalid", {
  /** The id of the key, or its file. */
  source: Schema.String,
  /** What is wrong and what to do. */
  detail: Schema.String
}) {
  override get message() {
    return `the VAPID key ${this.source} can't be used: ${this.detail}`
  }
}

/**
 * An option has a value that is not allowed.
 *
 * @category errors
 * @since 0.1.0
 */
export class OptionInvalid extends Schema.TaggedError<OptionInvalid>()("OptionInvalid", {
  option: Schema.String,
  /** The end of a sentence that begins with the option: `must be an integer from 1 to 10, not 0`. */
  rule: Schema.String
}) {
  override get message() {
    return `the Web Push option ${this.option} ${this.rule}`
  }
}

/**
 * A required option is missing.
 *
 * @category errors
 * @since 0.1.0
 */
export class OptionMissing extends Schema.TaggedError<OptionMissing>()("OptionMissing", {
  option: Schema.String,
  rule: Schema.String
}) {
  override get message() {
    return `the Web Push option ${this.option} is missing: ${this.rule}`
  }
}

/**
 * Why the setup can't be used.
 *
 * @category errors
 * @since 0.1.0
 */
export const SetupErrorReason = Schema.Union([KeyInvalid, OptionInvalid, OptionMissing])

/**
 * The decoded {@link SetupErrorReason}.
 *
 * @category errors
 * @since 0.1.0
 */
export type SetupErrorReason = typeof SetupErrorReason.Type

/**
 * A key or an option can't be used; its `reason` says why.
 *
 * @category errors
 * @since 0.1.0
 */
export class SetupError extends Schema.TaggedError<SetupError>()("SetupError", {
  reason: SetupErrorReason
}) {
  override get message() {
    return this.reason.message
  }
}

/**
 * Wraps a reason in a {@link SetupError}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (reason: SetupErrorReason): SetupError => new SetupError({ reason })
