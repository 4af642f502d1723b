/**
 * How the command ends: with an exit code and, after a failure, one line that
 * says what to do.
 *
 * | code | |
 * |---|---|
 * | 0 | done: published, shown, changed, or a worker that stopped normally |
 * | 1 | usage: an invalid flag or value, or a confirmation that was not answered with yes |
 * | 2 | the broker, a push service, or the workers' folder (`tail`) can't be reached, can't be used, or does not support the command |
 * | 3 | no worker is idle on the queue (with `--require-workers`) |
 * | 4 | the broker refused the job, or a push service refused a push |
 * | 5 | the queue, the job in a state that allows the action, or the worker does not exist |
 * | 6 | `doctor` found an error |
 * | 7 | stdout can't be written: a full disk, a broken terminal |
 * | 70 | a bug in backq |
 * | 130 | interrupted before the end |
 * | 141 | the reader of stdout closed it before the end; the code of a program that SIGPIPE ended |
 */
import * as Schema from "effect/Schema"
import { BrokerError } from "../BrokerError.ts"
import type { BrokerUrlError } from "../brokers/url.ts"
import type { PublishError } from "../Publisher.ts"
import { ApnsError } from "../push/apns/index.ts"
import { FcmError } from "../push/fcm/index.ts"
import { WebPushError } from "../push/webpush/index.ts"
import type { Tail } from "../tail/index.ts"
import type { OutputError } from "./output.ts"

/** Flags and arguments are valid one by one, but contradict each other or name something that does not exist. */
export class UsageError extends Schema.TaggedError<UsageError>()("UsageError", { detail: Schema.String }) {
  override get message() {
    return this.detail
  }
}

/** The broker's file does not exist, and a command that only looks must not create it. */
export class NoFile extends Schema.TaggedError<NoFile>()("NoFile", { path: Schema.String }) {
  override get message() {
    return `there is no file ${this.path}: publish a job or start a worker to create it, or name another broker ` +
      `with --broker or BACKQ_BROKER`
  }
}

/** The broker can't show such jobs. */
export class NotShown extends Schema.TaggedError<NotShown>()("NotShown", { detail: Schema.String }) {
  override get message() {
    return this.detail
  }
}

/** Some of the named jobs do not exist, or their state does not allow the action. */
export class SomeMissing extends Schema.TaggedError<SomeMissing>()("SomeMissing", {
  ids: Schema.Array(Schema.String)
}) {
  override get message() {
    return `there is no job ${
      this.ids.join(", ")
    } in a state that allows this: it may be done, deleted or reserved by a worker`
  }
}

/** The other broker of a transfer did not accept some jobs. They stay where they were. */
export class JobsRefused extends Schema.TaggedError<JobsRefused>()("JobsRefused", {
  count: Schema.Int,
  /** The first of them, and why. */
  id: Schema.String,
  error: BrokerError
}) {
  override get message() {
    const others = this.count === 1 ? "" : `, and ${this.count - 1} more`
    return `job ${this.id} was not accepted and stays where it was${others}: ${this.error.message}`
  }
}

/** Some of the named queues do not exist. */
export class QueuesMissing extends Schema.TaggedError<QueuesMissing>()("QueuesMissing", {
  queues: Schema.Array(Schema.String)
}) {
  override get message() {
    return `there is no queue ${this.queues.join(", ")}: it has no jobs, or they were transferred before`
  }
}

/** The named process offers no outcomes to follow. */
export class NoWorker extends Schema.TaggedError<NoWorker>()("NoWorker", { pid: Schema.Int }) {
  override get message() {
    return `process ${this.pid} offers no outcomes: --pid must be a running worker of this user on this machine`
  }
}

/** `doctor` found errors. */
export class Unhealthy extends Schema.TaggedError<Unhealthy>()("Unhealthy", { errors: Schema.Int }) {
  override get message() {
    return `${this.errors} ${this.errors === 1 ? "error" : "errors"} found: see above`
  }
}

/** The error of a push service. */
const PushError = Schema.Union([ApnsError.ApnsError, FcmError.FcmError, WebPushError.WebPushError])

/** The decoded {@link PushError}. */
export type PushError = typeof PushError.Type

/** Some pushes were not accepted. Each failure was already printed. */
export class PushesFailed extends Schema.TaggedError<PushesFailed>()("PushesFailed", {
  failed: Schema.Int,
  total: Schema.Int,
  /** The first failure. */
  error: PushError
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

/**
 * Every failure that the command reports. The parser of the command line reports its own failures.
 */
export type Failure =
  | UsageError
  | NoFile
  | NotShown
  | SomeMissing
  | JobsRefused
  | QueuesMissing
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
    case "AlreadyDone":
    case "RolledBack":
    case "LeaseLost":
      return 4
    case "NotFound":
      return 5
  }
}

const ofPush = ({ reason }: PushError): number => {
  switch (reason._tag) {
    case "InvalidNotification":
    case "InvalidMessage":
      return 1
    case "NotSent":
    case "Refused":
    case "Unknown":
    case "Timeout":
    case "ConfigFault":
    case "ThirdPartyFault":
    case "Unreachable":
      return 2
    case "Expired":
    case "DeadToken":
    case "WrongToken":
    case "InvalidSubscription":
    case "EndpointRefused":
    case "DeadSubscription":
    case "WrongKey":
    case "TooManyRequests":
    case "Rejected":
      return 4
  }
}

/** The exit code of a defect. */
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
    case "JobsRefused":
      return ofReason(failure.error.reason)
    case "SomeMissing":
    case "QueuesMissing":
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
