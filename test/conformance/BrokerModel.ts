/**
 * The Broker contract as a property: after any operations in any order, a
 * broker answers what the simple {@link Model} answers.
 *
 * A case is a list of commands; after each, everything that can be seen is
 * compared. A failing case is shrunk and printed with its replay token; pass
 * that as `replay` to run it again.
 *
 * On a broker with a clock of its own (`time: "real"`) no time passes: delays,
 * leases and pauses are too long to end, a batch may be smaller than it could
 * be, and nobody waits.
 */
import { assert, layer } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { Broker, type Consumer, type Lease, putRequest, type Settlement } from "../../src/Broker.ts"
import type { BrokerError } from "../../src/BrokerError.ts"
import { Inspector, type Services } from "../../src/Inspector.ts"
import { withManyCases } from "../support/limits.ts"
import { bytes, type SuiteOptions, uniqueQueue } from "./Harness.ts"
import { type Delivery, Model, type ModelJob, type Served } from "./Model.ts"

/** How the property is checked. */
export interface ModelOptions extends SuiteOptions {
  /** How many lists of commands are tried. */
  readonly runs: number
  /** The token of a failed case, to run only that. */
  readonly replay?: string | undefined
}

// -----------------------------------------------------------------------------
// Commands
// -----------------------------------------------------------------------------

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))
const from1To = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 1, maximum }))

const queueCount = 2
/** The queues of each consumer. */
const watches = [[0, 1], [0], [1]]

const queue = upTo(queueCount - 1)
const consumer = upTo(watches.length - 1)
/** Points to a past job or lease: the nth last one. */
const recent = upTo(7)

const Put = Schema.TaggedStruct("Put", { queue, priority: upTo(3), delay: upTo(3), ttr: from1To(4) })
const Reserve = Schema.TaggedStruct("Reserve", { consumer, max: from1To(3) })
const Settle = Schema.TaggedStruct("Settle", {
  lease: recent,
  how: Schema.Literals(["Delete", "Release", "Bury", "Requeue"]),
  delay: upTo(2),
  priority: Schema.UndefinedOr(upTo(3)),
  /** A consumer that may not be the holder. */
  by: Schema.Literals(["Holder", "Holder", "Holder", "Other"])
})
const Touch = Schema.TaggedStruct("Touch", {
  lease: recent,
  by: Schema.Literals(["Holder", "Holder", "Holder", "Other"])
})
const Kick = Schema.TaggedStruct("Kick", { queue, max: from1To(3) })
const KickJob = Schema.TaggedStruct("KickJob", { job: recent })
const DeleteJob = Schema.TaggedStruct("DeleteJob", { job: recent })
const BuryJob = Schema.TaggedStruct("BuryJob", { job: recent })
const MoveJob = Schema.TaggedStruct("MoveJob", { job: recent, queue })
const Pause = Schema.TaggedStruct("Pause", { queue, time: from1To(3) })
const Resume = Schema.TaggedStruct("Resume", { queue })
const Pass = Schema.TaggedStruct("Pass", { time: from1To(3) })
const Interrupt = Schema.TaggedStruct("Interrupt", { consumer })
const Close = Schema.TaggedStruct("Close", { consumer })

// Commands that are listed twice, or alone in their union, run more often.
const Other = Schema.Union([
  Touch,
  Kick,
  KickJob,
  DeleteJob,
  BuryJob,
  MoveJob,
  Pause,
  Resume,
  Resume,
  Pass,
  Pass,
  Interrupt,
  Close
])
const Command = Schema.Union([Put, Reserve, Settle, Other, Other])
type Command = typeof Command.Type

// -----------------------------------------------------------------------------
// Both sides
// -----------------------------------------------------------------------------

/** A past lease, with the model's state of it. */
interface PastLease {
  readonly lease: Lease
  readonly delivery: Delivery
  readonly consumer: number
}

type Reserving = Fiber.Fiber<ReadonlyArray<Lease>, BrokerError>

