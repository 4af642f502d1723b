/**
 * The failures of a credential and of the options of FCM. Each names the file or the
 * option, and what to do. None contains any part of a key.
 */
import * as Schema from "effect/Schema"
import { FileUnreadable, OptionInvalid, OptionMissing } from "../../credential/index.ts"

export { FileUnreadable, OptionInvalid, OptionMissing }

/**
 * The content is no usable service account.
 *
 * @category errors
 * @since 0.1.0
 */
export class AccountInvalid extends Schema.TaggedError<AccountInvalid>()("AccountInvalid", {
  /** The file, or another name of the account's source. */
  source: Schema.String,
  /** The field of its JSON; absent if the whole content is wrong. */
  field: Schema.optional(Schema.String),
  /** What is wrong and what to do. */
  rule: Schema.String
}) {
  override get message() {
    return `${this.source} is not a usable service account: ${
      this.field === undefined ? "" : `${this.field} `
    }${this.rule}`
  }
}

/**
 * Why a credential is not usable.
 *
 * @category errors
 * @since 0.1.0
 */
export const CredentialErrorReason = Schema.Union([FileUnreadable, AccountInvalid, OptionInvalid, OptionMissing])

/**
 * The decoded {@link CredentialErrorReason}.
 *
 * @category errors
 * @since 0.1.0
 */
export type CredentialErrorReason = typeof CredentialErrorReason.Type

/**
 * A credential or an option of FCM is not usable; its `reason` says why.
 *
 * @category errors
 * @since 0.1.0
 */
export class CredentialError extends Schema.TaggedError<CredentialError>()("CredentialError", {
  reason: CredentialErrorReason
}) {
  override get message() {
    const { _tag, message } = this.reason
    return _tag === "OptionInvalid" || _tag === "OptionMissing"
      ? `the FCM option ${message}`
      : `the FCM credential can't be used: ${message}`
  }
}

/**
 * Wraps a reason in a {@link CredentialError}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (reason: CredentialErrorReason): CredentialError => new CredentialError({ reason })
