/**
 * Publishes jobs: encodes a payload in an envelope and puts it on a queue.
 *
 * When `publish` succeeds, the broker has the job: it will run, be buried with
 * its reason, or still wait. Every failure has a type, so that a caller can have
 * a fallback:
 *
 * ```ts
 * Publisher.publish(SendWelcome, { userId: "42" }, { requireWorkers: true }).pipe(
 *   Effect.catchReason("PublishError", "NoIdleWorkers", () => sendNow("42")),
 *   Effect.catchReason("PublishError", "Unavailable", () => writeToOutbox("42"))
 * )
 * ```
 *
 * `Unavailable` with fate `"Unknown"` means that the broker may have accepted
 * the job although its answer was lost. Give such a job an `id` of your own if
 * its handler must recognize a second copy.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Tracer from "effect/Tracer"
import { Broker, checkQueue, type JobId, type PutOptions, putOptions, type PutRequest } from "./Broker.ts"
import { type BrokerError, BrokerErrorReason, notSent, OptionInvalid } from "./BrokerError.ts"
import * as Envelope from "./Envelope.ts"
import * as Options from "./internal/options.ts"
import { oneLine, safeLine, safeName } from "./internal/text.ts"
import { callOr, describe, messageOfThrown, textOf } from "./internal/thrown.ts"
import * as Uuid from "./internal/uuid.ts"
import type { Job } from "./Job.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * The payload does not encode with the job's Schema. Nothing was sent.
 *
 * @category errors
 * @since 0.1.0
 */
export class PayloadInvalid extends Schema.TaggedError<PayloadInvalid>()("PayloadInvalid", {
  job: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `the payload of job "${safeName(this.job)}" does not encode: ${this.detail}`
  }
}

/**
 * The publication requires workers, and no worker is idle on the queue. Nothing was sent.
 *
 * @category errors
 * @since 0.1.0
 */
export class NoIdleWorkers extends Schema.TaggedError<NoIdleWorkers>()("NoIdleWorkers", { queue: Schema.String }) {
  override get message() {
    return `no worker is idle on queue "${safeName(this.queue)}": start one, or publish without requiring workers`
  }
}

/**
 * A job was not published; the `reason` says why.
 *
 * @category errors
 * @since 0.1.0
 */
export class PublishError extends Schema.TaggedError<PublishError>()("PublishError", {
  job: Schema.String,
  queue: Schema.String,
  reason: Schema.Union([PayloadInvalid, NoIdleWorkers, BrokerErrorReason])
}) {
  override get message() {
    return `job "${safeName(this.job)}" was not published to queue "${safeName(this.queue)}": ${this.reason.message}`
  }
}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The options of publishing one job.
 *
 * @category models
 * @since 0.1.0
 */
export interface PublishOptions extends PutOptions {
  /** The queue. Default: the job's. */
  readonly queue?: string | undefined
  /** The envelope's id, the same in every attempt. Default: a new UUID v7. */
  readonly id?: string | undefined
  /** How long the job may wait, as a duration from now or an instant. Later it is deleted. Default: the job's. */
  readonly deadline?: Duration.Input | DateTime.DateTime | undefined
  /** Whether to fail with `NoIdleWorkers` when no worker is idle on the queue. Costs a round trip. Default: false. */
  readonly requireWorkers?: boolean | undefined
}

/**
 * Publishes jobs.
 *
 * @category services
 * @since 0.1.0
 */
export class Publisher extends Context.Service<Publisher, {
  /** Publishes one job and returns the id that the broker gives it. */
  readonly publish: <A>(job: Job<A>, payload: A, options?: PublishOptions) => Effect.Effect<JobId, PublishError>

  /**
   * Publishes many jobs in few round trips. Returns a result for each, in order.
   */
  readonly publishAll: <A>(
    job: Job<A>,
    payloads: Iterable<A>,
    options?: PublishOptions | ((payload: A, index: number) => PublishOptions)
  ) => Effect.Effect<ReadonlyArray<Result.Result<JobId, PublishError>>>

  /** How many workers wait for a job on a queue now. A worker at its full concurrency is not idle. */
  readonly idleWorkers: (queue: string | Job<any>) => Effect.Effect<number, BrokerError>

  /** Succeeds when the broker answers. */
  readonly ping: Effect.Effect<void, BrokerError>
}>()("backq/Publisher") {}

// -----------------------------------------------------------------------------
// Construction
// -----------------------------------------------------------------------------

const refused = (option: string, rule: string): Result.Result<never, OptionInvalid> =>
  Result.fail(new OptionInvalid({ option, rule }))

