/**
 * What the programs say at their end: an exit code and, when something went
 * wrong, one line that says what to do.
 *
 * | code | |
 * |---|---|
 * | 0 | done: published, shown, changed, or a worker that stopped as it should |
 * | 1 | usage: a flag or value that can't be meant, or a question that was not answered with yes |
 * | 2 | the broker, Apple, or the folder of the workers (`tail`) can't be reached, or can't be used, or can't do that |
 * | 3 | no worker is idle on the queue (with `--require-workers`) |
 * | 4 | the broker refused the job, or Apple a push |
 * | 5 | there is no such queue, no such job in a state that allows it, or no such worker |
 * | 6 | `doctor` found an error |
 * | 7 | stdout can't be written: a full disk, a broken terminal |
 * | 70 | a fault of backq itself |
 * | 130 | interrupted before the end |
 * | 141 | the reader of stdout left before the end, as for a program that SIGPIPE ended |
 */
import * as Schema from "effect/Schema"
import type { BrokerError } from "../BrokerError.ts"
import type { BrokerUrlError } from "../brokers/url.ts"
import type { PublishError } from "../Publisher.ts"
import { ApnsError } from "../push/apns/index.ts"
import type { Tail } from "../tail/index.ts"
import type { OutputError } from "./output.ts"

/** The flags and arguments, each allowed alone, make no sense together, or name something that isn't there. */
export class UsageError extends Schema.TaggedError<UsageError>()("UsageError", { detail: Schema.String }) {
  override get message() {
    return this.detail
  }
}

/** The file of a broker is not there, and looking at it is no reason to make it. */
export class NoFile extends Schema.TaggedError<NoFile>()("NoFile", { path: Schema.String }) {
  override get message() {
    return `there is no file ${this.path}: publish a job or start a worker to make it, or name another broker ` +
      `with --broker or BACKQ_BROKER`
  }
}

/** The broker has nothing of the kind to show. */
export class NotShown extends Schema.TaggedError<NotShown>()("NotShown", { detail: Schema.String }) {
  override get message() {
    return this.detail
  }
}

/** Some of the jobs that were named are not there, or not in a state that allows what was asked for. */
export class SomeMissing extends Schema.TaggedError<SomeMissing>()("SomeMissing", {
  ids: Schema.Array(Schema.String)
}) {
  override get message() {
    return `there is no job ${this.ids.join(", ")} in a state that allows this: done, deleted or reserved by a worker`
  }
}

/** The process that was named lets nobody follow it. */
export class NoWorker extends Schema.TaggedError<NoWorker>()("NoWorker", { pid: Schema.Int }) {
  override get message() {
    return `process ${this.pid} offers no outcomes: it is no worker of yours on this machine, or has ended`
  }
}

/** The broker, or what is in it, needs somebody's attention. */
export class Unhealthy extends Schema.TaggedError<Unhealthy>()("Unhealthy", { errors: Schema.Int }) {
  override get message() {
    return `${this.errors} ${this.errors === 1 ? "error" : "errors"} found: see above`
  }
}

/** Some pushes were not accepted: each was told already. */
export class PushesFailed extends Schema.TaggedError<PushesFailed>()("PushesFailed", {
  failed: Schema.Int,
  total: Schema.Int,
  /** The first failure. */
  error: ApnsError.ApnsError
}) {
  override get message() {
    return `${this.failed} of ${this.total} ${this.total === 1 ? "push" : "pushes"} failed: see above`
  }
}

/** A signal came before the command was done. */
export class Interrupted extends Schema.TaggedError<Interrupted>()("Interrupted", {}) {
  override get message() {
    return "interrupted before the end"
  }
}

/** Every failure that a user is told about. */
export type Failure =
  | UsageError
  | NoFile
  | NotShown
  | SomeMissing
  | NoWorker
  | Unhealthy
  | PushesFailed
  | Interrupted
  | Tail.FolderUnusable
  | OutputError
  | BrokerError
  | PublishError
  | BrokerUrlError

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
    case "NoIdleWorkers":
      return 3
    case "JobTooBig":
    case "Draining":
    case "OutOfMemory":
    case "LeaseLost":
      return 4
    case "NotFound":
      return 5
  }
}

const ofPush = ({ reason }: ApnsError.ApnsError): number => {
  switch (reason._tag) {
    case "InvalidNotification":
      return 1
    case "NotSent":
    case "Refused":
    case "Unknown":
    case "Timeout":
    case "ConfigFault":
      return 2
    case "Expired":
    case "DeadToken":
    case "WrongToken":
    case "TooManyRequests":
    case "Rejected":
      return 4
  }
}

/** The exit code of what is no failure that anybody expected. */
export const fault = 70

/** The exit code of a failure. */
export const exitCode = (failure: Failure): number => {
  switch (failure._tag) {
    case "UsageError":
    case "BrokerUrlError":
      return 1
    case "BrokerError":
    case "PublishError":
      return ofReason(failure.reason)
    case "NoFile":
    case "NotShown":
    case "FolderUnusable":
      return 2
    case "SomeMissing":
    case "NoWorker":
      return 5
    case "Unhealthy":
      return 6
    case "PushesFailed":
      return ofPush(failure.error)
    case "OutputError":
      return failure.isClosed ? 141 : 7
    case "Interrupted":
      return 130
  }
}