/** Carries out commands on a broker and on the model, and compares. */
class Comparison {
  readonly broker: Broker["Service"]
  readonly inspector: Inspector["Service"]
  readonly virtual: boolean
  /** Whether the broker can list its jobs. */
  readonly lists: boolean
  /** Whether an operator can take jobs, to put them aside or to move them. */
  readonly takes: boolean
  readonly model = new Model(queueCount, watches)
  readonly queues = Array.from({ length: queueCount }, uniqueQueue)
  readonly consumers: Array<{ readonly consumer: Consumer; readonly scope: Scope.Closeable }> = []
  /** All jobs ever put, including deleted ones. */
  readonly jobs: Array<ModelJob> = []
  readonly leases: Array<PastLease> = []
  readonly waiting = new Map<number, Reserving>()

  constructor({ broker, inspector }: Services, { features, time }: ModelOptions) {
    this.broker = broker
    this.inspector = inspector
    this.virtual = time === "virtual"
    this.lists = features.canList
    this.takes = features.canBury && features.canMove
  }

  /** A unit of time: long enough in a real second never to end within a case. */
  millis(time: number): number {
    return time * (this.virtual ? 1000 : 1_000_000)
  }

  open(consumer: number) {
    const [first, ...rest] = watches[consumer]!.map((queue) => this.queues[queue]!)
    return Effect.gen({ self: this }, function*() {
      const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
      const opened = yield* Scope.provide(this.broker.consume([first!, ...rest]), scope)
      this.consumers[consumer] = { consumer: opened, scope }
    })
  }

  /** Checks that both sides delivered the same jobs. */
  received(consumer: number, leases: ReadonlyArray<Lease>, deliveries: ReadonlyArray<Delivery>) {
    const received = leases.map(({ id }) => id)
    const expected = deliveries.map(({ job }) => job.id)
    if (this.virtual) assert.deepStrictEqual(received, expected, "leases")
    else assert.sameMembers(received, expected, "leases")
    for (const lease of leases) {
      const delivery = deliveries.find(({ job }) => job.id === lease.id)!
      assert.strictEqual(lease.queue, this.queues[delivery.job.queue])
      this.leases.push({ lease, delivery, consumer })
    }
  }

  reserve({ consumer, max }: typeof Reserve.Type) {
    return Effect.gen({ self: this }, function*() {
      if (this.waiting.has(consumer)) return
      const available = this.model.available(consumer)
      const reserve = this.consumers[consumer]!.consumer.reserve(max)
      if (available.length > 0) {
        const leases = yield* reserve
        const count = this.virtual ? Math.min(max, available.length) : leases.length
        assert.isAtMost(leases.length, max)
        const deliveries = available.slice(0, count).map((job) => this.model.deliver(job, consumer))
        this.received(consumer, leases, deliveries)
      } else if (this.virtual) {
        this.model.waiting.push({ consumer, max })
        this.waiting.set(consumer, yield* Effect.forkScoped(reserve))
        yield* Effect.yieldNow
      }
    })
  }

  settlement(command: typeof Settle.Type, lease: Lease): Settlement {
    const { how, priority } = command
    switch (how) {
      case "Delete":
      case "Requeue":
        return { _tag: how, lease }
      case "Release":
        return { _tag: how, lease, delay: Duration.millis(this.millis(command.delay)), priority }
      case "Bury":
        return { _tag: how, lease, reason: "a test says so", priority }
    }
  }

  /** Uses a past lease: it must work while it is held, and only for its holder. */
  useLease(
    command: { readonly lease: number; readonly by: "Holder" | "Other" },
    use: (consumer: Consumer, lease: Lease) => Effect.Effect<ReadonlyArray<Result.Result<void, BrokerError>>>,
    inModel: (job: ModelJob) => void
  ) {
    return Effect.gen({ self: this }, function*() {
      const past = this.leases.at(-1 - command.lease)
      if (past === undefined) return
      const { delivery: { job, number }, lease } = past
      const by = command.by === "Holder" ? past.consumer : (past.consumer + 1) % watches.length
      const held = this.model.jobs.includes(job)
        && job.state === "reserved" && job.deliveries === number && job.holder === by
      const [result] = yield* use(this.consumers[by]!.consumer, lease)
      const answer = Result.isSuccess(result!) ? "ok" : result!.failure.reason._tag
      assert.strictEqual(answer, held ? "ok" : "LeaseLost", "use of a lease")
      if (held) inModel(job)
    })
  }

