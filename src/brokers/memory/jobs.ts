/**
 * The jobs of the memory broker, and their changes of state.
 *
 * Plain data and synchronous functions. Times are milliseconds. A queue has one
 * heap for each state, so a change of state costs O(log n) and a count O(1).
 *
 * Nothing happens by itself: delays, leases and pauses end only in
 * {@link advance}. Call it before you read a queue.
 */
import * as Duration from "effect/Duration"
import type { Failure, JobId, JobState, Lease, LeaseInfo, PutRequest } from "../../Broker.ts"
import type { JobStats, Page, QueueStats, RestoreRequest } from "../../Inspector.ts"
import { Paging } from "../shared/index.ts"
import { type Entry, Heap } from "./heap.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** A consumer: the holder of leases. */
export interface Holder {
  readonly held: Set<Job>
}

/** A job, in exactly one state of its queue. */
export interface Job {
  readonly id: JobId
  /** Orders jobs by age. */
  readonly number: number
  readonly queue: Queue
  readonly body: Uint8Array
  readonly putAt: number
  /** Milliseconds. */
  readonly ttr: number
  priority: number
  state: JobState
  place: Entry<Job> | undefined
  /** When the delay or the lease ends. 0 if the job has neither. */
  due: number
  /** Orders buried jobs by the time of the burial. */
  burial: number
  deliveries: number
  /** Deliveries that do not count as attempts, because of a kick or a requeue. */
  forgiven: number
  abandoned: number
  buries: number
  reason: string | undefined
  lastFailure: JobStats["lastFailure"]
  lease: { readonly lease: Lease; readonly holder: Holder } | undefined
}

/** A queue: its jobs by state, and the number of its consumers. */
export interface Queue extends Record<JobState, Heap<Job>> {
  readonly name: string
  total: number
  consumers: number
  /** 0 means that it is not paused. */
  pausedUntil: number
}

/** All jobs and queues of a broker. */
export interface Jobs {
  readonly queues: Map<string, Queue>
  readonly byId: Map<string, Job>
  lastNumber: number
  lastBurial: number
}

export const empty = (): Jobs => ({ queues: new Map(), byId: new Map(), lastNumber: 0, lastBurial: 0 })

const older = (a: Job, b: Job) => a.number < b.number

/** Whether `a` is served before `b`: the most urgent job first, then the oldest. */
export const isBefore = (a: Job, b: Job): boolean => a.priority === b.priority ? older(a, b) : a.priority < b.priority

const isDueBefore = (a: Job, b: Job) => a.due === b.due ? older(a, b) : a.due < b.due

const isBuriedBefore = (a: Job, b: Job) => a.burial < b.burial

// -----------------------------------------------------------------------------
// Queues
// -----------------------------------------------------------------------------

/** The queue of a name. Creates a missing queue. */
export const openQueue = (jobs: Jobs, name: string): Queue => {
  const known = jobs.queues.get(name)
  if (known !== undefined) return known
  const queue: Queue = {
    name,
    ready: new Heap(isBefore),
    delayed: new Heap(isDueBefore),
    reserved: new Heap(isDueBefore),
    buried: new Heap(isBuriedBefore),
    total: 0,
    consumers: 0,
    pausedUntil: 0
  }
  jobs.queues.set(name, queue)
  return queue
}

const size = (queue: Queue) => queue.ready.size + queue.delayed.size + queue.reserved.size + queue.buried.size

/** Removes a queue that has no jobs and no consumers and is not paused. */
export const closeUnusedQueue = (jobs: Jobs, queue: Queue): void => {
  if (size(queue) === 0 && queue.consumers === 0 && queue.pausedUntil === 0 && jobs.queues.get(queue.name) === queue) {
    jobs.queues.delete(queue.name)
  }
}

/** Ends delays, leases and the pause of a queue, if their time has come. */
export const advance = (queue: Queue, now: number): void => {
  if (queue.pausedUntil <= now) queue.pausedUntil = 0
  for (let job = queue.delayed.peek(); job !== undefined && job.due <= now; job = queue.delayed.peek()) {
    move(job, "ready")
  }
  for (let job = queue.reserved.peek(); job !== undefined && job.due <= now; job = queue.reserved.peek()) {
    job.abandoned++
    move(job, "ready")
  }
}

