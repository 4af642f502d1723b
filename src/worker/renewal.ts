/**
 * Renews leases before their time to run is over, and ends attempts that take
 * too long. One sleeping fiber does it for all attempts: it wakes when the next
 * one is due, and sleeps while there are none.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Result from "effect/Result"
import type { Consumer, LeaseInfo } from "../Broker.ts"
import type { BrokerError } from "../BrokerError.ts"
import type { Attempt } from "./attempt.ts"

/**
 * How long an attempt may run before the worker asks the broker for its time to
 * run, if it doesn't know it. Shorter than half the shortest ttr (beanstalkd:
 * 1 s), and long enough that a quick job costs no question.
 */
const inspectAfterMillis = 400

/** Half the time to run: one lost renewal still leaves room for another. */
const renewalMillis = (info: LeaseInfo): number => Math.max(Duration.toMillis(info.ttr) / 2, 1)

/** Whether the limit of this attempt may still end it. */
const isLimited = (attempt: Attempt) =>
  attempt.limit !== undefined && attempt.decision === undefined && attempt.interruption === undefined

/** The renewal of leases. Times are milliseconds of the Clock's monotonic time. */
export class Renewal {
  private readonly consumer: Consumer
  private readonly isOn: boolean
  private readonly now: () => number
  private readonly earlier = Latch.makeUnsafe(false)
  private wakeAt = Infinity

  constructor(consumer: Consumer, isOn: boolean, now: () => number) {
    this.consumer = consumer
    this.isOn = isOn
    this.now = now
  }

  /** Starts to renew the lease of a new attempt. */
  begin(attempt: Attempt): void {
    if (!this.isOn) return
    const { info, leasedAt } = attempt
    this.renewAt(attempt, leasedAt + (info === undefined ? inspectAfterMillis : renewalMillis(info)))
  }

  /** Wakes up at this time at the latest. */
  wakeBy(at: number): void {
    if (at >= this.wakeAt) return
    this.wakeAt = at
    this.earlier.openUnsafe()
  }

  /**
   * Renews these leases and ends overdue attempts, forever. It computes what is
   * due next only after it wakes, so that quick jobs cost nothing.
   */
  run(attempts: ReadonlySet<Attempt>): Effect.Effect<never> {
    return Effect.forever(
      Effect.suspend((): Effect.Effect<unknown> => {
        this.earlier.closeUnsafe()
        const wait = this.wakeAt - this.now()
        if (this.wakeAt === Infinity) return this.earlier.await
        if (wait > 0) return Effect.timeoutOption(this.earlier.await, wait)
        return Effect.map(this.renewDue(attempts), () => this.wakeAt = this.nextDue(attempts))
      }),
      { disableYield: true }
    )
  }

  private renewAt(attempt: Attempt, at: number): void {
    attempt.renewNextAt(at)
    this.wakeBy(at)
  }

  // Each question gets its own fiber, so that a silent connection delays no other lease.
  private renewDue(attempts: ReadonlySet<Attempt>): Effect.Effect<void> {
    const at = this.now()
    const unknown: Array<Attempt> = []
    const known: Array<Attempt> = []
    for (const attempt of attempts) {
      if (attempt.isSettling) continue
      if (isLimited(attempt) && attempt.limit!.at <= at) attempt.interrupt(attempt.limit!.interruption)
      if (attempt.renewAt <= at) (attempt.info === undefined ? unknown : known).push(attempt)
    }
    return Effect.andThen(
      Effect.all([
        unknown.length > 0 ? Effect.forkChild(this.inspect(unknown)) : Effect.void,
        known.length > 0 ? Effect.forkChild(this.renew(known)) : Effect.void
      ]),
      Effect.yieldNow
    )
  }

  // A lease is renewed until its settlement starts, also after its handler has ended.
  private nextDue(attempts: ReadonlySet<Attempt>): number {
    let next = Infinity
    for (const attempt of attempts) {
      if (attempt.isSettling) continue
      if (attempt.renewAt < next) next = attempt.renewAt
      if (isLimited(attempt) && attempt.limit!.at < next) next = attempt.limit!.at
    }
    return next
  }

  private inspect(attempts: ReadonlyArray<Attempt>): Effect.Effect<void> {
    for (const attempt of attempts) attempt.renewNextAt(Infinity)
    return Effect.map(this.consumer.inspect(attempts.map(({ lease }) => lease)), (answers) => {
      for (let i = 0; i < attempts.length; i++) {
        const answer = answers[i]!
        const attempt = attempts[i]!
        if (Result.isFailure(answer)) this.failed(attempt, answer.failure)
        else {
          attempt.inform(answer.success)
          this.renewAt(attempt, attempt.leasedAt + renewalMillis(answer.success))
        }
      }
    })
  }

  private renew(attempts: ReadonlyArray<Attempt>): Effect.Effect<void> {
    const sentAt = this.now()
    for (const attempt of attempts) attempt.renewNextAt(sentAt + renewalMillis(attempt.info!))
    return Effect.map(this.consumer.touch(attempts.map(({ lease }) => lease)), (answers) => {
      for (let i = 0; i < attempts.length; i++) {
        const answer = answers[i]!
        if (Result.isFailure(answer)) this.failed(attempts[i]!, answer.failure)
      }
    })
  }

  // A missing answer says nothing about the lease: the broker reports leases that a closed connection loses.
  private failed(attempt: Attempt, error: BrokerError): void {
    if (error.reason._tag === "Unavailable" || error.reason._tag === "OutOfMemory") {
      this.renewAt(attempt, this.now() + inspectAfterMillis)
    } else attempt.interrupt({ _tag: "LeaseLost", handled: false, error })
  }
}
