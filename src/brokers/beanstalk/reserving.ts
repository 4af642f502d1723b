/**
 * Reserves jobs for a consumer.
 *
 * A reserve that waits delays everything behind it on its connection, and only
 * the connection that has a lease can settle it. So the consumer never waits on a
 * connection that holds leases:
 *
 * - Under load it reserves without waiting, several times in one write, on the
 *   connection with most leases.
 * - If there was no job, it waits on a connection without leases. An idle worker
 *   is one waiting connection, and does not poll.
 *
 * The number of reserves in one write follows the load. It doubles while every
 * reserve gets a job. Otherwise it is one more than the jobs that came.
 *
 * An interrupted call leaves its reserve under way for {@link keptFor}. The next
 * call takes it over. If there is none, the waiting connection is closed. A job
 * that arrives meanwhile is requeued. Limit: a job that the server delivers in
 * the instant of that close loses an attempt.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { JobId } from "../../Broker.ts"
import type { BrokerError } from "../../BrokerError.ts"
import { safeName } from "../../internal/text.ts"
import type { Command } from "./command.ts"
import { BeanstalkLease, type Holder } from "./lease.ts"
import type { LeaseConnections } from "./leaseConnections.ts"
import type { Answer } from "./pipeline.ts"
import { failure, isHeld, jobStats, leaseInfo, violation } from "./replies.ts"
import type { Reply } from "./reply.ts"
import { requeue } from "./requeue.ts"

/** One write has at most this many reserves. */
const maxReserves = 256
/** The timeout of a waiting reserve, so that a dead connection is noticed. */
const waitSeconds = 30
/** How long the reserve of an interrupted call stays for the next one. */
const keptFor = "100 millis"

const reserveNow: Command = { _tag: "ReserveWithTimeout", seconds: 0 }
const waitingReserve: Command = { _tag: "ReserveWithTimeout", seconds: waitSeconds }

type Reserved = Extract<Reply, { readonly _tag: "Reserved" }>

/** The result of a reserve. After an empty batch, reserve again. */
export type Batch = Result.Result<ReadonlyArray<BeanstalkLease>, BrokerError>

/** A reserve that is under way. */
interface Round {
  readonly holder: Holder
  readonly waits: boolean
  /** The call that gets the batch. `undefined` after an interruption. */
  waiter: ((batch: Batch) => void) | undefined
}

const isLater = (id: string, than: string): boolean => id.length === than.length ? id > than : id.length > than.length

const isReserved = (answer: Answer): answer is Reserved => answer._tag === "Reserved"

const isNothing = (answer: Answer): boolean => answer._tag === "TimedOut" || answer._tag === "DeadlineSoon"

/** The reserves of a consumer, one round at a time. */
export class Reserving {
  private readonly broker: string
  private readonly queues: NonEmptyReadonlyArray<string>
  private readonly connections: LeaseConnections
  private readonly scope: Scope.Scope
  private round: Round | undefined
  /** The next write has at most this many reserves. */
  private batchSize = 64
  /** Whether the last reserve got no job. */
  private wasEmpty = false
  /** The highest id so far. A job with a lower one may have been delivered before. */
  private latest: string | undefined
  private returning = 0

  constructor(
    broker: string,
    queues: NonEmptyReadonlyArray<string>,
    connections: LeaseConnections,
    scope: Scope.Scope
  ) {
    this.broker = broker
    this.queues = queues
    this.connections = connections
    this.scope = scope
  }

  /** Whether jobs without a caller are on their way. */
  get isBusy(): boolean {
    return this.returning > 0 || (this.round !== undefined && !this.round.waits)
  }

  /** One step: joins the reserve that is under way, or starts one. */
  next(max: number): Effect.Effect<Batch, BrokerError> {
    if (this.round !== undefined) return this.takeOver(this.round)
    const count = Math.min(max, this.batchSize)
    if (this.wasEmpty || count === 1) {
      const { free } = this.connections
      if (free !== undefined) return this.begin(free, 1, true)
    }
    const { loaded } = this.connections
    return loaded === undefined || this.wasEmpty
      ? Effect.flatMap(this.open, () => Effect.suspend(() => this.next(max)))
      : this.begin(loaded, count, false)
  }

  private readonly open = Effect.suspend(() => {
    // After the loss of all connections it may be another server, whose ids start again.
    if (this.connections.isEmpty) this.latest = undefined
    return this.connections.open
  })

  private begin(holder: Holder, count: number, waits: boolean): Effect.Effect<Batch> {
    const round: Round = { holder, waits, waiter: undefined }
    return this.join(round, () => {
      this.round = round
      holder.reserving = true
      holder.connection.submit(
        waits ? [waitingReserve] : Array.from({ length: count }, () => reserveNow),
        (answers) => this.received(round, answers)
      )
    })
  }

  private takeOver(round: Round): Effect.Effect<Batch> {
    return this.join(round, () => {})
  }

