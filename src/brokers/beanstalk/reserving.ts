/**
 * How a consumer reserves.
 *
 * A reserve that waits holds up everything behind it on its connection, and a
 * lease can be settled only on the connection that has it. So it never waits
 * on a connection that holds leases:
 *
 * - under load it asks without waiting, several times in one write, on the
 *   connection that holds most leases;
 * - when there was nothing, it waits on a connection that holds none. An idle
 *   worker is one waiting connection: no polling.
 *
 * How often it asks in one write follows the load: twice as often as long as
 * every question brings a job, once more than what came otherwise.
 *
 * An interrupted call leaves its reserve behind for a moment. The next call
 * takes it over; a job that comes meanwhile is requeued, unspent; after that
 * the waiting connection is closed. Limit: a job that the server hands out in
 * the instant of that close counts one attempt too many.
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
import type { Holders } from "./leaseConnections.ts"
import type { Answer } from "./pipeline.ts"
import { failure, isHeld, jobStats, leaseInfo, violation } from "./replies.ts"
import type { Reply } from "./reply.ts"
import { requeue } from "./requeue.ts"

/** The most questions in one write. */
const maxWant = 256
/** Waiting is bounded, so that a dead connection is noticed. */
const waitSeconds = 30
/** How long the reserve of an interrupted call is kept for the next one. */
const keepFor = "100 millis"

const ask: Command = { _tag: "ReserveWithTimeout", seconds: 0 }
const wait: Command = { _tag: "ReserveWithTimeout", seconds: waitSeconds }

type Reserved = Extract<Reply, { readonly _tag: "Reserved" }>

/** What came of a reserve; an empty batch is an invitation to go on. */
export type Batch = Result.Result<ReadonlyArray<BeanstalkLease>, BrokerError>

/** A reserve that is under way. */
interface Round {
  readonly holder: Holder
  readonly waits: boolean
  /** The call that gets the batch. Nobody when it was interrupted. */
  waiter: ((batch: Batch) => void) | undefined
}

const isLater = (id: string, than: string): boolean => id.length === than.length ? id > than : id.length > than.length

const isReserved = (answer: Answer): answer is Reserved => answer._tag === "Reserved"

const isNothing = (answer: Answer): boolean => answer._tag === "TimedOut" || answer._tag === "DeadlineSoon"

export class Reserving {
  private readonly broker: string
  private readonly queues: NonEmptyReadonlyArray<string>
  private readonly holders: Holders
  private readonly scope: Scope.Scope
  private round: Round | undefined
  /** How many questions the next write may have. */
  private want = 64
  /** Was there nothing the last time? */
  private dry = false
  /** The highest id that came: a job with a lower one may have been delivered before. */
  private latest: string | undefined
  private returning = 0

  constructor(broker: string, queues: NonEmptyReadonlyArray<string>, holders: Holders, scope: Scope.Scope) {
    this.broker = broker
    this.queues = queues
    this.holders = holders
    this.scope = scope
  }

  /** Are there jobs on their way to nobody? */
  get isBusy(): boolean {
    return this.returning > 0 || (this.round !== undefined && !this.round.waits)
  }

  /** One step: goes on with the reserve that is under way, asks, or waits. */
  next(max: number): Effect.Effect<Batch, BrokerError> {
    if (this.round !== undefined) return this.takeOver(this.round)
    const questions = Math.min(max, this.want)
    const { free, loaded } = this.holders
    if (free !== undefined && (this.dry || questions === 1)) return this.begin(free, 1, true)
    return loaded === undefined || this.dry
      ? Effect.flatMap(this.open, () => Effect.suspend(() => this.next(max)))
      : this.begin(loaded, questions, false)
  }

  private readonly open = Effect.suspend(() => {
    // All connections were lost: it may be another server now, whose ids begin again.
    if (this.holders.isEmpty) this.latest = undefined
    return this.holders.open
  })

  private begin(holder: Holder, questions: number, waits: boolean): Effect.Effect<Batch> {
    const round: Round = { holder, waits, waiter: undefined }
    return this.join(round, () => {
      this.round = round
      holder.reserving = true
      holder.connection.submit(
        waits ? [wait] : Array.from({ length: questions }, () => ask),
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
        return round.waits ? Effect.forkIn(this.abandon(round), this.scope) : Effect.void
      })
    })
  }

  /** Ends a wait that no call has taken over in time. */
  private abandon(round: Round): Effect.Effect<void> {
    return Effect.andThen(
      Effect.sleep(keepFor),
      Effect.suspend(() => {
        if (this.round !== round || round.waiter !== undefined) return Effect.void
        this.round = undefined
        return this.holders.close(round.holder)
      })
    )
  }

  private received(round: Round, answers: ReadonlyArray<Answer>): void {
    const reserved = answers.filter(isReserved)
    const bad = answers.find((answer) => !isReserved(answer) && !isNothing(answer))
    // What came over a connection that is gone is ready again.
    if (bad !== undefined && (reserved.length === 0 || !round.holder.connection.isOpen())) {
      return this.finish(round, failure(this.broker, "ReserveWithTimeout", bad), [])
    }
    if (reserved.length > 1 && new Set(reserved.map(({ id }) => id)).size < reserved.length) {
      return this.distrust(round, "it served one job twice at once")
    }
    this.dry = reserved.length === 0
    if (round.waits) this.want = 2
    else if (reserved.length < answers.length) this.want = reserved.length + 1
    else if (answers.length >= this.want) this.want = Math.min(maxWant, this.want * 2)
    const suspects = reserved.filter((job) => this.isDoubtful(job))
    // They may have been delivered together before: who took the worker down is any of them.
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
      (answers) => this.looked(round, reserved, new Map(doubtful.map((job, i) => [job.id, answers[i]])))
    )
  }

  /** A job that is not younger than all before may have been delivered before. */
  private isDoubtful(job: Reserved): boolean {
    if (this.latest !== undefined && !isLater(job.id, this.latest)) return true
    const first = this.latest === undefined
    this.latest = job.id
    return first
  }

  private looked(round: Round, reserved: ReadonlyArray<Reserved>, answers: ReadonlyMap<string, Answer | undefined>) {
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
        return this.distrust(round, `it served job ${job.id} of tube "${safeName(known.tube)}", which is not watched`)
      }
      // Its time to run is over already.
      if (known !== undefined && !isHeld(known.state)) continue
      // A job that is gone already, and could be from any queue, is nobody's.
      const queue = known?.tube ?? (this.queues.length === 1 ? this.queues[0] : undefined)
      if (queue === undefined) continue
      const info = known === undefined ? undefined : leaseInfo(known, true)
      leases.push(new BeanstalkLease(job.id as JobId, queue, job.body, round.holder, info))
    }
    this.finish(round, Result.succeed(leases), leases)
  }

  /** Gives up a connection that served what it can't have. None of it is run: what is real is served again. */
  private distrust(round: Round, detail: string): void {
    round.holder.connection.giveUp(detail)
    this.finish(round, Result.fail(violation(this.broker, detail)), [])
  }

  /** Hands the batch to the call that waits; without one, or with a failure, the jobs are requeued. */
  private finish(round: Round, batch: Batch, jobs: ReadonlyArray<{ readonly id: string }>): void {
    round.holder.reserving = false
    if (this.round === round) this.round = undefined
    const waiter = round.waiter
    if (waiter !== undefined && Result.isSuccess(batch)) {
      this.holders.hold(round.holder, batch.success)
    } else if (jobs.length > 0) {
      this.returning++
      requeue(round.holder.connection, jobs.map((job) => job.id), () => {
        this.returning--
      })
    }
    waiter?.(batch)
  }
}
