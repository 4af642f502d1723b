/**
 * The failures of a {@link Broker}.
 *
 * There is one error, `BrokerError`; its `reason` says what happened. Each
 * reason names the broker, queue, job or limit, and its message ends with what
 * to do next. Handle one reason with `Effect.catchReason("BrokerError", "...")`.
 */
import * as Schema from "effect/Schema"
import { clip, maxNameChars, safeLine } from "./internal/text.ts"

/**
 * Whether a failed operation may have taken effect. `"NotSent"`: it did not, and
 * you can repeat it safely. `"Unknown"`: it was sent and not answered, so a
 * repeated `put` may enqueue a second copy.
 *
 * @category models
 * @since 0.1.0
 */
export const Fate = Schema.Literals(["NotSent", "Unknown"])

/**
 * The decoded {@link Fate}.
 *
 * @category models
 * @since 0.1.0
 */
export type Fate = typeof Fate.Type

const fateSentence = (fate: Fate) =>
  fate === "Unknown"
    ? " The operation was sent but not answered: it may or may not have taken effect."
    : ""

/**
 * The broker can't be reached, or its connection was lost during an operation.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unavailable extends Schema.TaggedError<Unavailable>()("Unavailable", {
  broker: Schema.String,
  fate: Fate,
  detail: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  override get message() {
    return `${this.broker} is unavailable: ${this.detail}.${fateSentence(this.fate)}`
  }
}

/**
 * The lease ended before it was settled, because its time to run ran out or its
 * connection was lost. The job runs again.
 *
 * @category errors
 * @since 0.1.0
 */
export class LeaseLost extends Schema.TaggedError<LeaseLost>()("LeaseLost", {
  queue: Schema.String,
  id: Schema.String
}) {
  override get message() {
    return `the lease on job ${this.id} of queue "${this.queue}" is lost: its time to run ran out or its connection closed. ` +
      `The job will run again; give it a longer ttr, or leave "touch" on`
  }
}

/**
 * A transaction of the handler has settled the job already. It does not run again.
 *
 * @category errors
 * @since 0.1.0
 */
export class AlreadyDone extends Schema.TaggedError<AlreadyDone>()("AlreadyDone", {
  queue: Schema.String,
  id: Schema.String
}) {
  override get message() {
    return `job ${this.id} of queue "${this.queue}" is done already: a transaction of its handler settled it. Settle a job once`
  }
}

/**
 * The transaction in which a handler settled the job was rolled back. The attempt failed.
 *
 * @category errors
 * @since 0.1.0
 */
export class RolledBack extends Schema.TaggedError<RolledBack>()("RolledBack", {
  queue: Schema.String,
  id: Schema.String
}) {
  override get message() {
    return `the transaction that settled job ${this.id} of queue "${this.queue}" was rolled back: let the handler fail when ` +
      `its transaction does`
  }
}

/**
 * There is no such job, or no such queue.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotFound extends Schema.TaggedError<NotFound>()("NotFound", {
  what: Schema.Literals(["job", "queue"]),
  name: Schema.String
}) {
  override get message() {
    return this.what === "job"
      ? `there is no job ${this.name} in a state that allows this: it may be done, deleted or reserved by a worker`
      : `there is no queue "${this.name}": a queue exists while it holds jobs or a worker or publisher uses it`
  }
}

/**
 * The body is larger than the broker accepts. Nothing was sent.
 *
 * @category errors
 * @since 0.1.0
 */
export class JobTooBig extends Schema.TaggedError<JobTooBig>()("JobTooBig", {
  queue: Schema.String,
  size: Schema.Int,
  limit: Schema.Int,
  /** How to raise this broker's limit. */
  advice: Schema.optional(Schema.String)
}) {
  override get message() {
    return `a job of ${this.size} bytes for queue "${this.queue}" is over the broker's limit of ${this.limit} bytes: ` +
      `store the large part elsewhere and publish a reference, or ${this.advice ?? "raise the limit"}`
  }
}

/**
 * The name can't be used for a queue on any broker. Nothing was sent.
 *
 * @category errors
 * @since 0.1.0
 */
export class QueueNameInvalid extends Schema.TaggedError<QueueNameInvalid>()("QueueNameInvalid", {
  queue: Schema.String
}) {
  override get message() {
    return `${
      safeLine(JSON.stringify(clip(this.queue, maxNameChars)))
    } is not a queue name: use 1 to 200 of the characters A-Z a-z 0-9 - + / ; . $ _ ( ) ` +
      `and do not begin with "-"`
  }
}

/**
 * An option has a value that is not allowed. Nothing was sent.
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
 * The server is in drain mode: it serves the jobs that it has and accepts no new ones.
 *
 * @category errors
 * @since 0.1.0
 */
