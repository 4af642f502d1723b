/**
 * The state of the memory broker: the jobs by queue, and the consumers that hold
 * jobs or wait for them.
 *
 * All methods are synchronous, so that no operation is ever half done. Times are
 * milliseconds of the clock's monotonic time, so that setting the wall clock ends
 * no lease.
 */
import { isArrayNonEmpty, type NonEmptyArray, type NonEmptyReadonlyArray } from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { checkDuration, checkQueue, type JobId, type Lease, type PutRequest, type Settlement } from "../../Broker.ts"
import { type BrokerError, jobNotFound, leaseLost } from "../../BrokerError.ts"
import type { BrokerStats, RestoreRequest } from "../../Inspector.ts"
import { Rules } from "../shared/index.ts"
import * as Jobs from "./jobs.ts"
import { type Holder, Waiters } from "./waiters.ts"

/** The limit, the clocks and the alarm of a store. */
export interface Options {
  /** In bytes. */
  readonly maxJobSize: number
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number
  /** Milliseconds since the epoch. */
  readonly wallNow: () => number
  /** Makes sure that {@link Store.ring} is called at this time. A later call replaces the time. */
  readonly setAlarm: (at: number) => void
}

const nextFor = (holder: Holder): Jobs.Job | undefined => {
  let best: Jobs.Job | undefined
  for (const queue of holder.queues) {
    const job = Jobs.servable(queue)
    if (job !== undefined && (best === undefined || Jobs.isBefore(job, best))) best = job
  }
  return best
}

/** The jobs, queues and consumers of a broker. */
export class Store {
  readonly jobs = Jobs.empty()
  readonly waiters: Waiters
  readonly now: () => number
  private readonly options: Options
  private readonly startedAt: number

  constructor(options: Options) {
    this.options = options
    this.now = options.now
    this.startedAt = options.now()
    this.waiters = new Waiters(options.setAlarm)
  }

  // ---------------------------------------------------------------------------
  // Queues
  // ---------------------------------------------------------------------------

  /** Ends the delays, leases and pause of a queue, and returns it. */
  advance(queue: Jobs.Queue): Jobs.Queue {
    Jobs.advance(queue, this.now())
    return queue
  }

  /** The queue of a name, if it exists. */
  existing(name: string): Jobs.Queue | undefined {
    const queue = this.jobs.queues.get(name)
    if (queue === undefined) return undefined
    Jobs.closeUnusedQueue(this.jobs, this.advance(queue))
    return this.jobs.queues.get(name)
  }

  /** The number of idle workers on a queue. */
  idleWorkers(name: string): Result.Result<number, BrokerError> {
    return Result.map(checkQueue(name), () => {
      const queue = this.existing(name)
      return queue === undefined ? 0 : this.waiters.count(queue)
    })
  }

  /** The names of all queues. */
  names(): ReadonlyArray<string> {
    for (const queue of Array.from(this.jobs.queues.values())) Jobs.closeUnusedQueue(this.jobs, this.advance(queue))
    return Array.from(this.jobs.queues.keys())
  }

  /**
   * Serves the waiters. Call it after every change of a queue. A resumed waiter may use the broker at once, so the state
   * is complete before each resumption and is read again after it.
   */
  serve(queues: ReadonlyArray<Jobs.Queue>): void {
    for (const queue of queues) this.advance(queue)
    const next = () => this.waiters.longestServable(queues)
    for (let waiter = next(); waiter !== undefined; waiter = next()) {
      this.waiters.remove(waiter)
      waiter.resume(Effect.succeed(this.take(waiter.holder, waiter.max) as NonEmptyArray<Lease>))
    }
    for (const queue of queues) {
      this.waiters.watch(queue)
      Jobs.closeUnusedQueue(this.jobs, queue)
    }
  }

  /** Called by the alarm: a delay, a lease or a pause may have ended. */
  ring(): void {
    this.serve(this.waiters.rang())
  }

  /** Pauses a queue. A duration of 0 ends the pause. */
  pause(name: string, duration: Duration.Duration): Result.Result<void, BrokerError> {
    return Result.map(Result.andThen(checkQueue(name), checkDuration("pause", duration)), () => {
      const queue = this.advance(Jobs.openQueue(this.jobs, name))
      queue.pausedUntil = Jobs.dueAfter(this.now(), duration)
      this.serve([queue])
    })
  }

  /** The figures of the broker. */
  stats(): BrokerStats {
    const sum = { ready: 0, delayed: 0, reserved: 0, buried: 0, idleWorkers: 0 }
    for (const queue of this.jobs.queues.values()) {
      this.advance(queue)
      sum.ready += queue.ready.size
      sum.delayed += queue.delayed.size
      sum.reserved += queue.reserved.size
      sum.buried += queue.buried.size
      sum.idleWorkers += this.waiters.count(queue)
    }
    const uptime = Duration.millis(Math.floor(this.now() - this.startedAt))
    const { maxJobSize } = this.options
    return { version: "memory", uptime, ...sum, maxJobSize, draining: false, durable: false }
  }

  // ---------------------------------------------------------------------------
  // Jobs
  // ---------------------------------------------------------------------------

  /** Puts jobs on a queue, and returns a result for each, in order. */
  put(name: string, requests: ReadonlyArray<PutRequest>): ReadonlyArray<Result.Result<JobId, BrokerError>> {
    return this.addAll(name, requests, Jobs.add)
  }

  /** Puts jobs as another broker had them. */
  restore(name: string, requests: ReadonlyArray<RestoreRequest>): ReadonlyArray<Result.Result<JobId, BrokerError>> {
    return this.addAll(name, requests, Jobs.restore)
  }

