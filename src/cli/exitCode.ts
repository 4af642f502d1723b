/**
 * What the programs say at their end: an exit code and, when something went
 * wrong, one line that says what to do.
 *
 * | code | |
 * |---|---|
 * | 0 | done: published, or a worker that stopped as it should |
 * | 1 | usage: a flag or value that can't be meant |
 * | 2 | the broker can't be reached, or can't be used |
 * | 3 | no workers wait on the queue (with `--require-workers`) |
 * | 4 | the broker refused the job |
 * | 130 | interrupted before the end |
 */
import * as Schema from "effect/Schema"
import type { BrokerError } from "../BrokerError.ts"
import type { BrokerUrlError } from "../BrokerUrl.ts"
import type { PublishError } from "../Publisher.ts"

/** The flags and arguments, each allowed alone, make no sense together, or name something that isn't there. */
export class UsageError extends Schema.TaggedError<UsageError>()("UsageError", { detail: Schema.String }) {
  override get message() {
    return this.detail
  }
}

/** A signal came before the command was done. */
export class Interrupted extends Schema.TaggedError<Interrupted>()("Interrupted", {}) {
  override get message() {
    return "interrupted before the end"
  }
}

/** Every failure that a user is told about. */
export type Failure = UsageError | Interrupted | BrokerError | PublishError | BrokerUrlError

const ofReason = (reason: (BrokerError | PublishError)["reason"]): number => {
  switch (reason._tag) {
    case "QueueNameInvalid":
    case "OptionInvalid":
    case "PayloadInvalid":
      return 1
    case "Unavailable":
    case "ProtocolViolation":
    case "Unsupported":
      return 2
    case "NoWorkers":
      return 3
    case "JobTooBig":
    case "Draining":
    case "OutOfMemory":
    case "NotFound":
    case "LeaseLost":
      return 4
  }
}

/** The exit code of a failure. */
export const exitCode = (failure: Failure): number => {
  switch (failure._tag) {
    case "UsageError":
    case "BrokerUrlError":
      return 1
    case "BrokerError":
    case "PublishError":
      return ofReason(failure.reason)
    case "Interrupted":
      return 130
  }
}