const expiresAt = (
  now: number,
  deadline: Duration.Input | DateTime.DateTime | undefined
): Result.Result<number | undefined, OptionInvalid> => {
  if (deadline === undefined) return Result.succeed(undefined)
  if (DateTime.isDateTime(deadline)) return Result.succeed(DateTime.toEpochMillis(deadline))
  const duration = Options.readDuration(deadline, { minMillis: 0 })
  if (Result.isFailure(duration)) return refused("deadline", `${duration.failure}: for an instant give a DateTime`)
  const at = now + Duration.toMillis(duration.success)
  // an infinite duration
  return Result.succeed(Number.isFinite(at) ? at : undefined)
}

const notPublished = (job: Job<any>, queue: string, reason: PublishError["reason"]): PublishError =>
  new PublishError({ job: textOf(job.name), queue: textOf(queue), reason })

const payloadInvalid = (job: Job<any>, detail: string): PayloadInvalid =>
  new PayloadInvalid({ job: textOf(job.name), detail: safeLine(oneLine(detail)) })

/** Encodes one payload in its envelope and checks its options. May throw, since it calls user code. */
const build = <A>(
  job: Job<A>,
  payload: A,
  options: PublishOptions,
  now: number,
  traceparent: string | undefined
): Result.Result<PutRequest, PublishError["reason"]> => {
  const checked = putOptions({
    priority: options.priority ?? job.priority,
    delay: options.delay,
    ttr: options.ttr ?? job.ttr
  })
  if (Result.isFailure(checked)) return Result.fail(checked.failure.reason)
  const { id = Uuid.v7(now) } = options
  // JavaScript callers can pass any type, and no worker could read the envelope
  const idRule = Options.string(id)
  if (idRule !== undefined) return refused("id", idRule)
  const nameRule = Options.string(job.name)
  if (nameRule !== undefined) return refused("name", nameRule)
  const versionRule = Options.finite(job.version)
  if (versionRule !== undefined) return refused("version", versionRule)
  const encoded = job.encode(payload)
  if (Result.isFailure(encoded)) {
    return Result.fail(payloadInvalid(job, messageOfThrown(encoded.failure)))
  }
  const json = encoded.success
  if (json === undefined || typeof json === "function" || typeof json === "symbol") {
    return Result.fail(payloadInvalid(job, `${typeof json} is not JSON`))
  }
  const expires = expiresAt(now, options.deadline ?? job.deadline)
  if (Result.isFailure(expires)) return Result.fail(expires.failure)
  const body = Envelope.encode({
    backq: 1,
    id,
    job: job.name,
    version: job.version,
    payload: json,
    publishedAt: now,
    expiresAt: expires.success,
    traceparent
  })
  const { delay, priority, ttr } = checked.success
  return Result.succeed({ body, priority, delay, ttr })
}

/** Like {@link build}, but never throws. */
const request = <A>(
  job: Job<A>,
  payload: A,
  options: PublishOptions,
  now: number,
  traceparent: string | undefined
): Result.Result<PutRequest, PublishError["reason"]> => {
  return callOr(
    () => build(job, payload, options, now, traceparent),
    (thrown) => Result.fail(payloadInvalid(job, describe(thrown).text))
  )
}

/** The queue of a job, and whether it requires workers. May throw, since it calls user code. */
const placeOf = (job: Job<any>, options: PublishOptions) => ({
  queue: options.queue ?? job.queue,
  requireWorkers: options.requireWorkers === true
})

type ItemOptions<A> = PublishOptions | ((payload: A, index: number) => PublishOptions)

/** One payload of a `publishAll`. */
interface Item {
  readonly queue: string
  readonly requireWorkers: boolean
  readonly built: Result.Result<PutRequest, PublishError["reason"]>
}

/**
 * The payloads of a `publishAll` as requests. It calls user code and never
 * throws: when the iterator fails, the last item is that failure.
 */
const items = function*<A>(
  job: Job<A>,
  payloads: Iterable<A>,
  options: ItemOptions<A>,
  now: number,
  traceparent: string | undefined
): Generator<Item> {
  let iterator: Iterator<A>
  let payload: A
  let index = 0
  const refused = (what: string) => (thrown: unknown): Item => ({
    queue: job.queue,
    requireWorkers: false,
    built: Result.fail(payloadInvalid(job, `${what} threw ${describe(thrown).text}`))
  })
  const next = (): boolean => {
    iterator ??= payloads[Symbol.iterator]()
    const { done, value } = iterator.next()
    payload = value
    return done !== true
  }
  const unreadable = refused("the iterator of the payloads")
  const item = (): Item => {
    const own = typeof options === "function" ? options(payload, index) : options
    const built = request(job, payload, own, now, traceparent)
    const { queue, requireWorkers } = placeOf(job, own)
    return { queue, requireWorkers, built }
  }
  const withoutOptions = refused("the function of the options")
  for (;; index++) {
    const more = callOr(next, unreadable)
    if (more === false) return
    if (more !== true) return yield more
    yield callOr(item, withoutOptions)
  }
}

