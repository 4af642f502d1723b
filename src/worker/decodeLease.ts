/**
 * From the bytes of a lease to the handler that runs them, or to the reason why
 * none does. Pure.
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

/** A job that is ready to run. */
export interface Work {
  readonly handler: Handler<any>
  readonly payload: unknown
}

/** A delivery as far as it could be read. */
export interface Decoded {
  readonly job: string | undefined
  readonly id: string | undefined
  readonly publishedAt: number | undefined
  readonly expiresAt: number | undefined
  readonly traceparent: string | undefined
  readonly next: Work | { readonly decision: Decision; readonly job: Job<any> | undefined }
}

/** What decoding has to know of its worker. */
export interface Rules {
  readonly handlers: ReadonlyMap<string, Handler<any>>
  readonly foreign: Envelope.ForeignDecoder | undefined
  /** After how many deliveries that took their worker down a job is buried. */
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

/** What the program gave to decode with may throw. Its message may quote the body, so only its name is told. */
const guarded = <A>(what: string, decode: () => Result.Result<A, unknown>): Result.Result<A, string> =>
  callOr(
    () => {
      const result = decode()
      if (!Result.isResult(result)) return Result.fail(`${what} returned no Result`)
      return Result.isSuccess(result)
        ? result as Result.Success<A, never>
        : Result.fail(safeLine(oneLine(messageOfThrown(result.failure))))
    },
    (thrown) => Result.fail(`${what} threw ${safeName(describe(thrown).name ?? typeof thrown)}`)
  )

const checkEnvelope = Schema.decodeUnknownResult(Envelope.Envelope)

const readForeign = (lease: Lease, foreign: Envelope.ForeignDecoder): Result.Result<Envelope.Envelope, string> =>
  guarded(
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

const select = (
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
  // who kicks a buried job gives it as many deliveries again
  if (lease.info !== undefined && lease.info.abandoned >= rules.poisonLimit * (1 + lease.info.buries)) {
    return bury("Poison", `poison: ${lease.info.abandoned} deliveries took their worker down or ran out of time`)
  }
  const version = envelope.version ?? 1
  if (version > handler.job.version) {
    // a worker that is newer than this one may be on its way
    const reason = `published with version ${version} of the payload, this worker knows ${handler.job.version}`
    return { decision: { _tag: "Failed", tag: "VersionUnknown", failure: reason, reason }, job: handler.job }
  }
  const payloadOf = () =>
    handler.job.exactNumbers && !isForeign ? Envelope.exactPayload(lease.body, envelope) : envelope.payload
  const payload = guarded("its decoder", () => handler.job.decode(payloadOf(), version))
  if (Result.isSuccess(payload)) return { handler, payload: payload.success }
  return bury(
    "PayloadInvalid",
    `the payload is not what job "${safeName(handler.job.name)}" expects: ${payload.failure}`
  )
}

/** Reads a lease and finds its handler. */
export const decodeLease = (lease: Lease, rules: Rules, now: number): Decoded => {
  const own = Envelope.decode(lease.body)
  const isForeign = Result.isFailure(own) && rules.foreign !== undefined
  const envelope = isForeign ? readForeign(lease, rules.foreign) : own
  if (Result.isFailure(envelope)) return unreadable(envelope.failure)
  const { expiresAt, id, job, publishedAt, traceparent } = envelope.success
  return { job, id, publishedAt, expiresAt, traceparent, next: select(envelope.success, lease, rules, now, isForeign) }
}