export class Draining extends Schema.TaggedError<Draining>()("Draining", {
  broker: Schema.String
}) {
  override get message() {
    return `${this.broker} is in drain mode and accepts no new jobs: publish to another server, or wait until this one is restarted`
  }
}

/**
 * The server or file has no memory or disk space left for an operation, such as a put. It was not carried out.
 *
 * @category errors
 * @since 0.1.0
 */
export class OutOfMemory extends Schema.TaggedError<OutOfMemory>()("OutOfMemory", {
  broker: Schema.String
}) {
  override get message() {
    return `${this.broker} is out of memory or disk space and did not carry this out: free space, then try again`
  }
}

/**
 * The server speaks another protocol or breaks this one. The connection was closed.
 *
 * @category errors
 * @since 0.1.0
 */
export class ProtocolViolation extends Schema.TaggedError<ProtocolViolation>()("ProtocolViolation", {
  broker: Schema.String,
  fate: Fate,
  detail: Schema.String
}) {
  override get message() {
    return `${this.broker} does not speak the expected protocol: ${this.detail}. Check host and port.${
      fateSentence(this.fate)
    }`
  }
}

/**
 * This broker, or this driver for it, doesn't support the operation.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unsupported extends Schema.TaggedError<Unsupported>()("Unsupported", {
  broker: Schema.String,
  operation: Schema.String,
  hint: Schema.String
}) {
  override get message() {
    return `${this.broker} can't do ${this.operation}: ${this.hint}`
  }
}

/**
 * The reasons of a {@link BrokerError}.
 *
 * @category errors
 * @since 0.1.0
 */
export const BrokerErrorReason = Schema.Union([
  Unavailable,
  LeaseLost,
  AlreadyDone,
  RolledBack,
  NotFound,
  JobTooBig,
  QueueNameInvalid,
  OptionInvalid,
  Draining,
  OutOfMemory,
  ProtocolViolation,
  Unsupported
])

/**
 * The decoded {@link BrokerErrorReason}.
 *
 * @category errors
 * @since 0.1.0
 */
export type BrokerErrorReason = typeof BrokerErrorReason.Type

/**
 * The failure of a broker's operation; its `reason` says what happened.
 *
 * @category errors
 * @since 0.1.0
 */
export class BrokerError extends Schema.TaggedError<BrokerError>()("BrokerError", {
  reason: BrokerErrorReason
}) {
  override get message() {
    return this.reason.message
  }
}

/**
 * Wraps a reason in the broker's error.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (reason: BrokerErrorReason): BrokerError => new BrokerError({ reason })

/**
 * The same failure with the fate `"NotSent"`: the operation had no effect.
 *
 * @category functions
 * @since 0.1.0
 */
export const notSent = (error: BrokerError): BrokerError => withFate(error, "NotSent")

/**
 * The same failure with the fate `"Unknown"`: at least a part of the operation may have taken effect.
 *
 * @category functions
 * @since 0.1.0
 */
export const maybeDone = (error: BrokerError): BrokerError => withFate(error, "Unknown")

const withFate = (error: BrokerError, fate: Fate): BrokerError => {
  const { reason } = error
  switch (reason._tag) {
    case "Unavailable":
      return reason.fate === fate ? error : make(new Unavailable({ ...reason, fate }))
    case "ProtocolViolation":
      return reason.fate === fate ? error : make(new ProtocolViolation({ ...reason, fate }))
    default:
      return error
  }
}

/**
 * An option breaks a rule, such as `must be an integer from 1 to 10, not 0`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const optionInvalid = (option: string, rule: string): BrokerError => make(new OptionInvalid({ option, rule }))

/**
 * A body is over the limit, in bytes. `advice` says how to raise it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const jobTooBig = (queue: string, size: number, limit: number, advice: string): BrokerError =>
  make(new JobTooBig({ queue, size, limit, advice }))

/**
 * A lease ended before it was settled.
 *
 * @category constructors
 * @since 0.1.0
 */
export const leaseLost = (lease: { readonly queue: string; readonly id: string }): BrokerError =>
  make(new LeaseLost({ queue: lease.queue, id: lease.id }))

/**
 * There is no such job.
 *
 * @category constructors
 * @since 0.1.0
 */
export const jobNotFound = (id: string): BrokerError => make(new NotFound({ what: "job", name: id }))

/**
 * There is no such queue.
 *
 * @category constructors
 * @since 0.1.0
 */
export const queueNotFound = (name: string): BrokerError => make(new NotFound({ what: "queue", name }))

/**
 * A worker reserves with a consumer whose scope is closed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const consumerClosed = (broker: string): BrokerError =>
  make(new Unavailable({ broker, fate: "NotSent", detail: "the consumer was closed" }))

/**
 * A program uses a broker whose scope is closed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const brokerClosed = (broker: string): BrokerError =>
  make(new Unavailable({ broker, fate: "NotSent", detail: "the broker was closed" }))
