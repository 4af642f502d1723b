/**
 * What the conformance tests of the Broker are written with.
 *
 * A test gets a `Harness`: the broker, names of queues that nobody else uses
 * (a real server is shared), and time that passes virtually or really.
 */
import { assert, type Vitest } from "@effect/vitest"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import {
  Broker,
  type Consumer,
  type Failure,
  type Features,
  type JobId,
  type Lease,
  type LeaseInfo,
  type PutOptions,
  putRequest,
  type Settlement
} from "../../src/Broker.ts"
import type { BrokerError, BrokerErrorReason } from "../../src/BrokerError.ts"
import { Inspector, type ListedJob, type ListedState, type QueueStats, type Services } from "../../src/Inspector.ts"

/** The options of a suite. */
export interface SuiteOptions {
  /** The broker. Built once for all tests. */
  readonly layer: Layer.Layer<Broker | Inspector, unknown>
  /** Whether the broker runs on the TestClock, or has its own clock. */
  readonly time: "virtual" | "real"
  /** The broker's features. The suite tests that they work, and that other features are refused. */
  readonly features: Features
}

/** The tester that the tests of a suite are registered with. */
export type It = Vitest.MethodsNonLive<Broker | Inspector>

/** Registers a test. */
export type Test = (
  name: string,
  body: (harness: Harness) => Effect.Effect<void, unknown, Scope.Scope>
) => void

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** A text as a body. */
export const bytes = (text: string): Uint8Array => encoder.encode(text)

/** A body as a text. */
export const text = (job: { readonly body: Uint8Array }): string => decoder.decode(job.body)

const run = Math.random().toString(36).slice(2, 10)
let queues = 0

/** A queue that no other test uses. */
export const uniqueQueue = (): string => `conformance-${run}-${++queues}`

/** What a test works with. */
export class Harness {
  readonly broker: Broker["Service"]
  readonly inspector: Inspector["Service"]
  readonly time: SuiteOptions["time"]
  /** Whether a delay of a millisecond can end before anybody looks. */
  readonly isFine: boolean
  readonly queue: string = uniqueQueue()

  constructor({ broker, inspector }: Services, options: SuiteOptions) {
    this.broker = broker
    this.inspector = inspector
    this.time = options.time
    this.isFine = options.time === "real" && options.features.resolution === "millisecond"
  }

  /** Lets time pass. */
  pass(duration: Duration.Input): Effect.Effect<void> {
    return this.time === "virtual" ? TestClock.adjust(duration) : Effect.sleep(duration)
  }

  /** Long enough for an unwanted event to happen. */
  get aWhile(): Effect.Effect<void> {
    return this.pass(this.time === "virtual" ? "1 second" : "200 millis")
  }

  /**
   * The end of a fiber that waits for two seconds from `began` on. Half a second earlier it must wait, and `check`
   * hold; both are left out if a busy machine takes longer than the two seconds.
   */
  endOf<A, E, E2 = never>(
    fiber: Fiber.Fiber<A, E>,
    began: number,
    check: Effect.Effect<void, E2> = Effect.void
  ): Effect.Effect<A, E | E2> {
    return Effect.gen({ self: this }, function*() {
      const passed = Effect.map(Clock.currentTimeMillis, (now) => now - began)
      yield* this.pass(1500)
      const early = yield* Effect.exit(Effect.andThen(Effect.sync(() => assertRunning(fiber)), check))
      if ((yield* passed) < 2000) yield* early
      yield* this.pass(500)
      return yield* Fiber.join(fiber)
    })
  }

  /** Puts a text on the test's queue. */
  put(body: string, options: PutOptions & { readonly queue?: string } = {}): Effect.Effect<JobId, BrokerError> {
    const { queue = this.queue, ...rest } = options
    return Effect.flatMap(
      Effect.fromResult(putRequest(bytes(body), rest)),
      (request) => this.broker.put(queue, request)
    )
  }

  /** A consumer of the test's queue, or of others. */
  consumer(...queues: ReadonlyArray<string>): Effect.Effect<Consumer, BrokerError, Scope.Scope> {
    const [first = this.queue, ...rest] = queues
    return this.broker.consume([first, ...rest])
  }

  /** The numbers of the test's queue. */
  stats(queue: string = this.queue): Effect.Effect<QueueStats, BrokerError> {
    return this.inspector.statsQueue(queue)
  }

  /** Asks until the answer is the wanted one, or a limit is reached. */
  until<A>(ask: Effect.Effect<A, BrokerError>, wanted: (answer: A) => boolean): Effect.Effect<void, BrokerError> {
    const again = this.time === "virtual" ? Effect.yieldNow : Effect.sleep("5 millis")
    return ask.pipe(
      Effect.tap((answer) => wanted(answer) ? Effect.void : again),
      Effect.repeat({ until: wanted, times: 2000 }),
      Effect.map((answer) => assert.isTrue(wanted(answer), `the last answer was ${JSON.stringify(answer)}`))
    )
  }

  /** Waits until a number of workers wait on a queue. */
  untilWaiting(count: number, queue: string = this.queue): Effect.Effect<void, BrokerError> {
    return this.until(this.broker.idleWorkers(queue), (waiting) => waiting === count)
  }

