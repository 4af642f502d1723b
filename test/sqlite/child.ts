/**
 * A process that uses a file, for tests: `node child.ts ROLE PATH`.
 * It prints a line for each thing that it was told is done.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Broker } from "../../src/Broker.ts"
import * as SqliteBroker from "../../src/sqlite/SqliteBroker.ts"
import { text } from "../conformance/Harness.ts"
import { request } from "./harness.ts"

const [role, path = ""] = process.argv.slice(2)

const say = (line: string) => Effect.sync(() => process.stdout.write(`${line}\n`))

/** Puts jobs for ever, several at a time. */
const publish = Effect.gen(function*() {
  const broker = yield* Broker
  const put = (body: string) => Effect.flatMap(broker.put("q", request(body)), (id) => say(`put ${id}`))
  return yield* Effect.forever(Effect.all([put("a"), put("b"), put("c")], { concurrency: 3 }))
})

/** Works jobs for ever. Says which it runs before it deletes them, and which are deleted after. */
const work = Effect.gen(function*() {
  const broker = yield* Broker
  const consumer = yield* broker.consume(["q"])
  yield* say("ready")
  while (true) {
    const leases = yield* consumer.reserve(4)
    for (const lease of leases) yield* say(`run ${lease.id} ${text(lease)} ${process.hrtime.bigint()}`)
    const results = yield* consumer.settle(leases.map((lease) => ({ _tag: "Delete" as const, lease })))
    for (const [i, lease] of leases.entries()) {
      yield* say(`${results[i]!._tag === "Success" ? "done" : "failed"} ${lease.id}`)
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

const roles: Record<string, Effect.Effect<unknown, unknown, Broker | Scope.Scope>> = {
  publish,
  work,
  hold
}

NodeRuntime.runMain(
  Effect.scoped(roles[role!]!).pipe(Effect.provide(SqliteBroker.layer({ path })))
)