/**
 * Runs in a span of its own, whose traceparent `run` gets for the handler's span
 * to link to. Without a tracing backend there is none: it would cost more than
 * the rest.
 */
const traced = <A, E>(
  name: string,
  attributesOf: () => Record<string, unknown>,
  run: (traceparent: string | undefined) => Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.withFiber((fiber) => {
    if (fiber.getRef(Tracer.Tracer) === Tracer.nativeTracer) return run(undefined)
    const traceparent = Effect.map(
      Effect.option(Effect.currentSpan),
      (span) => Option.isSome(span) ? Envelope.traceparent(span.value) : undefined
    )
    return Effect.withSpan(Effect.flatMap(traceparent, run), name, { kind: "producer", attributes: attributesOf() })
  })

/**
 * At most this many jobs of a `publishAll` share a round trip. They are built in
 * a millisecond. In a SQLite file each batch is a commit, so larger batches
 * save commits.
 */
const batchSize = 512

/** Requests of a `publishAll` for one queue, which either all require workers or all don't. */
interface Batch {
  readonly queue: string
  readonly requireWorkers: boolean
  readonly requests: Array<PutRequest>
  /** The position of each request's result. */
  readonly positions: Array<number>
}

type Put = Result.Result<JobId, PublishError["reason"]>

/** Collects the requests of one `publishAll` in batches, and their results in order. */
class Batches {
  readonly results: Array<Result.Result<JobId, PublishError>> = []
  private readonly job: Job<any>
  private readonly others = new Map<string, Batch>()
  private readonly requiring = new Map<string, Batch>()
  private position = 0

  constructor(job: Job<any>) {
    this.job = job
  }

  /** Adds an item. Returns its batch if that is full now. */
  add({ built, queue, requireWorkers }: Item): Batch | undefined {
    const position = this.position++
    if (Result.isFailure(built)) {
      this.results[position] = this.failed(queue, built.failure)
      return undefined
    }
    const batches = requireWorkers ? this.requiring : this.others
    let batch = batches.get(queue)
    if (batch === undefined) batches.set(queue, batch = { queue, requireWorkers, requests: [], positions: [] })
    batch.requests.push(built.success)
    batch.positions.push(position)
    if (batch.requests.length < batchSize) return undefined
    batches.delete(queue)
    return batch
  }

  /** The batches that are not full. */
  get rest(): ReadonlyArray<Batch> {
    return [...this.others.values(), ...this.requiring.values()]
  }

  /** Keeps the results of a batch. */
  settle({ positions, queue }: Batch, results: ReadonlyArray<Put>): void {
    for (let i = 0; i < results.length; i++) {
      const result = results[i]!
      this.results[positions[i]!] = Result.isFailure(result)
        ? this.failed(queue, result.failure)
        : Result.succeed(result.success)
    }
  }

  private failed(queue: string, reason: PublishError["reason"]): Result.Result<never, PublishError> {
    return Result.fail(notPublished(this.job, queue, reason))
  }
}

const checkWorkers = (broker: Broker["Service"], queue: string): Effect.Effect<void, PublishError["reason"]> =>
  Effect.matchEffect(broker.idleWorkers(queue), {
    onFailure: (error) => Effect.fail(notSent(error).reason),
    onSuccess: (idle) => idle === 0 ? Effect.fail(new NoIdleWorkers({ queue })) : Effect.void
  })

/**
 * Builds the request of one payload and puts it. Programs call this most. It has no
 * generator, which would take half of its CPU.
 */
const put = <A>(
  broker: Broker["Service"],
  job: Job<A>,
  payload: A,
  options: PublishOptions,
  { queue, requireWorkers }: ReturnType<typeof placeOf>,
  now: number,
  traceparent: string | undefined
): Effect.Effect<JobId, PublishError> => {
  const fail = (reason: PublishError["reason"]) => Effect.fail(notPublished(job, queue, reason))
  const built = request(job, payload, options, now, traceparent)
  if (Result.isFailure(built)) return fail(built.failure)
  const name = checkQueue(queue)
  if (Result.isFailure(name)) return fail(name.failure.reason)
  const accepted = Effect.catch(broker.put(queue, built.success), (error) => fail(error.reason))
  return requireWorkers ? Effect.andThen(Effect.catch(checkWorkers(broker, queue), fail), accepted) : accepted
}

const putBatch = Effect.fnUntraced(
  function*(
    broker: Broker["Service"],
    { queue, requests, requireWorkers }: Batch
  ): Effect.fn.Return<ReadonlyArray<Put>, PublishError["reason"]> {
    const name = checkQueue(queue)
    if (Result.isFailure(name)) return yield* name.failure.reason
    if (requireWorkers) yield* checkWorkers(broker, queue)
    return (yield* broker.putAll(queue, requests)).map(Result.mapError((error) => error.reason))
  },
  (effect, _, { requests }) => Effect.catch(effect, (reason) => Effect.succeed(requests.map(() => Result.fail(reason))))
)

/** Puts requests in batches: the broker handles one while the next is built. */
const putAll = Effect.fnUntraced(function*<A>(
  broker: Broker["Service"],
  job: Job<A>,
  payloads: Iterable<A>,
  options: ItemOptions<A>,
  traceparent: string | undefined
): Effect.fn.Return<ReadonlyArray<Result.Result<JobId, PublishError>>> {
  const now = yield* Clock.currentTimeMillis
  const batches = new Batches(job)
  const send = (batch: Batch) => Effect.map(putBatch(broker, batch), (results) => batches.settle(batch, results))

  const sending: Array<Fiber.Fiber<void>> = []
  for (const item of items(job, payloads, options, now, traceparent)) {
    const full = batches.add(item)
    if (full === undefined) continue
    sending.push(yield* Effect.forkChild(send(full), { startImmediately: true }))
    yield* Effect.yieldNow
  }
  for (const batch of batches.rest) yield* send(batch)
  yield* Fiber.joinAll(sending)
  return batches.results
})

/**
 * Makes a publisher on a broker.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Publisher["Service"], never, Broker> = Effect.map(Broker, (broker) =>
  Publisher.of({
    publish: (job, payload, options = {}) => {
      const place = callOr(() => placeOf(job, options), messageOfThrown)
      if (typeof place === "string") {
        return Effect.fail(notPublished(job, job.queue, payloadInvalid(job, `reading its options threw ${place}`)))
      }
      return traced(
        "Publisher.publish",
        () => ({ "backq.job": job.name, "backq.queue": place.queue }),
        (traceparent) =>
          Effect.clockWith((clock) =>
            put(broker, job, payload, options, place, clock.currentTimeMillisUnsafe(), traceparent)
          )
      )
    },
    publishAll: (job, payloads, options = {}) =>
      traced(
        "Publisher.publishAll",
        () => ({ "backq.job": job.name }),
        (traceparent) => putAll(broker, job, payloads, options, traceparent)
      ),
    idleWorkers: (queue) => broker.idleWorkers(typeof queue === "string" ? queue : queue.queue),
    ping: broker.ping
  }))

/**
 * Provides a publisher on the provided broker.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Publisher, never, Broker> = Layer.effect(Publisher, make)

// -----------------------------------------------------------------------------
// Accessors
// -----------------------------------------------------------------------------

/**
 * Publishes one job and returns the id that the broker gives it.
 *
 * @category accessors
 * @since 0.1.0
 */
export const publish = <A>(
  job: Job<A>,
  payload: A,
  options?: PublishOptions
): Effect.Effect<JobId, PublishError, Publisher> =>
  Publisher.use((publisher) => publisher.publish(job, payload, options))

/**
 * Publishes many jobs in few round trips. Returns a result for each, in order.
 *
 * @category accessors
 * @since 0.1.0
 */
export const publishAll = <A>(
  job: Job<A>,
  payloads: Iterable<A>,
  options?: PublishOptions | ((payload: A, index: number) => PublishOptions)
): Effect.Effect<ReadonlyArray<Result.Result<JobId, PublishError>>, never, Publisher> =>
  Publisher.use((publisher) => publisher.publishAll(job, payloads, options))

/**
 * How many workers wait for a job on a queue now.
 *
 * @category accessors
 * @since 0.1.0
 */
export const idleWorkers = (queue: string | Job<any>): Effect.Effect<number, BrokerError, Publisher> =>
  Publisher.use((publisher) => publisher.idleWorkers(queue))

/**
 * Succeeds when the broker answers.
 *
 * @category accessors
 * @since 0.1.0
 */
export const ping: Effect.Effect<void, BrokerError, Publisher> = Publisher.use((publisher) => publisher.ping)