  private join(round: Round, start: () => void): Effect.Effect<Batch> {
    return Effect.callback((resume) => {
      round.waiter = (batch) => resume(Effect.succeed(batch))
      start()
      return Effect.suspend(() => {
        round.waiter = undefined
        return round.waits ? Effect.forkIn(this.endUnclaimed(round), this.scope) : Effect.void
      })
    })
  }

  /** Ends a waiting reserve that no call has taken over. */
  private endUnclaimed(round: Round): Effect.Effect<void> {
    return Effect.andThen(
      Effect.sleep(keptFor),
      Effect.suspend(() => {
        if (this.round !== round || round.waiter !== undefined) return Effect.void
        this.round = undefined
        return this.connections.close(round.holder)
      })
    )
  }

  private received(round: Round, answers: ReadonlyArray<Answer>): void {
    const reserved = answers.filter(isReserved)
    const bad = answers.find((answer) => !isReserved(answer) && !isNothing(answer))
    // The server has made the jobs of a closed connection ready again.
    if (bad !== undefined && (reserved.length === 0 || !round.holder.connection.isOpen())) {
      return this.finish(round, failure(this.broker, "ReserveWithTimeout", bad), [])
    }
    if (reserved.length > 1 && new Set(reserved.map(({ id }) => id)).size < reserved.length) {
      return this.distrust(round, "it delivered one job twice at once")
    }
    this.wasEmpty = reserved.length === 0
    if (round.waits) this.batchSize = 2
    else if (reserved.length < answers.length) this.batchSize = reserved.length + 1
    else if (answers.length >= this.batchSize) this.batchSize = Math.min(maxReserves, this.batchSize * 2)
    const suspects = reserved.filter((job) => this.isDoubtful(job))
    // They may have been delivered together before, and any of them may have crashed the worker.
    const doubtful = this.queues.length > 1 || suspects.length > 0 ? reserved : suspects
    if (doubtful.length === 0) {
      const [queue] = this.queues
      const leases = reserved.map((job) =>
        new BeanstalkLease(job.id as JobId, queue, job.body, round.holder, undefined)
      )
      return this.finish(round, Result.succeed(leases), leases)
    }
    round.holder.connection.submit(
      doubtful.map((job) => ({ _tag: "StatsJob", id: job.id })),
      (answers) => this.inspected(round, reserved, new Map(doubtful.map((job, i) => [job.id, answers[i]])))
    )
  }

  /** Whether a job may have been delivered before: its id is not higher than all earlier ones. */
  private isDoubtful(job: Reserved): boolean {
    if (this.latest !== undefined && !isLater(job.id, this.latest)) return true
    const first = this.latest === undefined
    this.latest = job.id
    return first
  }

  private inspected(round: Round, reserved: ReadonlyArray<Reserved>, answers: ReadonlyMap<string, Answer | undefined>) {
    const leases: Array<BeanstalkLease> = []
    for (const job of reserved) {
      const answer = answers.get(job.id)
      const stats = answer === undefined ? undefined : jobStats(this.broker, job.id, answer)
      if (stats !== undefined && Result.isFailure(stats)) {
        const { reason } = stats.failure
        if (reason._tag === "ProtocolViolation") return this.distrust(round, reason.detail)
        if (reason._tag !== "NotFound") return this.finish(round, Result.fail(stats.failure), reserved)
      }
      const known = stats !== undefined && Result.isSuccess(stats) ? stats.success : undefined
      if (known !== undefined && !this.queues.includes(known.tube)) {
        return this.distrust(
          round,
          `it delivered job ${job.id} of tube "${safeName(known.tube)}", which is not watched`
        )
      }
      // Its lease has expired already.
      if (known !== undefined && !isHeld(known.state)) continue
      // The job is gone already, and it is unknown which queue it was on.
      const queue = known?.tube ?? (this.queues.length === 1 ? this.queues[0] : undefined)
      if (queue === undefined) continue
      const info = known === undefined ? undefined : leaseInfo(known, true)
      leases.push(new BeanstalkLease(job.id as JobId, queue, job.body, round.holder, info))
    }
    this.finish(round, Result.succeed(leases), leases)
  }

  /** Ends a connection that delivered an impossible job. No job of it runs; the server delivers real ones again. */
  private distrust(round: Round, detail: string): void {
    round.holder.connection.giveUp(detail)
    this.finish(round, Result.fail(violation(this.broker, detail)), [])
  }

  /** Completes the waiting call with the batch. Without a call, or after a failure, the jobs are requeued. */
  private finish(round: Round, batch: Batch, jobs: ReadonlyArray<{ readonly id: string }>): void {
    round.holder.reserving = false
    if (this.round === round) this.round = undefined
    const waiter = round.waiter
    if (waiter !== undefined && Result.isSuccess(batch)) {
      this.connections.hold(round.holder, batch.success)
    } else if (jobs.length > 0) {
      this.returning++
      requeue(round.holder.connection, jobs.map((job) => job.id), () => {
        this.returning--
      })
    }
    waiter?.(batch)
  }
}
