/**
 * The failures of a credential and of its options.
 *
 * Each reason names the file or the option, and what to do. None contains any part of
 * a key or passphrase.
 */
import * as DateTime from "effect/DateTime"
import * as Schema from "effect/Schema"
import { FileUnreadable, OptionInvalid, OptionMissing } from "../../credential/index.ts"

export { FileUnreadable, OptionInvalid, OptionMissing }

const isoDate = DateTime.formatIsoDateUtc

/**
 * A key is not usable.
 *
 * @category errors
 * @since 0.1.0
 */
export class KeyInvalid extends Schema.TaggedError<KeyInvalid>()("KeyInvalid", {
  /** The file, or another name of the key's source. */
  source: Schema.String,
  /** What is wrong and what to do. */
  detail: Schema.String
}) {
  override get message() {
    return `${this.source} is not a usable key: ${this.detail}`
  }
}

/**
 * A certificate is not usable.
 *
 * @category errors
 * @since 0.1.0
 */
export class CertificateInvalid extends Schema.TaggedError<CertificateInvalid>()("CertificateInvalid", {
  /** The file, or another name of the certificate's source. */
  source: Schema.String,
  /** What is wrong and what to do. */
  detail: Schema.String
}) {
  override get message() {
    return `${this.source} is not a usable certificate: ${this.detail}`
  }
}

/**
 * The passphrase is wrong or missing.
 *
 * @category errors
 * @since 0.1.0
 */
export class PassphraseWrong extends Schema.TaggedError<PassphraseWrong>()("PassphraseWrong", {
  source: Schema.String,
  given: Schema.Boolean
}) {
  override get message() {
    return this.given
      ? `the passphrase does not decrypt ${this.source}: set the passphrase of its export`
      : `${this.source} is encrypted: set its passphrase, or export it without one`
  }
}

/**
 * The certificate and the key do not belong together.
 *
 * @category errors
 * @since 0.1.0
 */
export class KeyMismatch extends Schema.TaggedError<KeyMismatch>()("KeyMismatch", {
  certificate: Schema.String,
  key: Schema.String
}) {
  override get message() {
    return `the key (${this.key}) does not belong to the certificate (${this.certificate}): ` +
      `set the key of the certificate's request`
  }
}

/**
 * The certificate has expired, or is not valid yet.
 *
 * @category errors
 * @since 0.1.0
 */
export class CertificateExpired extends Schema.TaggedError<CertificateExpired>()("CertificateExpired", {
  source: Schema.String,
  validFrom: Schema.DateTimeUtc,
  validTo: Schema.DateTimeUtc
}) {
  override get message() {
    return `the push certificate (${this.source}) is valid from ${isoDate(this.validFrom)} to ${
      isoDate(this.validTo)
    }, ` +
      `not now: renew it in the developer account, or check this machine's clock`
  }
}

/**
 * Why a credential is not usable.
 *
 * @category errors
 * @since 0.1.0
 */
export const CredentialErrorReason = Schema.Union([
  FileUnreadable,
  KeyInvalid,
  CertificateInvalid,
  PassphraseWrong,
  KeyMismatch,
  CertificateExpired,
  OptionInvalid,
  OptionMissing
])

/**
 * The decoded {@link CredentialErrorReason}.
 *
 * @category errors
 * @since 0.1.0
 */
export type CredentialErrorReason = typeof CredentialErrorReason.Type

/**
 * A credential or one of its options is not usable; its `reason` says why.
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
      ? `the APNs option ${message}`
      : `the APNs credential can't be used: ${message}`
  }
}

/**
 * Wraps a reason in a {@link CredentialError}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (reason: CredentialErrorReason): CredentialError => new CredentialError({ reason })
