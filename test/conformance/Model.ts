/**
 * A Broker as simple as can be: all jobs in one array, looked through and
 * sorted every time. What it does is what the contract says; it has no
 * efficiency and no concurrency, so it can be checked by reading it.
 */
import type { JobId, JobState } from "../../src/Broker.ts"

/** A job of the model. Times are in milliseconds. */
export interface ModelJob {
  readonly id: JobId
  readonly age: number
  readonly queue: number
  readonly ttr: number
  priority: number
  state: JobState
  due: number
  burial: number
  deliveries: number
  forgiven: number
  abandoned: number
  holder: number
}

/** A job that was delivered, and for the how manieth time. */
export interface Delivery {
  readonly job: ModelJob
  readonly number: number
}

/** What a waiting consumer got. */
export interface Served {
  readonly consumer: number
  readonly deliveries: ReadonlyArray<Delivery>
}

/** The model. Queues and consumers are numbers; `watches` says which queues each consumer receives from. */
export class Model {
  readonly watches: ReadonlyArray<ReadonlyArray<number>>
  readonly jobs: Array<ModelJob> = []
  readonly pausedUntil: Array<number>
  readonly totals: Array<number>
  waiting: Array<{ readonly consumer: number; readonly max: number }> = []
  now = 0
  private counter = 0

  constructor(queues: number, watches: ReadonlyArray<ReadonlyArray<number>>) {
    this.watches = watches
    this.pausedUntil = Array.from({ length: queues }, () => 0)
    this.totals = Array.from({ length: queues }, () => 0)
  }

  // --- looking

  inState(queue: number, state: JobState): Array<ModelJob> {
    const order = {
      ready: (a: ModelJob, b: ModelJob) => a.priority - b.priority || a.age - b.age,
      delayed: (a: ModelJob, b: ModelJob) => a.due - b.due || a.age - b.age,
      reserved: (a: ModelJob, b: ModelJob) => a.due - b.due || a.age - b.age,
      buried: (a: ModelJob, b: ModelJob) => a.burial - b.burial
    }[state]
    return this.jobs.filter((job) => job.queue === queue && job.state === state).sort(order)
  }

  /** What a consumer can have now, best first. */
  available(consumer: number): Array<ModelJob> {
    return this.watches[consumer]!
      .filter((queue) => this.pausedUntil[queue]! <= this.now)
      .flatMap((queue) => this.inState(queue, "ready"))
      .sort((a, b) => a.priority - b.priority || a.age - b.age)
  }

  attempts(job: ModelJob): number {
    return Math.max(job.state === "reserved" ? 1 : 0, job.deliveries - job.forgiven)
  }

  timeLeft(job: ModelJob): number {
    return job.state === "delayed" || job.state === "reserved" ? job.due - this.now : 0
  }

  // --- doing

  put(id: JobId, options: Pick<ModelJob, "queue" | "priority" | "ttr"> & { readonly delay: number }): void {
    const { delay, priority, queue, ttr } = options
    const state = delay > 0 ? "delayed" : "ready"
    const counts = { deliveries: 0, forgiven: 0, abandoned: 0 }
    this.totals[queue]!++
    this.jobs.push({
      id,
      age: ++this.counter,
      queue,
      ttr,
      priority,
      state,
      due: this.now + delay,
      burial: 0,
      holder: -1,
      ...counts
    })
  }

  deliver(job: ModelJob, consumer: number): Delivery {
    job.state = "reserved"
    job.holder = consumer
    job.deliveries++
    job.due = this.now + job.ttr
    return { job, number: job.deliveries }
  }

  touch(job: ModelJob): void {
    job.due = this.now + job.ttr
  }

  delete(job: ModelJob): void {
    this.jobs.splice(this.jobs.indexOf(job), 1)
  }

  release(job: ModelJob, delay: number, priority: number | undefined): void {
    job.priority = priority ?? job.priority
    job.state = delay > 0 ? "delayed" : "ready"
    job.due = this.now + delay
  }

  bury(job: ModelJob, priority: number | undefined): void {
    job.priority = priority ?? job.priority
    job.state = "buried"
    job.burial = ++this.counter
  }

  /** Ready without anything being spent: requeued, or kicked. */
  forgive(job: ModelJob): void {
    job.state = "ready"
    job.forgiven++
  }

  kick(queue: number, max: number): number {
    const buried = this.inState(queue, "buried")
    const kicked = (buried.length > 0 ? buried : this.inState(queue, "delayed")).slice(0, max)
    kicked.forEach((job) => this.forgive(job))
    return kicked.length
  }

  /** Buried by an operator: as if it had been delivered and buried. */
  putAside(job: ModelJob): void {
    job.deliveries++
    this.bury(job, undefined)
  }

  stopWaiting(consumer: number): void {
    this.waiting = this.waiting.filter((waiter) => waiter.consumer !== consumer)
  }

  closeConsumer(consumer: number): void {
    this.jobs.filter((job) => job.state === "reserved" && job.holder === consumer).forEach((job) => this.forgive(job))
  }

  // --- time and waiters

  /** Serves the waiters, the oldest first. */
  serve(): Array<Served> {
    const served: Array<Served> = []
    for (const waiter of Array.from(this.waiting)) {
      const jobs = this.available(waiter.consumer).slice(0, waiter.max)
      if (jobs.length === 0) continue
      const deliveries = jobs.map((job) => this.deliver(job, waiter.consumer))
      this.waiting = this.waiting.filter((other) => other !== waiter)
      served.push({ consumer: waiter.consumer, deliveries })
    }
    return served
  }

  /** Lets time pass, from one event to the next. */
  pass(millis: number): Array<Served> {
    const end = this.now + millis
    const served: Array<Served> = []
    while (this.now < end) {
      const dues = this.jobs.filter((job) => job.state === "delayed" || job.state === "reserved").map((job) => job.due)
      this.now = Math.min(end, ...[...dues, ...this.pausedUntil].filter((time) => time > this.now))
      for (const job of this.jobs.filter((job) => this.timeLeft(job) <= 0)) {
        if (job.state === "reserved") job.abandoned++
        if (job.state !== "buried") job.state = "ready"
      }
      served.push(...this.serve())
    }
    return served
  }
}