/** When the next delay, lease or pause of a queue ends. Infinity if there is none. */
export const nextChange = (queue: Queue): number =>
  Math.min(
    queue.delayed.peek()?.due ?? Infinity,
    queue.reserved.peek()?.due ?? Infinity,
    queue.pausedUntil === 0 ? Infinity : queue.pausedUntil
  )

/** The next job that the queue can serve now. */
export const servable = (queue: Queue): Job | undefined => queue.pausedUntil === 0 ? queue.ready.peek() : undefined

/** Makes at most `max` buried jobs ready, or delayed jobs if no job is buried. Returns how many. */
export const kickQueue = (queue: Queue, max: number): number => {
  const from = queue.buried.size > 0 ? queue.buried : queue.delayed
  let kicked = 0
  for (let job = from.peek(); job !== undefined && kicked < max; job = from.peek()) {
    kick(job)
    kicked++
  }
  return kicked
}

// -----------------------------------------------------------------------------
// Jobs
// -----------------------------------------------------------------------------

/** When a duration that begins now ends, as a whole millisecond. 0 if the duration is 0. */
export const dueAfter = (now: number, duration: Duration.Duration): number => {
  const millis = Duration.toMillis(duration)
  return millis > 0 ? Math.ceil(now + millis) : 0
}

/** Adds a job to a queue. */
export const add = (jobs: Jobs, queue: Queue, request: PutRequest, now: number): Job => {
  const number = ++jobs.lastNumber
  const due = dueAfter(now, request.delay)
  const job: Job = {
    id: String(number) as JobId,
    number,
    queue,
    body: new Uint8Array(request.body),
    putAt: now,
    ttr: Duration.toMillis(request.ttr),
    priority: request.priority,
    state: due === 0 ? "ready" : "delayed",
    place: undefined,
    due,
    burial: 0,
    deliveries: 0,
    forgiven: 0,
    abandoned: 0,
    buries: 0,
    reason: undefined,
    lastFailure: undefined,
    lease: undefined
  }
  jobs.byId.set(job.id, job)
  queue.total++
  job.place = queue[job.state].push(job)
  return job
}

/** Adds a job as another broker had it. */
export const restore = (jobs: Jobs, queue: Queue, request: RestoreRequest, now: number): Job => {
  const { abandoned, attempts, buries, isBuried, lastFailure, reason } = request
  const job = add(jobs, queue, request, now)
  Object.assign(job, { abandoned, buries, lastFailure, reason, deliveries: attempts })
  if (isBuried) move(job, "buried", { burial: ++jobs.lastBurial })
  return job
}

const leaveState = (job: Job) => {
  job.queue[job.state].remove(job.place!)
  if (job.lease !== undefined) {
    job.lease.holder.held.delete(job)
    job.lease = undefined
  }
}

// A heap's order must not change under a job that is in it, so what orders the job changes between leaving and entering.
const move = (
  job: Job,
  state: JobState,
  order: { readonly due?: number; readonly priority?: number | undefined; readonly burial?: number } = {}
): void => {
  leaveState(job)
  job.state = state
  job.due = order.due ?? 0
  job.priority = order.priority ?? job.priority
  job.burial = order.burial ?? 0
  job.place = job.queue[state].push(job)
}

/** Deletes a job. */
export const remove = (jobs: Jobs, job: Job): void => {
  leaveState(job)
  jobs.byId.delete(job.id)
}

/** Leases a ready job to a holder. */
export const deliver = (job: Job, holder: Holder, now: number): Lease => {
  move(job, "reserved", { due: Math.ceil(now + job.ttr) })
  job.deliveries++
  const lease: Lease = { id: job.id, queue: job.queue.name, body: new Uint8Array(job.body), info: leaseInfo(job) }
  job.lease = { lease, holder }
  holder.held.add(job)
  return lease
}

/** Starts the time to run of a reserved job again. */
export const touch = (job: Job, now: number): void => {
  const lease = job.lease
  move(job, "reserved", { due: Math.ceil(now + job.ttr) })
  job.lease = lease
  lease?.holder.held.add(job)
}

/** Keeps the failure of the last attempt. `at` is in milliseconds since the epoch. */
const keepFailure = (job: Job, failure: Failure | undefined, at: number) => {
  if (failure !== undefined) job.lastFailure = { tag: failure.tag, message: failure.message, at }
}

