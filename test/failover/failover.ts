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
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { type Broker, type Lease, putRequest } from "../../src/Broker.ts"
import type { BrokerError } from "../../src/BrokerError.ts"
import * as PostgresBroker from "../../src/brokers/postgres/PostgresBroker.ts"
import { bytes, text } from "../conformance/Harness.ts"
import * as Disk from "../support/disk.ts"
import { eventually } from "../support/eventually.ts"
import { relay } from "../support/network.ts"
import { cluster } from "../support/postgres.ts"
import { replicated, standbyOf } from "../support/standby.ts"

/**
 * What becomes of the primary. A full disk of its data (`disk full`) leaves it running, and there is room again after a
 * while. A full disk of its write-ahead log (`log full`) ends it.
 */
export const faults = ["killed", "immediate", "fast", "terminated", "cut off", "disk full", "log full"] as const

export type Fault = typeof faults[number]

/** What has a disk of its own, which the fault fills. */
const fills: Partial<Record<Fault, "data" | "log">> = { "disk full": "data", "log full": "log" }

/** The faults that this machine lets us have. */
export const possible = faults.filter((fault) => !Disk.isMissing || fills[fault] === undefined)

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
  /** Failed, and certainly were not put. */
  readonly notPut = new Set<string>()
  /** Puts that found no room on the disk. */
  withoutRoom = 0
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
      if (reason._tag === "OutOfMemory") ledger.withoutRoom++
      else assert.strictEqual(reason._tag, "Unavailable", reason.message)
      if (reason._tag === "Unavailable" && reason.fate === "Unknown") ledger.unknown++
      else ledger.notPut.add(body)
      yield* Effect.sleep("20 millis")
    }
  }))
}

const isNotCarriedOut = ({ reason }: BrokerError): boolean =>
  reason._tag === "OutOfMemory" || reason._tag === "Unavailable" && reason.fate === "NotSent"

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
        left = left.filter((_, i) => {
          const result = results[i]!
          return Result.isFailure(result) && isNotCarriedOut(result.failure)
        })
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

/** A primary with a disk that can be filled, where the fault asks for it, its standby, and the way to the primary. */
const serversFor = Effect.fnUntraced(function*(fault: Fault) {
  const full = fills[fault]
  const disk = full === undefined ? undefined : yield* Disk.smallDisk(128)
  const disks = disk === undefined ? undefined : { [full!]: disk.path }
  const primary = yield* cluster({ settings: replicated, disks })
  return { disk, primary, standby: yield* standbyOf(primary), way: yield* relay(primary.port) }
})

/** Has the primary fail. Returns when work can go on. */
const strike = Effect.fnUntraced(function*(
  fault: Fault,
  { disk, primary, standby, way }: Effect.Success<ReturnType<typeof serversFor>>,
  ledger: Ledger
) {
  switch (fault) {
    case "terminated":
      yield* primary.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'backq'")
      return
    case "disk full":
      yield* disk!.fill
      yield* eventually("a put finds no room", () => ledger.withoutRoom > 10)
      yield* Effect.sleep(workFor)
      return yield* disk!.empty
    case "log full":
      yield* disk!.fill
      yield* Effect.repeat(Effect.exit(primary.psql("SELECT pg_switch_wal()")), { until: Exit.isFailure })
      break
    case "cut off":
      yield* way.hold
      break
    default:
      yield* Effect.forkChild(primary.stop(signals[fault]))
  }
  yield* Effect.sleep(missedAfter(fault))
  yield* standby.promote
})

/** One round. Returns how long after work could go on a put was answered and a job came, in milliseconds. */
export const round = Effect.fnUntraced(function*(fault: Fault) {
  const servers = yield* serversFor(fault)
  const url = `postgres://postgres@127.0.0.1:${servers.way.port},127.0.0.1:${servers.standby.port}/postgres`
  const publisher = yield* PostgresBroker.make({ url })
  const worker = yield* PostgresBroker.make({ url })
  const ledger = new Ledger()
  const fibers = yield* Effect.forEach(
    [...[1, 2, 3, 4].map((who) => publish(publisher.broker, ledger, who)), work(worker.broker, ledger)],
    (fiber) => Effect.forkChild(fiber)
  )
  yield* eventually("jobs are put and done", () => ledger.acknowledged.size > 20 && ledger.settled.size > 20)
  yield* Effect.sleep(workFor)

  yield* strike(fault, servers, ledger)
  const from = yield* Clock.currentTimeMillis
  yield* eventually("work goes on", () => ledger.putAt > from && ledger.receivedAt > from)
  const took = (yield* Clock.currentTimeMillis) - from
  yield* Effect.sleep(workFor)
  for (const fiber of fibers) assert.isUndefined(fiber.pollUnsafe(), "a publisher or the worker ended")

  yield* Effect.forEach(fibers.slice(0, -1), Fiber.interrupt)
  yield* Effect.timeout(
    Effect.repeat(Effect.sync(() => ledger.missing.length).pipe(Effect.tap(Effect.sleep("10 millis"))), {
      until: (missing) => missing === 0
    }),
    "20 seconds"
  ).pipe(Effect.ignore)
  assert.deepStrictEqual(ledger.missing, [], "jobs that were acknowledged are missing")
  assert.deepStrictEqual(ledger.repeated, [], "jobs came again after their settlement was answered")
  const wrong = Array.from(ledger.notPut).filter((body) => ledger.received.has(body))
  assert.deepStrictEqual(wrong, [], "jobs came whose put failed with NotSent or for lack of room")
  yield* Fiber.interrupt(fibers.at(-1)!)
  return {
    fault,
    took,
    acknowledged: ledger.acknowledged.size,
    unknown: ledger.unknown,
    withoutRoom: ledger.withoutRoom
  }
}, Effect.scoped)
