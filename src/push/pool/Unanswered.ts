/**
 * Why a push has no answer of its service: the same reasons for every service, and
 * whether it is safe to send the push again. The rest of an error depends on the service.
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import type { Http2Error } from "../../http2/index.ts"

/** The push never left: there was no connection, or it closed before the push was written. */
export class NotSent extends Schema.TaggedError<NotSent>()("NotSent", {
  detail: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  get action() {
    return "Retry" as const
  }
  override get message() {
    return `the push was not sent: ${this.detail}. It is safe to send it again`
  }
}

/** The service closed the stream or the connection, and said that it had not processed the push. */
export class Refused extends Schema.TaggedError<Refused>()("Refused", {
  detail: Schema.String
}) {
  get action() {
    return "Retry" as const
  }
  override get message() {
    return `the push was not processed: ${this.detail}. It is safe to send it again`
  }
}

/** The push was sent and has no answer. It may have been delivered. */
export class Unknown extends Schema.TaggedError<Unknown>()("Unknown", {
  detail: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  get action() {
    return "RetryMayDuplicate" as const
  }
  override get message() {
    return `the push was sent but not answered: ${this.detail}. ` +
      `It may have been delivered: send it again only if a duplicate does no harm, and set a collapse id or key`
  }
}

/** The push timed out. */
export class Timeout extends Schema.TaggedError<Timeout>()("Timeout", {
  /** What took too long. `"Queue"`: the push waited and was not sent. `"Answer"`: it was sent and not answered. */
  stage: Schema.Literals(["Queue", "Answer"]),
  after: Schema.Duration,
  /** What delayed it, if that is known. */
  detail: Schema.optional(Schema.String)
}) {
  get action() {
    return this.stage === "Queue" ? "Retry" as const : "RetryMayDuplicate" as const
  }
  override get message() {
    const after = Duration.format(this.after)
    const why = this.detail === undefined ? "" : `: ${this.detail}`
    return this.stage === "Queue"
      ? `the push was not sent within ${after}${why}. It is safe to send it again` +
        (this.detail === undefined ? "; allow more connections, or send fewer pushes at once" : "")
      : `the push was sent but not answered within ${after}${why}. It may have been delivered: ` +
        `send it again only if a duplicate does no harm, and set a collapse id or key`
  }
}

/** Why a push has no answer. */
export type Unanswered = NotSent | Refused | Unknown | Timeout

/** The reason of a request without an answer; the broken rule if the request is invalid. */
export const reasonOf = (error: Http2Error.Http2Error): Unanswered | { readonly rule: string } => {
  const { message: detail, reason } = error
  switch (reason._tag) {
    case "Timeout":
      return new Timeout({
        stage: reason.sent ? "Answer" : "Queue",
        after: Duration.millis(reason.millis),
        ...(reason.detail === undefined ? undefined : { detail: reason.detail })
      })
    case "Refused":
      return new Refused({ detail: reason.detail })
    case "RequestInvalid":
      return { rule: reason.detail }
    default:
      return error.fate === "Unknown"
        ? new Unknown({ detail: "detail" in reason ? reason.detail : detail, cause: error })
        : new NotSent({ detail, cause: error })
  }
}
