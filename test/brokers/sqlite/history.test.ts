/** Finished jobs that are kept for some time. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { DatabaseSync } from "node:sqlite"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { assertFails, bury, done, take, texts } from "../../conformance/Harness.ts"
import { assertKept, finishTwo, listDone } from "../../conformance/History.ts"
import { allow, withFiles } from "../../support/limits.ts"
import { file, request } from "./harness.ts"

allow(withFiles)

/** Jobs of the history, whether or not they can be listed. */
const rowsIn = (path: string) => {
  const database = new DatabaseSync(path, { readOnly: true })
  const count = database.prepare("SELECT count(*) AS jobs FROM done").get()?.["jobs"]
  database.close()
  return count
}

describe("history", () => {
  it.live("keeps finished jobs with their figures, the latest first, across a restart", () =>
    Effect.gen(function*() {
      const path = yield* file
      const before = Date.now()
      const ids = yield* Effect.scoped(Effect.gen(function*() {
        const services = yield* SqliteBroker.make({ path, history: "1 hour" })
        const ids = yield* finishTwo(services)
        yield* assertFails(services.inspector.statsQueue("other"), "NotFound")
        return ids
      }))
      const { inspector } = yield* SqliteBroker.make({ path })
      yield* assertKept(inspector, ids, before)
    }))

  it.live("pages show each finished job once, also while others finish", () =>
    Effect.gen(function*() {
      const { broker, inspector } = yield* SqliteBroker.make({
        path: yield* file,
        history: "1 hour",
        durability: "normal"
      })
      const consumer = yield* broker.consume(["q"])
      const finish = (body: string) =>
        Effect.andThen(broker.put("q", request(body)), Effect.flatMap(take(consumer), (lease) => done(consumer, lease)))
      for (let i = 0; i < 7; i++) yield* finish(String(i))
      const expected = ["6", "5", "4", "3", "2", "1", "0"]
      for (const limit of [2, 7, 8]) assert.deepStrictEqual(texts(yield* listDone(inspector, limit)), expected)
      assert.deepStrictEqual(texts(yield* listDone(inspector, 2, finish("later"))), expected)
    }))

  it.live("keeps only finished jobs: no deleted, lost or buried ones", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker, inspector } = yield* SqliteBroker.make({ path, history: "1 hour" })
      const consumer = yield* broker.consume(["q"])
      yield* inspector.delete(yield* broker.put("q", request("deleted")))
      yield* broker.put("q", request("buried"))
      yield* bury(consumer, yield* take(consumer))
      yield* broker.put("q", request("late", { ttr: "1 millis" }))
      const late = yield* take(consumer)
      yield* Effect.repeat(inspector.statsJob(late.id), { until: ({ state }) => state === "ready" })
      yield* assertFails(done(consumer, late), "LeaseLost")
      assert.deepStrictEqual(yield* listDone(inspector, 10), [])
    }))

  it.live("can keep jobs forever", () =>
    Effect.gen(function*() {
      const { broker, inspector } = yield* SqliteBroker.make({ path: yield* file, history: Duration.infinity })
      const consumer = yield* broker.consume(["q"])
      yield* broker.put("q", request("a"))
      yield* done(consumer, yield* take(consumer))
      assert.deepStrictEqual(texts(yield* listDone(inspector, 10)), ["a"])
    }))

  it.live("is off by default", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker } = yield* SqliteBroker.make({ path })
      const consumer = yield* broker.consume(["q"])
      yield* broker.put("q", request("a"))
      yield* done(consumer, yield* take(consumer))
      assert.strictEqual(rowsIn(path), 0)
    }))

  it.live("removes expired jobs while idle, even in a process without history", () =>
    Effect.gen(function*() {
      const path = yield* file
      const longer = yield* SqliteBroker.make({ path, history: "1 hour", durability: "normal" })
      yield* Effect.scoped(Effect.gen(function*() {
        const { broker } = yield* SqliteBroker.make({ path, history: "300 millis", durability: "normal" })
        const consumer = yield* broker.consume(["q"])
        yield* broker.putAll("q", Array.from({ length: 900 }, (_, i) => request(String(i))))
        const leases = [...(yield* consumer.reserve(500)), ...(yield* consumer.reserve(400))]
        yield* consumer.settle(leases.map((lease) => ({ _tag: "Delete" as const, lease })))
      }))
      const consumer = yield* longer.broker.consume(["q"])
      yield* longer.broker.put("q", request("kept"))
      yield* done(consumer, yield* take(consumer))
      yield* Effect.repeat(Effect.delay(Effect.sync(() => rowsIn(path)), "20 millis"), { until: (rows) => rows === 1 })
      assert.deepStrictEqual(texts(yield* listDone(longer.inspector, 10)), ["kept"])
    }))
})
