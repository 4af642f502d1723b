/**
 * This process and the others in the file: those that have it open, and those
 * that died with it open.
 *
 * Call the methods that change something within a transaction.
 */
import * as Option from "effect/Option"
import type { Jobs } from "./jobs.ts"
import * as Liveness from "./liveness.ts"
import type { ProcessRow, Queues } from "./queues.ts"

/** For how long an answer of `hasCompany` stays valid. */
const knownForMillis = 1000

export class Processes {
  /** The id of this process in the file. 0 before `enter`. */
  id = 0
  private readonly self = Liveness.self()
  private readonly jobs: Jobs
  private readonly queues: Queues
  private readonly millis: () => number
  private hasOthers = false
  private lookedAt = -Infinity

  constructor(jobs: Jobs, queues: Queues, millis: () => number) {
    this.jobs = jobs
    this.queues = queues
    this.millis = millis
  }

  /**
   * Enters this process in the file and returns its id, which is `known` if given. Removes processes of an earlier boot
   * that hold no jobs.
   */
  enter(known?: number): number {
    const id = this.queues.register(this.self, known)
    for (const other of this.queues.others(id)) {
      // If they hold jobs their leases must expire by time: the disk may come from another machine.
      if (Liveness.isOfFormerBoot(other, this.self) && !this.jobs.holds(other.id)) this.queues.unregister(other.id)
    }
    return id
  }

  /** Requeues the jobs of this process, and removes it from the file. */
  leave(): void {
    this.jobs.returnAll(this.id, "holderLeft")
    this.queues.unregister(this.id)
  }

  /** The other processes that are certainly dead. */
  dead(): ReadonlyArray<ProcessRow> {
    return this.queues.others(this.id).filter((other) => Liveness.isDead(other, this.self))
  }

  /** Makes the jobs of dead processes ready, counts them as abandoned, and removes the processes. */
  removeDead(dead: ReadonlyArray<ProcessRow>): void {
    for (const { id } of dead) {
      this.jobs.returnAll(id, "holderGone")
      this.queues.unregister(id)
    }
  }

  /** Whether other processes have the file open. The answer may be {@link knownForMillis} old. */
  readonly hasCompany = (): boolean => {
    const now = this.millis()
    if (now - this.lookedAt > knownForMillis) {
      // If this can't be read, the process yields as if there were others.
      this.hasOthers = Option.getOrElse(Option.liftThrowable(() => this.queues.hasOthers(this.id))(), () => true)
      this.lookedAt = now
    }
    return this.hasOthers
  }

  /** The number of idle workers of other processes, on a queue or in all. */
  idleWorkersElsewhere(queue?: string): number {
    return this.queues.idleWorkersElsewhere(this.id, this.self.world, queue)
  }

  /** Writes the number of idle workers of this process by queue, for other processes to read. */
  noteIdleWorkers(counts: ReadonlyMap<string, number>): void {
    this.queues.noteIdleWorkers(this.id, counts)
  }
}