/** Ends a lease. The job is ready again when `due` has come; 0 means at once. */
export const release = (
  job: Job,
  options: {
    readonly due: number
    readonly priority: number | undefined
    readonly reason: string | undefined
    readonly failure: Failure | undefined
    readonly at: number
  }
): void => {
  job.reason = options.reason
  keepFailure(job, options.failure, options.at)
  move(job, options.due === 0 ? "ready" : "delayed", options)
}

/** Buries a job, and ends its lease. */
export const bury = (
  jobs: Jobs,
  job: Job,
  options: {
    readonly priority: number | undefined
    readonly reason: string
    readonly failure: Failure | undefined
    readonly at: number
  }
): void => {
  job.reason = options.reason
  keepFailure(job, options.failure, options.at)
  job.buries++
  move(job, "buried", { priority: options.priority, burial: ++jobs.lastBurial })
}

/** Buries a job that no worker holds, as if it had been delivered. */
export const buryUnheld = (jobs: Jobs, job: Job, reason: string): void => {
  job.deliveries++
  bury(jobs, job, { priority: undefined, reason, failure: undefined, at: 0 })
}

/** Puts a copy of a job on a queue, and deletes the job. */
export const moveTo = (jobs: Jobs, job: Job, queue: Queue, now: number): Job => {
  const { body, priority } = job
  const added = add(jobs, queue, { body, priority, delay: Duration.zero, ttr: Duration.millis(job.ttr) }, now)
  remove(jobs, job)
  return added
}

/** Ends a lease as if the job had not been delivered. */
export const requeue = (job: Job): void => {
  job.forgiven++
  move(job, "ready")
}

/** Makes a buried or delayed job ready, with one more attempt. */
export const kick = (job: Job): void => {
  job.forgiven++
  move(job, "ready")
}

// -----------------------------------------------------------------------------
// Figures
// -----------------------------------------------------------------------------

/** The figures that a lease shows. */
export const leaseInfo = (job: Job): LeaseInfo => ({
  attempt: Math.max(1, job.deliveries - job.forgiven),
  abandoned: job.abandoned,
  buries: job.buries,
  priority: job.priority,
  ttr: Duration.millis(job.ttr)
})

/** The figures of a job. Before its first delivery the attempt is 0. */
export const jobStats = (job: Job, now: number): JobStats => ({
  ...leaseInfo(job),
  attempt: Math.max(job.lease === undefined ? 0 : 1, job.deliveries - job.forgiven),
  id: job.id,
  queue: job.queue.name,
  state: job.state,
  age: Duration.millis(Math.floor(now - job.putAt)),
  timeLeft: Duration.millis(job.due === 0 ? 0 : Math.floor(job.due - now)),
  reason: job.reason,
  lastFailure: job.lastFailure
})

const placeOf = (job: Job): Paging.Place => ({
  order: { ready: job.priority, delayed: job.due, reserved: job.due, buried: job.burial }[job.state],
  number: job.number
})

const comparePlaces = (a: Paging.Place, b: Paging.Place) => a.order - b.order || a.number - b.number

/** A page of the jobs of a queue. This broker keeps no finished jobs. */
export const list = (queue: Queue, request: Paging.Request, now: number): Page => {
  const { after, limit, state } = request
  if (state === "done") return { jobs: [], next: undefined }
  const found = queue[state].values()
    .map((job) => ({ job, place: placeOf(job) }))
    .filter(({ place }) => after === undefined || comparePlaces(place, after) > 0)
    .sort((a, b) => comparePlaces(a.place, b.place))
    .slice(0, limit + 1)
  return Paging.page(request, found, ({ place }) => place, ({ job }) => ({
    ...jobStats(job, now),
    body: new Uint8Array(job.body),
    finishedAt: undefined
  }))
}

/** The figures of a queue. */
export const queueStats = (queue: Queue, idleWorkers: number, now: number): QueueStats => ({
  queue: queue.name,
  ready: queue.ready.size,
  delayed: queue.delayed.size,
  reserved: queue.reserved.size,
  buried: queue.buried.size,
  idleWorkers,
  total: queue.total,
  pausedFor: Duration.millis(queue.pausedUntil === 0 ? 0 : Math.floor(queue.pausedUntil - now))
})
