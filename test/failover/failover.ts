/**
 * The primary of PostgreSQL fails in the middle of work, and its synchronous standby is promoted.
 *
 * No acknowledged job is lost: each job whose put was acknowledged reaches
 * the worker, and none comes again after its settlement was answered. Work goes
 * on by itself, and how long after the promotion is measured.
 */
import { assert } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { type Broker, type Lease, putRequest } from "../../src/Broker.ts"
import * as PostgresBroker from "../../src/brokers/postgres/PostgresBroker.ts"
import { bytes, text } from "../conformance/Harness.ts"
import { relay } from "../support/network.ts"
import { cluster } from "../support/postgres.ts"
import { replicated, standbyOf } from "../support/standby.ts"

/** What becomes of the primary. */
export const faults = ["killed", "immediate", "fast", "terminated", "cut off"] as const

export type Fault = typeof faults[number]

const signals = { killed: "SIGKILL", immediate: "SIGQUIT", fast: "SIGINT" } as const

/** Milliseconds until somebody promotes the standby. Who is cut off takes some seconds to be missed. */
const missedAfter = (fault: Fault): number => fault === "cut off" ? 3000 : 300

/** How long work goes on before and after. */
const workFor = "700 millis"

/** The observed jobs. */
class Ledger {
  readonly acknowledged = new Set<string>()
  readonly received = new Set<string>()
  readonly settled = new Set<string>()
  /** Came again after its settlement was answered. */
  readonly repeated: Array<string> = []
  unknown = 0
  /** When a put was answered last, and a job came last. */
  putAt = 0
  receivedAt = 0

  came(body: string, now: number): void {
    if (this.settled.has(body)) this.repeated.push(body)
    this.received.add(body)
    this.receivedAt = now
  }

  get missing(): ReadonlyArray<string> {
    return Array.from(this.acknowledged).filter((body) => !this.received.has(body))
  }
}

const publish = (broker: Broker["Service"], ledger: Ledger, who: number) => {
  let count = 0
  return Effect.forever(Effect.gen(function*() {
    const body = `${who}-${count++}`
    const put = yield* Effect.result(broker.put("q", Result.getOrThrow(putRequest(bytes(body), { ttr: "1 hour" }))))
    if (Result.isSuccess(put)) {
      ledger.acknowledged.add(body)
      ledger.putAt = yield* Clock.currentTimeMillis
      yield* Effect.sleep("2 millis")
    } else {
      const { reason } = put.failure
      assert.strictEqual(reason._tag, "Unavailable", reason.message)
      if (reason._tag === "Unavailable" && reason.fate === "Unknown") ledger.unknown++
      yield* Effect.sleep("20 millis")
    }
  }))
}

const work = (broker: Broker["Service"], ledger: Ledger) =>
  Effect.scoped(Effect.gen(function*() {
    const consumer = yield* broker.consume(["q"])
    const settle = Effect.fnUntraced(function*(leases: ReadonlyArray<Lease>) {
      let left = leases
      while (left.length > 0) {
        const results = yield* consumer.settle(left.map((lease) => ({ _tag: "Delete", lease })))
        results.forEach((result, i) => {
          if (Result.isSuccess(result)) ledger.settled.add(text(left[i]!))
        })
        const unsent = left.filter((_, i) => {
          const result = results[i]!
          return Result.isFailure(result) && result.failure.reason._tag === "Unavailable"
            && result.failure.reason.fate === "NotSent"
        })
        left = unsent
        if (left.length > 0) yield* Effect.sleep("20 millis")
      }
    })
    return yield* Effect.forever(Effect.gen(function*() {
      const leases = yield* consumer.reserve(20)
      const now = yield* Clock.currentTimeMillis
      for (const lease of leases) ledger.came(text(lease), now)
      yield* settle(leases)
    }))
  }))

/** One round. Returns how long after the promotion a put was answered and a job came, in milliseconds. */
export const round = Effect.fnUntraced(function*(fault: Fault) {
  const primary = yield* cluster({ settings: replicated })
  const standby = yield* standbyOf(primary)
  const way = yield* relay(primary.port)
  const url = `postgres://postgres@127.0.0.1:${way.port},127.0.0.1:${standby.port}/postgres`
  const publisher = yield* PostgresBroker.make({ url })
  const worker = yield* PostgresBroker.make({ url })
  const ledger = new Ledger()
  const fibers = yield* Effect.forEach(
    [...[1, 2, 3, 4].map((who) => publish(publisher.broker, ledger, who)), work(worker.broker, ledger)],
    (fiber) => Effect.forkChild(fiber)
  )
  yield* Effect.sleep(workFor)
  assert.isAbove(ledger.acknowledged.size, 0)

  if (fault === "terminated") {
    yield* primary.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'backq'")
  } else {
    if (fault === "cut off") yield* way.hold
    else yield* Effect.forkChild(primary.stop(signals[fault]))
    yield* Effect.sleep(missedAfter(fault))
    yield* standby.promote
  }
  const promotedAt = yield* Clock.currentTimeMillis
  const isBack = Effect.sync(() => ledger.putAt > promotedAt && ledger.receivedAt > promotedAt)
  yield* Effect.timeout(
    Effect.repeat(Effect.tap(isBack, Effect.sleep("1 millis")), { until: (isBack) => isBack }),
    "20 seconds"
  )
  const took = (yield* Clock.currentTimeMillis) - promotedAt
  yield* Effect.sleep(workFor)

  yield* Effect.forEach(fibers.slice(0, -1), Fiber.interrupt)
  yield* Effect.timeout(
    Effect.repeat(Effect.sync(() => ledger.missing.length).pipe(Effect.tap(Effect.sleep("10 millis"))), {
      until: (missing) => missing === 0
    }),
    "20 seconds"
  ).pipe(Effect.ignore)
  assert.deepStrictEqual(ledger.missing, [], "jobs that were acknowledged are missing")
  assert.deepStrictEqual(ledger.repeated, [], "jobs came again after their settlement was answered")
  yield* Fiber.interrupt(fibers.at(-1)!)
  return { fault, took, acknowledged: ledger.acknowledged.size, unknown: ledger.unknown }
}, Effect.scoped)
