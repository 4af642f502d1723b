/**
 * From the bytes of a lease to the handler that runs them, or to the reason why
 * none does. Pure.
 */
import * as Result from "effect/Result"
import type { Lease } from "../Broker.ts"
import * as Envelope from "../Envelope.ts"
import type { Handler } from "../Handler.ts"
import type { Job } from "../Job.ts"
import { oneLine } from "./text.ts"
import type { Verdict } from "./verdict.ts"

/** A job that is ready to run. */
export interface Work {
  readonly handler: Handler<any>
  readonly payload: unknown
}

/** A delivery as far as it could be read. */
export interface Dispatched {
  readonly job: string | undefined
  readonly id: string | undefined
  readonly publishedAt: number | undefined
  readonly expiresAt: number | undefined
  readonly traceparent: string | undefined
  readonly next: Work | { readonly verdict: Verdict; readonly job: Job<any> | undefined }
}

/** What a dispatch has to know of its worker. */
export interface Rules {
  readonly handlers: ReadonlyMap<string, Handler<any>>
  readonly foreign: Envelope.ForeignDecoder | undefined
  /** After how many deliveries that took their worker down a job is buried. */
  readonly poisonLimit: number
}

const bury = (tag: string, reason: string): Dispatched["next"] => ({
  verdict: { _tag: "Bury", tag, reason },
  job: undefined
})

const unreadable = (reason: string): Dispatched => ({
  job: undefined,
  id: undefined,
  publishedAt: undefined,
  expiresAt: undefined,
  traceparent: undefined,
  next: bury("Unreadable", reason)
})

/** What the program gave to decode with may throw. Its message may quote the body, so only its name is told. */
const guarded = <A, E>(what: string, decode: () => Result.Result<A, E>): Result.Result<A, E | string> =>
  Result.getOrElse(
    Result.try({
      try: decode,
      catch: (thrown) => `${what} threw ${thrown instanceof Error ? thrown.name : typeof thrown}`
    }),
    (reason): Result.Result<A, E | string> => Result.fail(reason)
  )

const readForeign = (lease: Lease, foreign: Envelope.ForeignDecoder): Result.Result<Envelope.Envelope, string> => {
  const decoded = guarded("the decoder of foreign bodies", () => foreign(lease.body, lease.queue))
  return Result.map(decoded, ({ expiresAt, id, job, payload, version }) => ({
    backq: 1,
    id: id ?? lease.id,
    job,
    payload,
    ...(version === undefined ? undefined : { version }),
    ...(expiresAt === undefined ? undefined : { expiresAt })
  }))
}

const select = (
  envelope: Envelope.Envelope,
  lease: Lease,
  rules: Rules,
  now: number,
  isForeign: boolean
): Dispatched["next"] => {
  const handler = rules.handlers.get(envelope.job)
  if (handler === undefined) {
    return bury(
      "NoHandler",
      `no handler for job "${envelope.job}": this worker handles ${[...rules.handlers.keys()].join(", ")}`
    )
  }
  if (envelope.expiresAt !== undefined && envelope.expiresAt <= now) {
    return { verdict: { _tag: "Expire", expiresAt: envelope.expiresAt }, job: handler.job }
  }
  // who kicks a buried job gives it as many deliveries again
  if (lease.info !== undefined && lease.info.lost >= rules.poisonLimit * (1 + lease.info.buries)) {
    return bury("Poison", `poison: ${lease.info.lost} deliveries took their worker down or ran out of time`)
  }
  const version = envelope.version ?? 1
  if (version > handler.job.version) {
    // a worker that is newer than this one may be on its way
    const reason = `published with version ${version} of the payload, this worker knows ${handler.job.version}`
    return { verdict: { _tag: "Failed", tag: "VersionUnknown", failure: reason, reason }, job: handler.job }
  }
  const payloadOf = () =>
    handler.job.exactNumbers && !isForeign ? Envelope.exactPayload(lease.body, envelope) : envelope.payload
  const payload = guarded("its decoder", () => handler.job.decode(payloadOf(), version))
  if (Result.isSuccess(payload)) return { handler, payload: payload.success }
  const why = typeof payload.failure === "string" ? payload.failure : oneLine(payload.failure.message)
  return bury("PayloadInvalid", `the payload is not what job "${envelope.job}" expects: ${why}`)
}

/** Reads a lease and finds its handler. */
export const dispatch = (lease: Lease, rules: Rules, now: number): Dispatched => {
  const own = Envelope.decode(lease.body)
  const isForeign = Result.isFailure(own) && rules.foreign !== undefined
  const envelope = isForeign ? readForeign(lease, rules.foreign) : own
  if (Result.isFailure(envelope)) return unreadable(envelope.failure)
  const { expiresAt, id, job, publishedAt, traceparent } = envelope.success
  return { job, id, publishedAt, expiresAt, traceparent, next: select(envelope.success, lease, rules, now, isForeign) }
}
