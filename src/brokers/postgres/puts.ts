/**
 * Groups puts: what many fibers put on a queue during a commit becomes the next
 * statement and commit. A lone put is sent at once.
 *
 * An answer means that the commit succeeded. A put that is interrupted before its
 * group is sent does nothing; later, the job may be accepted.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { JobId, PutRequest } from "../../Broker.ts"
import { type BrokerError, make as brokerError, ProtocolViolation } from "../../BrokerError.ts"
import * as Driver from "./driver.ts"
import type { Statements } from "./jobStatements.ts"
import { idOf, wholeMillis } from "./rows.ts"

/** One statement puts at most this many jobs. */
const maxJobsPerStatement = 500
/** One statement puts about this many bytes of bodies at most. */
const maxBytesPerStatement = 4 * 1024 * 1024

export type Put = Result.Result<JobId, BrokerError>

/** Runs a statement. */
export type Run = (sql: string, parameters: ReadonlyArray<unknown>) => Effect.Effect<Driver.Rows, BrokerError>

/** Cuts requests into those that share a statement. */
export const portions = <Request extends PutRequest>(
  requests: ReadonlyArray<Request>
): ReadonlyArray<ReadonlyArray<Request>> => {
  const parts: Array<Array<Request>> = []
  let bytes = Infinity
  for (const request of requests) {
    const last = parts.at(-1)
    bytes += request.body.length
    if (last === undefined || last.length === maxJobsPerStatement || bytes > maxBytesPerStatement) {
      parts.push([request])
      bytes = request.body.length
    } else last.push(request)
  }
  return parts
}

/** A number of each job; only one if all have the same. */
const numbers = <A>(
  requests: ReadonlyArray<PutRequest>,
  of: (request: PutRequest) => A,
  numberOf: (value: A) => number
): unknown => {
  const first = of(requests[0]!)
  return Driver.int8s(
    requests.every((request) => of(request) === first)
      ? [numberOf(first)]
      : requests.map((request) => numberOf(of(request)))
  )
}

const parametersOf = (queue: string, requests: ReadonlyArray<PutRequest>): ReadonlyArray<unknown> => [
  queue,
  Driver.bodies(requests.map(({ body }) => body)),
  numbers(requests, ({ priority }) => priority, (priority) => priority),
  numbers(requests, ({ delay }) => delay, wholeMillis),
  numbers(requests, ({ ttr }) => ttr, wholeMillis)
]

/** The same as texts, for a client of the program, with the number of the queue. */
export const textsOf = (queue: number, requests: ReadonlyArray<PutRequest>): ReadonlyArray<string> => {
  const array = (item: (request: PutRequest) => string | number) => `{${requests.map(item).join(",")}}`
  return [
    String(queue),
    array(({ body }) => `"\\\\x${Buffer.from(body.buffer, body.byteOffset, body.length).toString("hex")}"`),
    array(({ priority }) => priority),
    array(({ delay }) => wholeMillis(delay)),
    array(({ ttr }) => wholeMillis(ttr))
  ]
}

/** Puts jobs by one statement. */
export const putNow = Effect.fnUntraced(function*(
  broker: string,
  run: Run,
  sql: Statements,
  queue: string,
  requests: ReadonlyArray<PutRequest>
): Effect.fn.Return<ReadonlyArray<JobId>, BrokerError> {
  const parameters = parametersOf(queue, requests)
  let rows = yield* run(sql.put, parameters)
  if (rows.length === 0) {
    yield* run(sql.openQueue, [queue])
    rows = yield* run(sql.put, parameters)
  }
  if (rows.length === requests.length) return rows.map(([id]) => idOf(id))
  const detail = `${rows.length} of ${requests.length} jobs were put`
  return yield* brokerError(new ProtocolViolation({ broker, fate: "Unknown", detail }))
})

interface Entry {
  readonly request: PutRequest
  readonly resume: (effect: Effect.Effect<JobId, BrokerError>) => void
}

/** The puts of a broker. */
export class Puts {
  /** Sets, because many may be interrupted at once. */
  private readonly waiting = new Map<string, Set<Entry>>()
  private readonly flushing: Set<string> = new Set()
  private readonly fork: (effect: Effect.Effect<void>) => void
  private readonly put: (
    queue: string,
    requests: ReadonlyArray<PutRequest>
  ) => Effect.Effect<ReadonlyArray<JobId>, BrokerError>

  /** `fork` runs an effect in the background; `put` puts jobs by one statement. */
  constructor(fork: Puts["fork"], put: Puts["put"]) {
    this.fork = fork
    this.put = put
  }

  /** Puts one job, with others that are put meanwhile. */
  one(queue: string, request: PutRequest): Effect.Effect<JobId, BrokerError> {
    return Effect.callback((resume) => {
      const entry: Entry = { request, resume }
      const waiting = this.waiting.get(queue)
      if (waiting === undefined) this.waiting.set(queue, new Set([entry]))
      else waiting.add(entry)
      if (!this.flushing.has(queue)) {
        this.flushing.add(queue)
        this.fork(this.flush(queue))
      }
      return Effect.sync(() => this.forget(queue, entry))
    })
  }

  private forget(queue: string, entry: Entry): void {
    const waiting = this.waiting.get(queue)
    if (waiting?.delete(entry) === true && waiting.size === 0) this.waiting.delete(queue)
  }

  /** Puts what waits, until nothing does. */
  private readonly flush = (queue: string): Effect.Effect<void> =>
    Effect.suspend(() => {
      const entries = this.take(queue)
      if (entries.length === 0) {
        this.flushing.delete(queue)
        return Effect.void
      }
      const put = Effect.exit(this.put(queue, entries.map(({ request }) => request)))
      return Effect.flatMap(put, (exit) => {
        entries.forEach(({ resume }, i) => {
          resume(Effect.map(exit, (ids) => ids[i]!))
        })
        return this.flush(queue)
      })
    })

  /** Takes those that share the next statement, as in {@link portions}. */
  private take(queue: string): ReadonlyArray<Entry> {
    const waiting = this.waiting.get(queue) ?? new Set()
    const taken: Array<Entry> = []
    let bytes = 0
    for (const entry of waiting) {
      bytes += entry.request.body.length
      if (taken.length === maxJobsPerStatement || taken.length > 0 && bytes > maxBytesPerStatement) break
      taken.push(entry)
      waiting.delete(entry)
    }
    if (waiting.size === 0) this.waiting.delete(queue)
    return taken
  }
}
