/**
 * Decodes the body of a lease and finds its handler, or the reason why the job
 * can't run. Pure.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Lease } from "../Broker.ts"
import * as Envelope from "../Envelope.ts"
import type { Handler } from "../Handler.ts"
import { clip, maxReasonChars, oneLine, safeLine, safeName } from "../internal/text.ts"
import { callOr, describe, messageOfThrown } from "../internal/thrown.ts"
import type { Job } from "../Job.ts"
import type { Decision } from "./decision.ts"

/** A handler and the payload that it will run. */
export interface Work {
  readonly handler: Handler<any>
  readonly payload: unknown
}

/** The content of a delivery, as far as it is readable. */
export interface Decoded {
  readonly job: string | undefined
  readonly id: string | undefined
  readonly publishedAt: number | undefined
  readonly expiresAt: number | undefined
  readonly traceparent: string | undefined
  readonly next: Work | { readonly decision: Decision; readonly job: Job<any> | undefined }
}

/** The worker's settings for decoding. */
export interface Rules {
  readonly handlers: ReadonlyMap<string, Handler<any>>
  readonly foreign: Envelope.ForeignDecoder | undefined
  /** A job is buried after this many abandoned deliveries. */
  readonly poisonLimit: number
}

const bury = (tag: string, reason: string): Decoded["next"] => ({
  decision: { _tag: "Bury", tag, reason },
  job: undefined
})

const unreadable = (reason: string): Decoded => ({
  job: undefined,
  id: undefined,
  publishedAt: undefined,
  expiresAt: undefined,
  traceparent: undefined,
  next: bury("Unreadable", reason)
})

/** Calls a decoder of the program. If it throws, only the error's name is kept, since its message may quote the body. */
const callDecoder = <A>(what: string, decode: () => Result.Result<A, unknown>): Result.Result<A, string> =>
  callOr(
    () => {
      const result = decode()
      if (!Result.isResult(result)) return Result.fail(`${what} must return a Result, and did not`)
      return Result.isSuccess(result)
        ? result as Result.Success<A, never>
        : Result.fail(safeLine(oneLine(messageOfThrown(result.failure))))
    },
    (thrown) => Result.fail(`${what} threw ${safeName(describe(thrown).name ?? typeof thrown)}`)
  )

const checkEnvelope = Schema.decodeUnknownResult(Envelope.Envelope)

const readForeign = (lease: Lease, foreign: Envelope.ForeignDecoder): Result.Result<Envelope.Envelope, string> =>
  callDecoder(
    "the decoder of foreign bodies",
    () =>
      Result.flatMap(foreign(lease.body, lease.queue), ({ expiresAt, id, job, payload, version }) =>
        checkEnvelope({
          backq: 1,
          id: id ?? lease.id,
          job,
          payload,
          ...(version === undefined ? undefined : { version }),
          ...(expiresAt === undefined ? undefined : { expiresAt })
        }))
  )

const namesOf = (rules: Rules): string => clip([...rules.handlers.keys()].map(safeName).join(", "), maxReasonChars)

const handlerOf = (
  envelope: Envelope.Envelope,
  lease: Lease,
  rules: Rules,
  now: number,
  isForeign: boolean
): Decoded["next"] => {
  const handler = rules.handlers.get(envelope.job)
  if (handler === undefined) {
    return bury(
      "NoHandler",
      `no handler for job "${safeName(envelope.job)}": this worker handles ${namesOf(rules)}`
    )
  }
  if (envelope.expiresAt !== undefined && envelope.expiresAt <= now) {
    return { decision: { _tag: "Expire", expiresAt: envelope.expiresAt }, job: handler.job }
  }
  // kicking a buried job allows it as many deliveries again
  if (lease.info !== undefined && lease.info.abandoned >= rules.poisonLimit * (1 + lease.info.buries)) {
    return bury(
      "Poison",
      `poison: ${lease.info.abandoned} deliveries ended with a crash of the worker or an expired lease`
    )
  }
  const version = envelope.version ?? 1
  if (version > handler.job.version) {
    // a newer worker may start soon
    const reason = `the payload has version ${version}, and this worker knows ${handler.job.version}: update the worker`
    return { decision: { _tag: "Failed", tag: "VersionUnknown", failure: reason, reason }, job: handler.job }
  }
  const payloadOf = () =>
    handler.job.exactNumbers && !isForeign ? Envelope.exactPayload(lease.body, envelope) : envelope.payload
  const payload = callDecoder("its decoder", () => handler.job.decode(payloadOf(), version))
  if (Result.isSuccess(payload)) return { handler, payload: payload.success }
  return bury(
    "PayloadInvalid",
    `the payload is not what job "${safeName(handler.job.name)}" expects: ${payload.failure}`
  )
}

/** Decodes a lease. `now` is in milliseconds since the epoch. */
export const decodeLease = (lease: Lease, rules: Rules, now: number): Decoded => {
  const own = Envelope.decode(lease.body)
  const isForeign = Result.isFailure(own) && rules.foreign !== undefined
  const envelope = isForeign ? readForeign(lease, rules.foreign) : own
  if (Result.isFailure(envelope)) return unreadable(envelope.failure)
  const { expiresAt, id, job, publishedAt, traceparent } = envelope.success
  return {
    job,
    id,
    publishedAt,
    expiresAt,
    traceparent,
    next: handlerOf(envelope.success, lease, rules, now, isForeign)
  }
}