  onJob<A>(
    nth: number,
    states: ReadonlyArray<string>,
    operation: (id: ModelJob["id"]) => Effect.Effect<A, BrokerError>,
    inModel: (job: ModelJob, result: A) => void
  ) {
    return Effect.gen({ self: this }, function*() {
      const job = this.jobs.at(-1 - nth)
      if (job === undefined) return
      const allowed = this.model.jobs.includes(job) && states.includes(job.state)
      const result = yield* Effect.result(operation(job.id))
      const answer = Result.isSuccess(result) ? "ok" : result.failure.reason._tag
      assert.strictEqual(answer, allowed ? "ok" : "NotFound", "operation on a job")
      if (Result.isSuccess(result)) inModel(job, result.success)
    })
  }

  interrupt(consumer: number) {
    return Effect.suspend(() => {
      const reserving = this.waiting.get(consumer)
      this.waiting.delete(consumer)
      this.model.stopWaiting(consumer)
      return reserving === undefined ? Effect.void : Fiber.interrupt(reserving)
    })
  }

  close(consumer: number) {
    return Effect.gen({ self: this }, function*() {
      yield* this.interrupt(consumer)
      yield* Scope.close(this.consumers[consumer]!.scope, Exit.void)
      this.model.closeConsumer(consumer)
      yield* this.open(consumer)
    })
  }

  execute(command: Command): Effect.Effect<ReadonlyArray<Served> | void, BrokerError, Scope.Scope> {
    const { broker, inspector, model } = this
    switch (command._tag) {
      case "Put":
        return Effect.gen({ self: this }, function*() {
          const { priority } = command
          const [delay, ttr] = [this.millis(command.delay), this.millis(command.ttr)]
          const request = Result.getOrThrow(putRequest(bytes(`job ${this.jobs.length}`), { priority, delay, ttr }))
          const id = yield* broker.put(this.queues[command.queue]!, request)
          model.put(id, { queue: command.queue, priority, delay, ttr })
          this.jobs.push(model.jobs.at(-1)!)
        })
      case "Reserve":
        return this.reserve(command)
      case "Settle":
        return this.useLease(
          command,
          (consumer, lease) => consumer.settle([this.settlement(command, lease)]),
          (job) => {
            if (command.how === "Delete") model.delete(job)
            else if (command.how === "Release") model.release(job, this.millis(command.delay), command.priority)
            else if (command.how === "Bury") model.bury(job, command.priority)
            else model.forgive(job)
          }
        )
      case "Touch":
        return this.useLease(command, (consumer, lease) => consumer.touch([lease]), (job) => model.touch(job))
      case "Kick":
        return Effect.map(
          inspector.kick(this.queues[command.queue]!, command.max),
          (kicked) => assert.strictEqual(kicked, model.kick(command.queue, command.max), "kicked")
        )
      case "KickJob":
        return this.onJob(command.job, ["buried", "delayed"], inspector.kickJob, (job) => model.forgive(job))
      case "DeleteJob":
        return this.onJob(command.job, ["ready", "delayed", "buried"], inspector.delete, (job) => model.delete(job))
      case "BuryJob":
        if (!this.takes) return Effect.void
        return this.onJob(
          command.job,
          ["ready", "delayed"],
          (id) => inspector.buryJob(id, "a test says so"),
          (job) => model.putAside(job)
        )
      case "MoveJob":
        if (!this.takes) return Effect.void
        return this.onJob(
          command.job,
          ["ready", "delayed", "buried"],
          (id) => inspector.moveJob(id, this.queues[command.queue]!),
          (job, id) => {
            const { priority, ttr } = job
            model.delete(job)
            model.put(id, { queue: command.queue, priority, ttr, delay: 0 })
            this.jobs.push(model.jobs.at(-1)!)
          }
        )
      case "Pause": {
        const time = this.millis(command.time)
        model.pausedUntil[command.queue] = model.now + time
        return inspector.pause(this.queues[command.queue]!, Duration.millis(time))
      }
      case "Resume":
        model.pausedUntil[command.queue] = 0
        return inspector.resume(this.queues[command.queue]!)
      case "Pass":
        return this.virtual
          ? Effect.map(TestClock.adjust(this.millis(command.time)), () => model.pass(this.millis(command.time)))
          : Effect.void
      case "Interrupt":
        return this.interrupt(command.consumer)
      case "Close":
        return this.close(command.consumer)
    }
  }

