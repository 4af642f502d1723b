/**
 * This process among the others that have the file open, or died with it.
 *
 * Synchronous functions; those that change something are to be called within a
 * transaction.
 */
import * as Option from "effect/Option"
import type { Jobs } from "./jobs.ts"
import * as Liveness from "./liveness.ts"
import type { ProcessRow, Queues } from "./queues.ts"

/** For how many milliseconds it is taken for known whether there are others. */
const knownFor = 1000

export class Processes {
  /** This process, as the file knows it; 0 before it was entered. */
  id = 0
  private readonly self = Liveness.self()
  private readonly jobs: Jobs
  private readonly queues: Queues
  private readonly millis: () => number
  private areOthers = false
  private lookedAt = -Infinity

  constructor(jobs: Jobs, queues: Queues, millis: () => number) {
    this.jobs = jobs
    this.queues = queues
    this.millis = millis
  }

  /** Enters this process, by an id that the file knew it by if there is one, and forgets those of a former boot that hold nothing. */
  enter(known?: number): number {
    const id = this.queues.register(this.self, known)
    for (const other of this.queues.others(id)) {
      // What they held is ready again at its time: the disk may be another machine's.
      if (Liveness.isOfFormerBoot(other, this.self) && !this.jobs.holds(other.id)) this.queues.unregister(other.id)
    }
    return id
  }

  /** Requeues what this process holds, unspent, and forgets it. */
  leave(): void {
    this.jobs.returnAll(this.id, "holderLeft")
    this.queues.unregister(this.id)
  }

  /** Those that are known to be dead. */
  dead(): ReadonlyArray<ProcessRow> {
    return this.queues.others(this.id).filter((other) => Liveness.isDead(other, this.self))
  }

  /** Returns what dead ones held to its queues, as abandoned, and forgets them. */
  forget(dead: ReadonlyArray<ProcessRow>): void {
    for (const { id } of dead) {
      this.jobs.returnAll(id, "holderGone")
      this.queues.unregister(id)
    }
  }

  /** Have others the file open, as far as was known a moment ago? */
  readonly hasCompany = (): boolean => {
    const now = this.millis()
    if (now - this.lookedAt > knownFor) {
      // who can't know that nobody is there makes way
      this.areOthers = Option.getOrElse(Option.liftThrowable(() => this.queues.hasOthers(this.id))(), () => true)
      this.lookedAt = now
    }
    return this.areOthers
  }

  /** How many workers of others wait on a queue, or on all. */
  idleWorkersElsewhere(queue?: string): number {
    return this.queues.idleWorkersElsewhere(this.id, this.self.world, queue)
  }

  /** Tells others how many workers of this one wait on which queues. */
  noteIdleWorkers(counts: ReadonlyMap<string, number>): void {
    this.queues.noteIdleWorkers(this.id, counts)
  }
}
