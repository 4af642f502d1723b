/**
 * A process that uses a file, for tests: `node child.ts ROLE PATH`.
 * It prints a line for each acknowledged operation.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { Broker, type Lease } from "../../../src/Broker.ts"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { isNotSettled } from "../../../src/worker/settle.ts"
import { text } from "../../conformance/Harness.ts"
import { request } from "./harness.ts"

const [role, path = ""] = process.argv.slice(2)

const say = (line: string) => Effect.sync(() => process.stdout.write(`${line}\n`))

/** Puts jobs forever, several at a time. */
const publish = Effect.gen(function*() {
  const broker = yield* Broker
  const put = (body: string) => Effect.flatMap(broker.put("q", request(body)), (id) => say(`put ${id}`))
  return yield* Effect.forever(Effect.all([put("a"), put("b"), put("c")], { concurrency: 3 }))
})

/** Works jobs forever. Prints each job before it deletes it, and again after. */
const work = Effect.gen(function*() {
  const broker = yield* Broker
  const consumer = yield* broker.consume(["q"])
  yield* say("ready")
  while (true) {
    const leases = yield* consumer.reserve(4)
    for (const lease of leases) yield* say(`run ${lease.id} ${text(lease)} ${process.hrtime.bigint()}`)
    let left: ReadonlyArray<Lease> = leases
    while (left.length > 0) {
      const results = yield* consumer.settle(left.map((lease) => ({ _tag: "Delete" as const, lease })))
      const again: Array<Lease> = []
      for (const [i, lease] of left.entries()) {
        const result = results[i]!
        // as a worker does: it repeats an operation that certainly did not happen
        if (Result.isFailure(result) && isNotSettled(result.failure)) again.push(lease)
        else yield* say(`${Result.isSuccess(result) ? "done" : "failed"} ${lease.id}`)
      }
      if (again.length > 0) yield* Effect.sleep("20 millis")
      left = again
    }
  }
})

/** Leases one job and holds it. */
const hold = Effect.gen(function*() {
  const consumer = yield* (yield* Broker).consume(["q"])
  const [lease] = yield* consumer.reserve(1)
  yield* say(`holds ${lease.id}`)
  return yield* Effect.never
})

/** Puts more than the log may have. */
const fill = Effect.gen(function*() {
  const broker = yield* Broker
  const requests = Array.from({ length: 100 }, () => request("x".repeat(60_000)))
  for (let i = 0; i < 8; i++) {
    for (const result of yield* broker.putAll("q", requests)) yield* Effect.fromResult(result)
  }
  yield* say("filled")
  return yield* Effect.never
})

/** Puts as many as it can on a queue that nobody works. */
const flood = Effect.gen(function*() {
  const broker = yield* Broker
  const requests = Array.from({ length: 500 }, () => request("x".repeat(200)))
  yield* broker.putAll("flood", requests)
  yield* say("flooding")
  return yield* Effect.all(Array.from({ length: 4 }, () => Effect.forever(broker.putAll("flood", requests))), {
    concurrency: 4
  })
})

const roles: Record<string, Effect.Effect<unknown, unknown, Broker | Scope.Scope>> = {
  publish,
  work,
  hold,
  fill,
  flood
}

NodeRuntime.runMain(
  Effect.scoped(roles[role!]!).pipe(
    Effect.tapCause((cause) => Effect.sync(() => console.error(String(cause)))),
    Effect.provide([
      SqliteBroker.layer({ path, durability: role === "fill" ? "normal" : "full" }),
      Logger.layer([])
    ])
  )
)