  private addAll<Request extends PutRequest>(
    name: string,
    requests: ReadonlyArray<Request>,
    add: (jobs: Jobs.Jobs, queue: Jobs.Queue, request: Request, now: number) => Jobs.Job
  ): ReadonlyArray<Result.Result<JobId, BrokerError>> {
    const checked = checkQueue(name)
    const results = requests.map((request) =>
      Result.map(
        Result.andThen(checked, Rules.checkSize(name, request.body, this.options.maxJobSize)),
        () => add(this.jobs, Jobs.openQueue(this.jobs, name), request, this.now()).id
      )
    )
    const queue = this.jobs.queues.get(name)
    if (queue !== undefined) this.serve([queue])
    return results
  }

  /** The job of an id, if it exists. */
  find(id: JobId): Jobs.Job | undefined {
    const job = this.jobs.byId.get(id)
    if (job !== undefined) this.advance(job.queue)
    return job
  }

  /** Changes a job, if its state allows it. */
  act<A>(
    id: JobId,
    isAllowed: (job: Jobs.Job) => boolean,
    action: (job: Jobs.Job) => A
  ): Result.Result<A, BrokerError> {
    const job = this.find(id)
    if (job === undefined || !isAllowed(job)) return Result.fail(jobNotFound(id))
    const result = action(job)
    this.serve([job.queue])
    return Result.succeed(result)
  }

  /** Moves a job to a queue, and returns its new id. */
  move(id: JobId, name: string): Result.Result<JobId, BrokerError> {
    return Result.flatMap(checkQueue(name), () =>
      Result.map(
        this.act(
          id,
          ({ state }) => state !== "reserved",
          (job) => Jobs.moveTo(this.jobs, job, Jobs.openQueue(this.jobs, name), this.now())
        ),
        (moved) => {
          this.serve([moved.queue])
          return moved.id
        }
      ))
  }

  // ---------------------------------------------------------------------------
  // Consumers
  // ---------------------------------------------------------------------------

  /** Opens a consumer of some queues. */
  open(names: NonEmptyReadonlyArray<string>): Result.Result<Holder, BrokerError> {
    return Result.map(Result.all(names.map(checkQueue)), () => {
      const queues = Array.from(new Set(names), (name) => Jobs.openQueue(this.jobs, name))
      for (const queue of queues) queue.consumers++
      return { queues, held: new Set(), isClosed: false }
    })
  }

  /** Closes a consumer. Its calls fail, and its jobs are requeued. */
  close(holder: Holder, reason: BrokerError): void {
    holder.isClosed = true
    for (const queue of holder.queues) {
      queue.consumers--
      this.advance(queue)
    }
    for (const waiter of this.waiters.of(holder)) {
      this.waiters.remove(waiter)
      waiter.resume(Effect.fail(reason))
    }
    for (const job of holder.held) Jobs.requeue(job)
    this.serve(holder.queues)
  }

  /** Leases at most `max` jobs to a consumer. Waits for the first one. */
  reserve(holder: Holder, max: number): Effect.Effect<NonEmptyReadonlyArray<Lease>, BrokerError> {
    this.serve(holder.queues)
    const leases = this.take(holder, max)
    if (isArrayNonEmpty(leases)) return Effect.succeed(leases)
    return Effect.callback((resume) => {
      const waiter = this.waiters.add({ holder, max, resume })
      return Effect.sync(() => this.waiters.remove(waiter))
    })
  }

  private take(holder: Holder, max: number): Array<Lease> {
    const at = this.now()
    for (const queue of holder.queues) Jobs.advance(queue, at)
    const leases: Array<Lease> = []
    while (leases.length < max) {
      const job = nextFor(holder)
      if (job === undefined) break
      leases.push(Jobs.deliver(job, holder, at))
    }
    return leases
  }

  private heldJob(holder: Holder, lease: Lease): Jobs.Job | undefined {
    const job = this.find(lease.id)
    return job?.lease?.holder === holder && job.lease.lease === lease ? job : undefined
  }

  /** The job of a lease, if this consumer holds it. */
  held(holder: Holder, lease: Lease): Result.Result<Jobs.Job, BrokerError> {
    return Result.fromNullishOr(this.heldJob(holder, lease), () => leaseLost(lease))
  }

  settle(
    holder: Holder,
    settlements: ReadonlyArray<Settlement>
  ): ReadonlyArray<Result.Result<void, BrokerError>> {
    const queues = new Set<Jobs.Queue>()
    const results = settlements.map((settlement) => {
      const queue = this.jobs.queues.get(settlement.lease.queue)
      if (queue !== undefined) queues.add(queue)
      return this.settleOne(holder, settlement)
    })
    this.serve(Array.from(queues))
    return results
  }

  // This runs once per job, so a settlement that succeeds allocates nothing.
  private settleOne(holder: Holder, settlement: Settlement): Result.Result<void, BrokerError> {
    const job = this.heldJob(holder, settlement.lease)
    if (job === undefined) return Result.fail(leaseLost(settlement.lease))
    const checked = Rules.checkSettlement(settlement)
    if (Result.isSuccess(checked)) this.carryOut(job, settlement)
    return checked
  }

  private carryOut(job: Jobs.Job, settlement: Settlement): void {
    switch (settlement._tag) {
      case "Delete":
        return Jobs.remove(this.jobs, job)
      case "Release": {
        const { failure, priority, reason } = settlement
        const due = Jobs.dueAfter(this.now(), settlement.delay)
        return Jobs.release(job, { due, priority, reason, failure, at: this.options.wallNow() })
      }
      case "Bury": {
        const { failure, priority, reason } = settlement
        return Jobs.bury(this.jobs, job, { priority, reason, failure, at: this.options.wallNow() })
      }
      case "Requeue":
        return Jobs.requeue(job)
    }
  }
}
