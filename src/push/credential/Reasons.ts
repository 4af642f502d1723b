/**
 * The reasons of errors that the credentials and options of several push services have in
 * common. None contains any part of a key.
 */
import * as Schema from "effect/Schema"

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
    return `${this.file} can't be read: ${this.detail}. Check the path and the permissions`
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
