/** A file that loses what lies beside it: no job is lost. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { copyFileSync, lstatSync, mkdirSync, renameSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { done, take, text } from "../../conformance/Harness.ts"
import { allow, withPrograms } from "../../support/limits.ts"
import { child, file, request } from "./harness.ts"
import { bodiesIn, logs } from "./moves.ts"

allow(withPrograms)

describe("a file that loses its log or its shared memory", () => {
  for (
    const [name, remove] of [
      ["its log", (path: string) => unlinkSync(`${path}-wal`)],
      ["its shared memory", (path: string) => unlinkSync(`${path}-shm`)],
      ["both", (path: string) => {
        unlinkSync(`${path}-wal`)
        unlinkSync(`${path}-shm`)
      }],
      ["its log, which is moved", (path: string) => renameSync(`${path}-wal`, `${path}.away`)],
      ["its log, which is replaced by another", (path: string) => {
        copyFileSync(`${path}-wal`, `${path}.copy`)
        renameSync(`${path}.copy`, `${path}-wal`)
      }]
    ] as const
  ) {
    for (const durability of ["full", "normal"] as const) {
      it.live(`${name} (${durability}): is opened again with all accepted jobs and all leases`, () =>
        Effect.gen(function*() {
          const path = yield* file
          const { layer, lines } = logs()
          const { broker } = yield* Effect.provide(SqliteBroker.make({ path, durability }), layer)
          const consumer = yield* broker.consume(["q"])
          yield* broker.put("q", request("a"))
          yield* broker.put("q", request("b"))
          const lease = yield* take(consumer)
          remove(path)
          yield* broker.put("q", request("c"))
          yield* done(consumer, lease)
          assert.match(lines.join("\n"), /^Warn .*-wal or -shm was removed or replaced/)
          // another program finds exactly the content of the disk
          assert.deepStrictEqual(bodiesIn(path), ["b", "c"])
          const other = yield* SqliteBroker.make({ path })
          assert.include(yield* other.inspector.statsQueue("q"), { ready: 2, reserved: 0, total: 3 })
          const held = yield* take(consumer)
          assert.strictEqual(text(held), "b")
          assert.include(yield* other.inspector.statsQueue("q"), { ready: 1, reserved: 1 })
          yield* done(consumer, held)
        }))
    }
  }

  it.live.each(["full", "normal"] as const)(
    "of several brokers (%s): the first copies the log into the file, the others follow",
    (durability) =>
      Effect.gen(function*() {
        const path = yield* file
        const brokers = yield* Effect.all(Array.from({ length: 3 }, () => SqliteBroker.make({ path, durability })))
        for (const [i, { broker }] of brokers.entries()) yield* broker.put("q", request(`before ${i}`))
        unlinkSync(`${path}-wal`)
        for (const [i, { broker }] of brokers.entries()) {
          yield* broker.put("q", request(`after ${i}`))
          yield* broker.put("q", request(`more ${i}`))
        }
        for (const { inspector } of brokers) assert.include(yield* inspector.statsQueue("q"), { ready: 9, total: 9 })
        assert.strictEqual(new Set(bodiesIn(path)).size, 9)
      })
  )

  /** The file alone goes to another folder, and a link to it stays; its log and its shared memory stay where they were. */
  const moveAndLink = (path: string) => {
    const to = join(dirname(path), "new", basename(path))
    mkdirSync(dirname(to))
    renameSync(path, to)
    symlinkSync(to, path)
    return to
  }

  it.live.each(["full", "normal"] as const)(
    "because it was moved without them, and a link to it left (%s): all accepted jobs are in the file",
    (durability) =>
      Effect.gen(function*() {
        const path = yield* file
        const { layer, lines } = logs()
        const brokers = yield* Effect.provide(
          Effect.all(Array.from({ length: 2 }, () => SqliteBroker.make({ path, durability }))),
          layer
        )
        const consumer = yield* brokers[0]!.broker.consume(["q"])
        for (const [i, { broker }] of brokers.entries()) yield* broker.put("q", request(`before ${i}`))
        const lease = yield* take(consumer)
        const to = moveAndLink(path)
        for (const [i, { broker }] of brokers.entries()) {
          yield* Effect.eventually(broker.put("q", request(`after ${i}`))).pipe(Effect.timeout("5 seconds"))
        }
        assert.match(lines.join("\n"), /^Warn .*-wal or -shm/)
        yield* done(consumer, lease)
        assert.deepStrictEqual(bodiesIn(to).toSorted(), ["after 0", "after 1", "before 1"])
        const other = yield* SqliteBroker.make({ path })
        assert.include(yield* other.inspector.statsQueue("q"), { ready: 3, reserved: 0, total: 4 })
      })
  )

  it.live("because it was moved without them, and others now use it: nothing is written to either", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker } = yield* SqliteBroker.make({ path })
      yield* broker.put("q", request("a"))
      const to = moveAndLink(path)
      writeFileSync(`${to}-shm`, "")
      const { message } = yield* Effect.flip(broker.ping)
      assert.include(message, "end all programs")
      unlinkSync(`${to}-shm`)
      yield* Effect.eventually(broker.put("q", request("b"))).pipe(Effect.timeout("5 seconds"))
      assert.deepStrictEqual(bodiesIn(to), ["a", "b"])
    }))

  it.live("and has a link that leads to itself instead: creates the part again", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker } = yield* SqliteBroker.make({ path })
      yield* broker.put("q", request("a"))
      renameSync(`${path}-wal`, `${path}.away`)
      symlinkSync(`${path}.away`, `${path}-wal`)
      yield* Effect.eventually(broker.put("q", request("b"))).pipe(Effect.timeout("5 seconds"))
      assert.deepStrictEqual(bodiesIn(path), ["a", "b"])
      assert.isTrue(lstatSync(`${path}-wal`).isFile())
    }))

  it.live("of several processes: each opens it again, and no job is lost or runs twice", () =>
    Effect.gen(function*() {
      const path = yield* file
      const publisher = yield* child("publish", path)
      yield* publisher.until((line) => line.startsWith("put"))
      const worker = yield* child("work", path)
      yield* worker.until((line) => line.startsWith("done"))
      yield* Effect.sync(() => unlinkSync(`${path}-wal`))
      const put = publisher.lines.length
      const worked = worker.lines.length
      // the publisher ends with its first failure; the worker goes on
      yield* Effect.race(
        Effect.repeat(Effect.delay(Effect.sync(() => publisher.lines.length), 20), { until: (now) => now > put + 100 }),
        Effect.repeat(Effect.delay(Effect.sync(() => publisher.complaints()), 20), { until: (text) => text !== "" })
      )
      yield* publisher.kill
      const accepted = publisher.lines.filter((line) => line.startsWith("put ")).map((line) => line.slice(4))
      yield* Effect.repeat(
        Effect.delay(
          Effect.sync(() => new Set(worker.lines.flatMap((line) => /^done (\d+)/.exec(line)?.[1] ?? []))),
          20
        ),
        { until: (done) => accepted.every((id) => done.has(id)) }
      )
      assert.isAbove(worker.lines.length, worked)
      const runs = worker.lines.filter((line) => line.startsWith("run")).map((line) => line.split(" ")[1])
      assert.strictEqual(new Set(runs).size, runs.length)
    }))
})
