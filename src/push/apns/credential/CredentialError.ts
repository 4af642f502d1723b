/**
 * What can be wrong with the key or certificate that a program shows to Apple,
 * and with the options beside it.
 *
 * Each reason names the file, or the option, and what to do. None holds any
 * part of a key or passphrase.
 */
import * as DateTime from "effect/DateTime"
import * as Schema from "effect/Schema"

const isoDate = DateTime.formatIsoDateUtc

/**
 * A file of the credential can't be read.
 *
 * @category errors
 * @since 0.1.0
 */
export class FileUnreadable extends Schema.TaggedError<FileUnreadable>()("FileUnreadable", {
  file: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `${this.file} can't be read: ${this.detail}. Check the path, and that this user may read it`
  }
}

/**
 * A key is not one that can be used.
 *
 * @category errors
 * @since 0.1.0
 */
export class KeyInvalid extends Schema.TaggedError<KeyInvalid>()("KeyInvalid", {
  /** The file, or where else the key came from. */
  source: Schema.String,
  /** What is wrong and what to do. */
  detail: Schema.String
}) {
  override get message() {
    return `${this.source} is not a usable key: ${this.detail}`
  }
}

/**
 * A certificate is not one that can be used.
 *
 * @category errors
 * @since 0.1.0
 */
export class CertificateInvalid extends Schema.TaggedError<CertificateInvalid>()("CertificateInvalid", {
  /** The file, or where else the certificate came from. */
  source: Schema.String,
  /** What is wrong and what to do. */
  detail: Schema.String
}) {
  override get message() {
    return `${this.source} is not a usable certificate: ${this.detail}`
  }
}

/**
 * The passphrase does not open the key, or there is none and one is needed.
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
      ? `the passphrase does not open ${this.source}: give the one with which it was exported`
      : `${this.source} is encrypted: give its passphrase, or export it without one`
  }
}

/**
 * Certificate and key do not belong together.
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
      `give the key that the certificate was requested with`
  }
}

/**
 * The certificate can't be used any more, or not yet.
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
      `and not now: renew it in the developer account, or check this machine's clock`
  }
}

/**
 * An option of the credential, or of its connections, has a value that is not allowed.
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
    return `${this.option} ${this.rule}`
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
    return `${this.option} is missing: ${this.rule}`
  }
}

/**
 * Everything that can be wrong with a credential.
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
 * Everything that can be wrong with a credential.
 *
 * @category errors
 * @since 0.1.0
 */
export type CredentialErrorReason = typeof CredentialErrorReason.Type

/**
 * A credential can't be used; its `reason` says why.
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
 * Wraps a reason in the error.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (reason: CredentialErrorReason): CredentialError => new CredentialError({ reason })