  /** Checks that exactly the model's waiters were served. */
  compareWaiting(served: ReadonlyArray<Served>) {
    return Effect.gen({ self: this }, function*() {
      yield* Effect.yieldNow
      for (const { consumer, deliveries } of served) {
        const exit = this.waiting.get(consumer)?.pollUnsafe()
        this.waiting.delete(consumer)
        if (exit === undefined) return assert.fail(`consumer ${consumer} should have been served`)
        this.received(consumer, yield* exit, deliveries)
      }
      for (const [consumer, fiber] of this.waiting) {
        assert.isUndefined(fiber.pollUnsafe(), `consumer ${consumer} should not have been served`)
      }
    })
  }

  compareQueue(queue: number) {
    return Effect.gen({ self: this }, function*() {
      const { model } = this
      const name = this.queues[queue]!
      const { idleWorkers, pausedFor, ...counts } = yield* this.inspector.statsQueue(name)
      const count = (state: ModelJob["state"]) => model.inState(queue, state).length
      assert.deepStrictEqual(counts, {
        queue: name,
        ready: count("ready"),
        delayed: count("delayed"),
        reserved: count("reserved"),
        buried: count("buried"),
        total: model.totals[queue]!
      })
      const expectedPause = Math.max(0, model.pausedUntil[queue]! - model.now)
      if (this.virtual) {
        const expected = model.waiting.filter(({ consumer }) => watches[consumer]!.includes(queue)).length
        assert.strictEqual(idleWorkers, expected, "idleWorkers")
        assert.strictEqual(Duration.toMillis(pausedFor), expectedPause, "pausedFor")
      } else assert.strictEqual(Duration.isZero(pausedFor), expectedPause === 0, "pausedFor")
      for (const state of ["ready", "delayed", "buried"] as const) {
        const next = Option.map(yield* this.inspector.peekNext(name, state), ({ id }) => id)
        assert.strictEqual(Option.getOrUndefined(next), model.inState(queue, state)[0]?.id, `next ${state}`)
      }
      if (this.lists) {
        for (const state of ["ready", "delayed", "reserved", "buried"] as const) {
          const listed = (yield* this.inspector.list(name, { state })).jobs.map(({ id }) => id)
          assert.deepStrictEqual(listed, model.inState(queue, state).map(({ id }) => id), `list ${state}`)
        }
      }
    })
  }

  compareJob(job: ModelJob) {
    return Effect.gen({ self: this }, function*() {
      const { attempt, abandoned, priority, state, timeLeft, ttr } = yield* this.inspector.statsJob(job.id)
      const expected = { abandoned: job.abandoned, priority: job.priority, state: job.state, ttr: job.ttr }
      assert.deepStrictEqual({ abandoned, priority, state, ttr: Duration.toMillis(ttr) }, expected, `job ${job.id}`)
      if (this.virtual || state === "reserved") assert.strictEqual(attempt, this.model.attempts(job), "attempt")
      if (this.virtual) assert.strictEqual(Duration.toMillis(timeLeft), this.model.timeLeft(job), "timeLeft")
    })
  }

  step(command: Command) {
    return Effect.gen({ self: this }, function*() {
      // A real clock runs on between two commands, so a job due later in reality is due later in the model.
      if (!this.virtual) this.model.now++
      const servedByTime = yield* this.execute(command)
      yield* this.compareWaiting([...servedByTime ?? [], ...this.model.serve()])
      for (let queue = 0; queue < queueCount; queue++) yield* this.compareQueue(queue)
      yield* Effect.forEach(this.model.jobs, (job) => this.compareJob(job), { concurrency: "unbounded", discard: true })
    })
  }
}

/** Registers the property for a broker. */
export const model = (name: string, options: ModelOptions): void => {
  layer(options.layer, { excludeTestServices: options.time === "real" })(name, (it) => {
    it.effect.prop(
      "gives the same answers as the model",
      { commands: Schema.Array(Command).check(Schema.isMaxLength(120)) },
      ({ commands }) =>
        Effect.gen(function*() {
          const comparison = new Comparison({ broker: yield* Broker, inspector: yield* Inspector }, options)
          for (let i = 0; i < watches.length; i++) yield* comparison.open(i)
          for (const command of commands) yield* comparison.step(command)
        }),
      { timeout: withManyCases, arbitrary: { runs: options.runs, size: 240, maxShrinks: 5000, replay: options.replay } }
    )
  })
}
