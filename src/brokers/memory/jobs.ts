/**
 * The jobs of the memory broker and the moves that a job can make.
 *
 * Plain data and synchronous functions; time comes in as milliseconds. A queue
 * keeps one heap for each state, so a move costs O(log n) and a count O(1).
 *
 * Nothing happens by itself here: a delay, a lease or a pause that is over
 * stays as it was until {@link advance} looks at the queue. Call it before
 * reading one.
 */
import * as Duration from "effect/Duration"
import type { Failure, JobId, JobState, Lease, LeaseInfo, PutRequest } from "../../Broker.ts"
import type { JobStats, Page, QueueStats } from "../../Inspector.ts"
import { Paging } from "../shared/index.ts"
import { type Entry, Heap } from "./heap.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** Somebody who holds leases. */
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
  /** When its delay (delayed) or its lease (reserved) is over; 0 otherwise. */
  due: number
  /** Orders buried jobs by when they were buried. */
  burial: number
  deliveries: number
  /** Deliveries that are forgiven: kicked, or requeued. */
  forgiven: number
  abandoned: number
  buries: number
  reason: string | undefined
  lastFailure: JobStats["lastFailure"]
  lease: { readonly lease: Lease; readonly holder: Holder } | undefined
}

/** A queue: its jobs by state, and who is interested in it. */
export interface Queue extends Record<JobState, Heap<Job>> {
  readonly name: string
  total: number
  consumers: number
  /** 0 when it is not paused. */
  pausedUntil: number
}

/** All jobs and queues. */
export interface Jobs {
  readonly queues: Map<string, Queue>
  readonly byId: Map<string, Job>
  lastNumber: number
  lastBurial: number
}

/** No jobs and no queues. */
export const empty = (): Jobs => ({ queues: new Map(), byId: new Map(), lastNumber: 0, lastBurial: 0 })

const older = (a: Job, b: Job) => a.number < b.number

/** Is `a` served before `b`? The most urgent first, then the oldest. */
export const isBefore = (a: Job, b: Job): boolean => a.priority === b.priority ? older(a, b) : a.priority < b.priority

const isDueBefore = (a: Job, b: Job) => a.due === b.due ? older(a, b) : a.due < b.due

const isBuriedBefore = (a: Job, b: Job) => a.burial < b.burial

// -----------------------------------------------------------------------------
// Queues
// -----------------------------------------------------------------------------

/** The queue of a name, which comes to be by this. */
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

/** Forgets a queue that holds no job, is not paused, and that nobody consumes. */
export const closeUnusedQueue = (jobs: Jobs, queue: Queue): void => {
  if (size(queue) === 0 && queue.consumers === 0 && queue.pausedUntil === 0 && jobs.queues.get(queue.name) === queue) {
    jobs.queues.delete(queue.name)
  }
}

/** Applies the time that has passed: delays, leases and a pause that are over end. */
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

/** When time will change a queue next; infinite when it won't. */
export const nextChange = (queue: Queue): number =>
  Math.min(
    queue.delayed.peek()?.due ?? Infinity,
    queue.reserved.peek()?.due ?? Infinity,
    queue.pausedUntil === 0 ? Infinity : queue.pausedUntil
  )

/** The job of a queue that can be served now. */
export const servable = (queue: Queue): Job | undefined => queue.pausedUntil === 0 ? queue.ready.peek() : undefined

/** Makes up to `max` buried jobs ready, or up to `max` delayed ones when none is buried. Returns how many. */
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

/** The first whole millisecond at which a duration that begins now is over; 0 when it is over at once. */
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

/** Takes a job away for good. */
export const remove = (jobs: Jobs, job: Job): void => {
  leaveState(job)
  jobs.byId.delete(job.id)
}

/** Hands a ready job to a holder. */
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

/** Keeps what the last attempt failed with. `at` is the wall clock's. */
const keepFailure = (job: Job, failure: Failure | undefined, at: number) => {
  if (failure !== undefined) job.lastFailure = { tag: failure.tag, message: failure.message, at }
}

/** Ends a lease to try again later. */
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

/** Ends a lease to put the job aside. */
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

/** Puts a job aside that nobody holds, as if it had been delivered and buried. */
export const putAside = (jobs: Jobs, job: Job, reason: string): void => {
  job.deliveries++
  bury(jobs, job, { priority: undefined, reason, failure: undefined, at: 0 })
}

/** Puts a job anew on a queue, and takes the one that was away. */
export const putAnew = (jobs: Jobs, job: Job, queue: Queue, now: number): Job => {
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

/** Makes a buried or delayed job ready, and forgives it one delivery. */
export const kick = (job: Job): void => {
  job.forgiven++
  move(job, "ready")
}

// -----------------------------------------------------------------------------
// What is known
// -----------------------------------------------------------------------------

/** What its holder knows of a reserved job. */
export const leaseInfo = (job: Job): LeaseInfo => ({
  attempt: Math.max(1, job.deliveries - job.forgiven),
  abandoned: job.abandoned,
  buries: job.buries,
  priority: job.priority,
  ttr: Duration.millis(job.ttr)
})

/** A job as an operator sees it. A job that was not delivered yet is at attempt 0. */
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

/** A page of the jobs of a queue. Those that are done are not kept. */
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

/** A queue in numbers, with how many wait on it. */
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
