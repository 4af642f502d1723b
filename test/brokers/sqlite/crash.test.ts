/**
 * Workers and publishers on one file die by `kill -9` at random moments, and
 * every job is accounted for. `BACKQ_KILL_ROUNDS=200 vitest run
 * test/brokers/sqlite/crash.test.ts` kills for a few minutes.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import { DatabaseSync } from "node:sqlite"
import * as Liveness from "../../../src/brokers/sqlite/liveness.ts"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import * as Ledger from "../../kills/ledger.ts"
import { allow, withPrograms } from "../../support/limits.ts"
import { type Child, child, file, serveConcurrency } from "./harness.ts"

allow(withPrograms)

const noProc = Liveness.self().started === null
const rounds = Number(process.env["BACKQ_KILL_ROUNDS"] ?? 5)
/** What one publisher has under way at most. */
const inFlight = 10

interface Running {
  readonly role: Ledger.Role
  readonly scope: Scope.Closeable
  readonly child: Child
}

const start = Effect.fnUntraced(function*(role: Ledger.Role, path: string) {
  const scope = yield* Scope.fork(yield* Scope.Scope)
  const started = yield* Scope.provide(child(role, path), scope)
  yield* started.until((line) => line === "ready")
  const running: Running = { role, scope, child: started }
  return running
})

const kill = ({ child, role, scope }: Running, ledger: ReturnType<typeof Ledger.open>) =>
  Effect.gen(function*() {
    yield* Effect.flatMap(Random.nextBetween(0, 120), (millis) => Effect.sleep(millis))
    ledger.writeKill(role, child.pid)
    yield* Scope.close(scope, Exit.void)
    assert.strictEqual(child.complaints(), "")
  })

const integrity = (path: string) => {
  const database = new DatabaseSync(path)
  const result = database.prepare("PRAGMA integrity_check").get()?.["integrity_check"]
  database.close()
  return result
}

const jobsIn = (path: string) => {
  const database = new DatabaseSync(path)
  const rows = database.prepare("SELECT id, state FROM job").all()
  database.close()
  return new Map(rows.map((row) => [String(row["id"]), row["state"] === 3 ? "buried" : "waiting"] as const))
}

describe.skipIf(noProc)("kill -9", () => {
  it.live(
    `${rounds} rounds: every job is done, buried or waiting, and runs once at a time and never after it was done`,
    () =>
      Effect.gen(function*() {
        const path = yield* file
        const ledger = Ledger.open(path)
        let running: ReadonlyArray<Running> = yield* Effect.forEach(
          ["feed", "feed", "serve", "serve"] as const,
          (role) => start(role, path),
          { concurrency: 4 }
        )
        for (let round = 0; round < rounds; round++) {
          // One of each most of the time, so that the others find the dead; all of them once in a while.
          const first = yield* Random.nextIntBetween(0, 1)
          const isVictim = (i: number) => round % 5 === 4 || i === first || i === 2 + first
          running = yield* Effect.forEach(
            running,
            (one, i) => isVictim(i) ? Effect.andThen(kill(one, ledger), start(one.role, path)) : Effect.succeed(one),
            { concurrency: 4 }
          )
          assert.strictEqual(integrity(path), "ok")
        }
        yield* Effect.forEach(running, (one) => one.role === "feed" ? kill(one, ledger) : Effect.void)
        const { inspector } = yield* SqliteBroker.make({ path })
        yield* Effect.repeat(Effect.delay(inspector.stats, "50 millis"), {
          until: ({ delayed, ready, reserved }) => ready + delayed + reserved === 0
        })
        yield* Effect.forEach(running, (one) => one.role === "serve" ? kill(one, ledger) : Effect.void)

        const { violations, ...counts } = Ledger.audit(Ledger.read(path), jobsIn(path))
        assert.deepStrictEqual(violations.slice(0, 20), [], `${violations.length} violations`)
        assert.isAbove(counts.done, rounds)
        assert.isAbove(counts.buried, 0)
        assert.strictEqual(counts.waiting, 0)
        assert.isAtMost(counts.unanswered, counts.kills.serve * serveConcurrency)
        assert.isAtMost(counts.unprinted, counts.kills.feed * inFlight)
        assert.strictEqual(integrity(path), "ok")
        if (rounds > 5) yield* Effect.logInfo(`${rounds} rounds`, counts)
      }),
    60_000 + rounds * 10_000
  )
})