  /** Begins to reserve, and returns when the call waits. Assumes that nobody else waits. */
  reserveWaiting(
    consumer: Consumer,
    max: number,
    waiting = 1
  ): Effect.Effect<Fiber.Fiber<NonEmptyReadonlyArray<Lease>, BrokerError>, BrokerError> {
    return Effect.tap(Effect.forkChild(consumer.reserve(max)), () => this.untilWaiting(waiting))
  }
}

/** The one job that is served next. */
export const take = (consumer: Consumer): Effect.Effect<Lease, BrokerError> =>
  Effect.map(consumer.reserve(1), (leases) => {
    assert.strictEqual(leases.length, 1)
    return leases[0]
  })

/** The next jobs, one after the other. */
export const takeMany = (consumer: Consumer, count: number): Effect.Effect<ReadonlyArray<Lease>, BrokerError> =>
  Effect.replicateEffect(take(consumer), count)

/** Settles one lease. */
export const settle = (consumer: Consumer, settlement: Settlement): Effect.Effect<void, BrokerError> =>
  Effect.flatMap(consumer.settle([settlement]), (results) => {
    assert.strictEqual(results.length, 1)
    return Effect.fromResult(results[0]!)
  })

/** Deletes the job of a lease. */
export const done = (consumer: Consumer, lease: Lease) => settle(consumer, { _tag: "Delete", lease })

/** Releases the job of a lease. */
export const release = (
  consumer: Consumer,
  lease: Lease,
  options: {
    readonly delay?: Duration.Input
    readonly priority?: number
    readonly reason?: string
    readonly failure?: Failure
  } = {}
) =>
  settle(consumer, {
    _tag: "Release",
    lease,
    delay: Duration.fromInputUnsafe(options.delay ?? 0),
    priority: options.priority,
    reason: options.reason,
    failure: options.failure
  })

/** Buries the job of a lease. */
export const bury = (consumer: Consumer, lease: Lease, reason = "a test says so", failure?: Failure) =>
  settle(consumer, { _tag: "Bury", lease, reason, failure })

/** Requeues the job of a lease. */
export const requeue = (consumer: Consumer, lease: Lease) => settle(consumer, { _tag: "Requeue", lease })

/** Starts the time to run of a lease again. */
export const touch = (consumer: Consumer, lease: Lease): Effect.Effect<void, BrokerError> =>
  Effect.flatMap(consumer.touch([lease]), (results) => Effect.fromResult(results[0]!))

/** The known facts of a delivery, from the lease or from a request. */
export const info = (consumer: Consumer, lease: Lease): Effect.Effect<LeaseInfo, BrokerError> =>
  lease.info !== undefined
    ? Effect.succeed(lease.info)
    : Effect.flatMap(consumer.inspect([lease]), (results) => Effect.fromResult(results[0]!))

/** All jobs of a queue in a state, page by page; something may happen in between. */
export const listAll = Effect.fnUntraced(function*(
  { inspector, queue }: { readonly inspector: Inspector["Service"]; readonly queue: string },
  state: ListedState,
  limit: number,
  between: Effect.Effect<unknown, BrokerError> = Effect.void
): Effect.fn.Return<ReadonlyArray<ListedJob>, BrokerError> {
  const jobs: Array<ListedJob> = []
  let after: string | undefined
  do {
    const page = yield* inspector.list(queue, { state, limit, after })
    assert.isAtMost(page.jobs.length, limit)
    jobs.push(...page.jobs)
    after = page.next
    yield* between
  } while (after !== undefined)
  return jobs
})

/** The bodies of jobs. */
export const texts = (jobs: ReadonlyArray<ListedJob>): Array<string> => jobs.map(text)

/** Checks which attempt a delivery is, and how many were abandoned before. */
export const assertInfo = Effect.fnUntraced(function*(
  consumer: Consumer,
  lease: Lease,
  expected: { readonly attempt: number; readonly abandoned: number }
) {
  const { attempt, abandoned } = yield* info(consumer, lease)
  assert.deepStrictEqual({ attempt, abandoned }, expected)
})

/** The reason of a failing operation. Fails if the operation succeeds. */
export const reasonOf = <A>(effect: Effect.Effect<A, BrokerError>): Effect.Effect<BrokerErrorReason> =>
  Effect.map(
    Effect.result(effect),
    (result) => Result.isFailure(result) ? result.failure.reason : assert.fail("should have failed")
  )

/** Checks that an operation fails for a reason. */
export const assertFails = <A>(
  effect: Effect.Effect<A, BrokerError>,
  reason: BrokerErrorReason["_tag"]
): Effect.Effect<void> => Effect.map(reasonOf(effect), (actual) => assert.strictEqual(actual._tag, reason))

/** Checks that a fiber still runs. */
export const assertRunning = <A, E>(fiber: Fiber.Fiber<A, E>): void =>
  assert.isUndefined(fiber.pollUnsafe(), "should still wait")

/** Makes a `Test` of vitest's tester. */
export const tester = (it: It, options: SuiteOptions): Test => (name, body) =>
  it.effect(
    name,
    () =>
      Effect.gen(function*() {
        yield* body(new Harness({ broker: yield* Broker, inspector: yield* Inspector }, options))
      })
  )
