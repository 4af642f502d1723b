/**
 * The {@link Broker} in memory, for tests and for programs that need no queue
 * server.
 *
 * Its semantics are beanstalkd's, in milliseconds instead of seconds. Time is
 * Effect's `Clock` as it was when the broker was made, so a `TestClock` moves
 * it. Operations are synchronous inside: none is ever half done, whatever is
 * interrupted.
 *
 * Nothing survives the process, and only this process sees the jobs.
 */
import { isArrayNonEmpty, type NonEmptyArray, type NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberHandle from "effect/FiberHandle"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import {
  Broker,
  checkDuration,
  checkMax,
  checkQueue,
  checkSettlement,
  checkSize,
  defaultMaxJobSize
} from "../../Broker.ts"
import type { BrokerStats, Consumer, JobId, Lease, LeaseInfo, PeekedJob, PutRequest, Settlement } from "../../Broker.ts"
import { type BrokerError, consumerClosed, jobNotFound, leaseLost, queueNotFound } from "../../BrokerError.ts"
import * as Paging from "../shared/paging.ts"
import * as Jobs from "./jobs.ts"

/** How a memory broker is made. */
export interface Options {
  /** The largest body that is accepted, in bytes. Default: 65535, beanstalkd's own. */
  readonly maxJobSize?: number | undefined
}

const name = "memory:"

const ok: Result.Result<void, BrokerError> = Result.void

const peeked = (job: Jobs.Job | undefined): Option.Option<PeekedJob> =>
  job === undefined ? Option.none() : Option.some({ id: job.id, body: new Uint8Array(job.body) })

/** A consumer, and what it holds. */
interface Holder extends Jobs.Holder {
  readonly queues: ReadonlyArray<Jobs.Queue>
  closed: boolean
}

const nextFor = (holder: Holder): Jobs.Job | undefined => {
  let best: Jobs.Job | undefined
  for (const queue of holder.queues) {
    const job = Jobs.servable(queue)
    if (job !== undefined && (best === undefined || Jobs.isBefore(job, best))) best = job
  }
  return best
}

/** A call of `reserve` that waits. */
interface Waiter {
  /** Orders waiters by how long they wait. */
  readonly number: number
  readonly holder: Holder
  readonly max: number
  readonly resume: (effect: Effect.Effect<NonEmptyReadonlyArray<Lease>, BrokerError>) => void
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/** Makes a memory broker with options. */
export const makeWith = Effect.fnUntraced(function*(
  options: Options = {}
): Effect.fn.Return<Broker["Service"], never, Scope.Scope> {
  const maxJobSize = options.maxJobSize ?? defaultMaxJobSize
  const clock = yield* Clock.Clock
  const setAlarm = yield* FiberHandle.makeRuntime<never>()
  const jobs = Jobs.empty()
  const waiters = new Map<Jobs.Queue, Set<Waiter>>()
  let lastWaiter = 0
  let alarmAt = Infinity

  // Monotonic, so that a correction of the wall clock ends no lease.
  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000
  const startedAt = now()

  // ---------------------------------------------------------------------------
  // Serving those who wait
  // ---------------------------------------------------------------------------

  const look = (queue: Jobs.Queue) => {
    Jobs.advance(queue, now())
    return queue
  }

  const wait = (waiter: Waiter) => {
    for (const queue of waiter.holder.queues) {
      const waiting = waiters.get(queue)
      if (waiting === undefined) waiters.set(queue, new Set([waiter]))
      else waiting.add(waiter)
      armAlarm(queue)
    }
  }

  const stopWaiting = (waiter: Waiter) => {
    for (const queue of waiter.holder.queues) {
      const waiting = waiters.get(queue)
      if (waiting?.delete(waiter) && waiting.size === 0) waiters.delete(queue)
    }
  }

  const take = (holder: Holder, max: number): Array<Lease> => {
    const at = now()
    for (const queue of holder.queues) Jobs.advance(queue, at)
    const leases: Array<Lease> = []
    while (leases.length < max) {
      const job = nextFor(holder)
      if (job === undefined) break
      leases.push(Jobs.deliver(job, holder, at))
    }
    return leases
  }

  const longestWaiting = (queues: ReadonlyArray<Jobs.Queue>): Waiter | undefined => {
    let longest: Waiter | undefined
    for (const queue of queues) {
      if (Jobs.servable(queue) === undefined) continue
      const waiter = waiters.get(queue)?.values().next().value
      if (waiter !== undefined && (longest === undefined || waiter.number < longest.number)) longest = waiter
    }
    return longest
  }

  // To be called after every change of queues. A waiter that is resumed may run at once and use the broker, so the
  // state has to be complete before, and is read anew after.
  const serve = (queues: ReadonlyArray<Jobs.Queue>) => {
    queues.forEach(look)
    for (let waiter = longestWaiting(queues); waiter !== undefined; waiter = longestWaiting(queues)) {
      stopWaiting(waiter)
      waiter.resume(Effect.succeed(take(waiter.holder, waiter.max) as NonEmptyArray<Lease>))
    }
    for (const queue of queues) {
      if (waiters.has(queue)) armAlarm(queue)
      Jobs.closeUnusedQueue(jobs, queue)
    }
  }

  // One alarm for all who wait. It may ring too early, when what it was set for has changed since, never too late.
  const armAlarm = (queue: Jobs.Queue) => {
    const at = Jobs.nextChange(queue)
    if (at >= alarmAt) return
    alarmAt = at
    setAlarm(Effect.andThen(clock.sleep(Duration.millis(at - now())), Effect.sync(ring)))
  }

  const ring = () => {
    alarmAt = Infinity
    serve(Array.from(waiters.keys()))
  }

  // ---------------------------------------------------------------------------
  // Operations on queues
  // ---------------------------------------------------------------------------

  const existing = (name: string): Effect.Effect<Jobs.Queue | undefined, BrokerError> =>
    Effect.suspend(() => {
      const checked = checkQueue(name)
      if (Result.isFailure(checked)) return Effect.fail(checked.failure)
      const queue = jobs.queues.get(name)
      if (queue === undefined) return Effect.undefined
      look(queue)
      Jobs.closeUnusedQueue(jobs, queue)
      return Effect.succeed(jobs.queues.get(name))
    })

  const putResult = (queue: string, request: PutRequest): Result.Result<JobId, BrokerError> =>
    Result.map(
      checkSize(queue, request.body, maxJobSize),
      () => Jobs.add(jobs, Jobs.openQueue(jobs, queue), request, now()).id
    )

  const putAll: Broker["Service"]["putAll"] = (queue, requests) =>
    Effect.suspend(() => {
      const checked = checkQueue(queue)
      const results = requests.map((request) => Result.flatMap(checked, () => putResult(queue, request)))
      const target = jobs.queues.get(queue)
      if (target !== undefined) serve([target])
      return Effect.succeed(results)
    })

  const pause: Broker["Service"]["pause"] = (queue, duration) =>
    Effect.suspend(() => {
      const checked = Result.andThen(checkQueue(queue), checkDuration("pause", duration))
      if (Result.isFailure(checked)) return Effect.fail(checked.failure)
      const target = look(Jobs.openQueue(jobs, queue))
      target.pausedUntil = Jobs.dueAfter(now(), duration)
      serve([target])
      return Effect.void
    })

  // ---------------------------------------------------------------------------
  // Operations on jobs
  // ---------------------------------------------------------------------------

  const find = (id: JobId): Jobs.Job | undefined => {
    const job = jobs.byId.get(id)
    if (job !== undefined) look(job.queue)
    return job
  }

  const onJob = <A>(
    id: JobId,
    allowed: (job: Jobs.Job) => boolean,
    f: (job: Jobs.Job) => A
  ): Effect.Effect<A, BrokerError> =>
    Effect.suspend(() => {
      const job = find(id)
      if (job === undefined || !allowed(job)) return Effect.fail(jobNotFound(id))
      const result = f(job)
      serve([job.queue])
      return Effect.succeed(result)
    })

  const moveJob: Broker["Service"]["moveJob"] = (id, queue) =>
    Effect.gen(function*() {
      yield* Effect.fromResult(checkQueue(queue))
      const moved = yield* onJob(
        id,
        (job) => job.state !== "reserved",
        (job) => Jobs.putAnew(jobs, job, Jobs.openQueue(jobs, queue), now())
      )
      serve([moved.queue])
      return moved.id
    })

  const list: Broker["Service"]["list"] = (queue, options) =>
    Effect.gen(function*() {
      const request = yield* Effect.fromResult(Paging.request(options))
      const found = yield* existing(queue)
      return found === undefined ? { jobs: [], next: undefined } : Jobs.list(found, request, now())
    })

  // ---------------------------------------------------------------------------
  // Consumers
  // ---------------------------------------------------------------------------

  const heldBy = (holder: Holder, lease: Lease): Jobs.Job | undefined => {
    const job = find(lease.id)
    return job?.lease?.holder === holder && job.lease.lease === lease ? job : undefined
  }

  const settleOne = (holder: Holder, settlement: Settlement): Result.Result<void, BrokerError> => {
    const job = heldBy(holder, settlement.lease)
    if (job === undefined) return Result.fail(leaseLost(settlement.lease))
    const checked = checkSettlement(settlement)
    if (Result.isFailure(checked)) return checked
    switch (settlement._tag) {
      case "Delete": {
        Jobs.remove(jobs, job)
        return ok
      }
      case "Release": {
        const { failure, priority, reason } = settlement
        const due = Jobs.dueAfter(now(), settlement.delay)
        Jobs.release(job, { due, priority, reason, failure, at: clock.currentTimeMillisUnsafe() })
        return ok
      }
      case "Bury": {
        const { failure, priority, reason } = settlement
        Jobs.bury(jobs, job, { priority, reason, failure, at: clock.currentTimeMillisUnsafe() })
        return ok
      }
      case "GiveBack": {
        Jobs.giveBack(job)
        return ok
      }
    }
  }

  const makeConsumer = (holder: Holder): Consumer => ({
    reserve: (max) =>
      Effect.suspend(() => {
        if (holder.closed) return Effect.fail(consumerClosed(name))
        const checked = checkMax(max)
        if (Result.isFailure(checked)) return Effect.fail(checked.failure)
        serve(holder.queues)
        const leases = take(holder, max)
        if (isArrayNonEmpty(leases)) return Effect.succeed(leases)
        return Effect.callback<NonEmptyReadonlyArray<Lease>, BrokerError>((resume) => {
          const waiter = { number: ++lastWaiter, holder, max, resume }
          wait(waiter)
          return Effect.sync(() => stopWaiting(waiter))
        })
      }),
    settle: (settlements) =>
      Effect.sync(() => {
        const queues = new Set<Jobs.Queue>()
        const results = settlements.map((settlement) => {
          const queue = jobs.queues.get(settlement.lease.queue)
          if (queue !== undefined) queues.add(queue)
          return settleOne(holder, settlement)
        })
        serve(Array.from(queues))
        return results
      }),
    touch: (leases) =>
      Effect.sync(() =>
        leases.map((lease) => {
          const job = heldBy(holder, lease)
          if (job === undefined) return Result.fail(leaseLost(lease))
          Jobs.touch(job, now())
          return ok
        })
      ),
    inspect: (leases) =>
      Effect.sync(() =>
        leases.map((lease): Result.Result<LeaseInfo, BrokerError> => {
          const job = heldBy(holder, lease)
          return job === undefined ? Result.fail(leaseLost(lease)) : Result.succeed(Jobs.leaseInfo(job))
        })
      ),
    lost: Effect.never
  })

  const closeConsumer = (holder: Holder) =>
    Effect.sync(() => {
      holder.closed = true
      for (const queue of holder.queues) {
        queue.consumers--
        look(queue)
        for (const waiter of Array.from(waiters.get(queue) ?? [])) {
          if (waiter.holder !== holder) continue
          stopWaiting(waiter)
          waiter.resume(Effect.fail(consumerClosed(name)))
        }
      }
      for (const job of holder.held) Jobs.giveBack(job)
      serve(holder.queues)
    })

  const consume = (queues: NonEmptyReadonlyArray<string>): Effect.Effect<Consumer, BrokerError, Scope.Scope> =>
    Effect.acquireRelease(
      Effect.suspend(() => {
        const checked = Result.all(queues.map(checkQueue))
        if (Result.isFailure(checked)) return Effect.fail(checked.failure)
        const opened = Array.from(new Set(queues), (queue) => Jobs.openQueue(jobs, queue))
        for (const queue of opened) queue.consumers++
        return Effect.succeed<Holder>({ queues: opened, held: new Set(), closed: false })
      }),
      closeConsumer
    ).pipe(Effect.map(makeConsumer))

  const brokerStats = (): BrokerStats => {
    const sum = { ready: 0, delayed: 0, reserved: 0, buried: 0, waiting: 0 }
    for (const queue of jobs.queues.values()) {
      look(queue)
      sum.ready += queue.ready.size
      sum.delayed += queue.delayed.size
      sum.reserved += queue.reserved.size
      sum.buried += queue.buried.size
      sum.waiting += waiters.get(queue)?.size ?? 0
    }
    const uptime = Duration.millis(Math.floor(now() - startedAt))
    return { version: "memory", uptime, ...sum, maxJobSize, draining: false, durable: false }
  }

  return Broker.of({
    name,
    ping: Effect.void,
    put: (queue, request) => Effect.flatMap(putAll(queue, [request]), ([result]) => Effect.fromResult(result!)),
    putAll,
    consume,
    waitingWorkers: (queue) =>
      Effect.map(existing(queue), (queue) => queue === undefined ? 0 : waiters.get(queue)?.size ?? 0),
    peek: (id) => Effect.sync(() => peeked(find(id))),
    peekNext: (queue, state) => Effect.map(existing(queue), (queue) => peeked(queue?.[state].peek())),
    list,
    delete: (id) => onJob(id, (job) => job.state !== "reserved", (job) => Jobs.remove(jobs, job)),
    kick: (queue, max) =>
      Effect.gen(function*() {
        yield* Effect.fromResult(checkMax(max))
        const found = yield* existing(queue)
        if (found === undefined) return 0
        const kicked = Jobs.kickQueue(found, max)
        serve([found])
        return kicked
      }),
    kickJob: (id) => onJob(id, (job) => job.state === "buried" || job.state === "delayed", Jobs.kick),
    buryJob: (id, reason) =>
      onJob(
        id,
        (job) => job.state === "ready" || job.state === "delayed",
        (job) => Jobs.putAside(jobs, job, reason)
      ),
    moveJob,
    pause,
    resume: (queue) => pause(queue, Duration.zero),
    stats: Effect.sync(brokerStats),
    statsQueue: (queue) =>
      Effect.flatMap(existing(queue), (found) =>
        found === undefined
          ? Effect.fail(queueNotFound(queue))
          : Effect.succeed(Jobs.queueStats(found, waiters.get(found)?.size ?? 0, now()))),
    statsJob: (id) =>
      Effect.suspend(() => {
        const job = find(id)
        return job === undefined ? Effect.fail(jobNotFound(id)) : Effect.succeed(Jobs.jobStats(job, now()))
      }),
    queues: Effect.sync(() => {
      for (const queue of Array.from(jobs.queues.values())) Jobs.closeUnusedQueue(jobs, look(queue))
      return Array.from(jobs.queues.keys())
    })
  })
})

/** Makes a memory broker. */
export const make: Effect.Effect<Broker["Service"], never, Scope.Scope> = makeWith()

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/** A memory broker with options. */
export const layerWith = (options: Options): Layer.Layer<Broker> => Layer.effect(Broker, makeWith(options))

/** A memory broker. */
export const layer: Layer.Layer<Broker> = Layer.effect(Broker, make)
