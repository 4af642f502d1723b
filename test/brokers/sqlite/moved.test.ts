/** A file that is moved, replaced or removed while it is open: it is noticed, told, and opened again; nothing is lost. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import {
  copyFileSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync
} from "node:fs"
import { basename, dirname, join } from "node:path"
import { Broker, type Lease } from "../../../src/Broker.ts"
import type { BrokerError } from "../../../src/BrokerError.ts"
import { open } from "../../../src/brokers/sqlite/file.ts"
import { Guard } from "../../../src/brokers/sqlite/guard.ts"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { Job, Publisher, Worker } from "../../../src/index.ts"
import { assertFails, done, reasonOf, take, text } from "../../conformance/Harness.ts"
import { folder } from "../../support/folder.ts"
import { child, file, request } from "./harness.ts"

/** What was logged, one line each. */
const logs = () => {
  const lines: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => lines.push(`${logLevel} ${String(message)}`))
  return { lines, layer: Logger.layer([logger]) }
}

/** Moves a file with all that lies beside it. */
const moveAll = (path: string, to: string) => {
  mkdirSync(to, { recursive: true })
  for (const name of readdirSync(dirname(path))) {
    if (name.startsWith(basename(path))) renameSync(join(dirname(path), name), join(to, name))
  }
}

const removeAll = (path: string) => {
  for (const end of ["", "-wal", "-shm"]) rmSync(`${path}${end}`, { force: true })
}

/** Puts a job as another program does, that makes the file where there is none. */
const putElsewhere = (path: string, body: string) =>
  Effect.scoped(Effect.flatMap(SqliteBroker.make({ path }), ({ broker }) => broker.put("q", request(body))))

/** The bodies of the jobs in a file, in whatever state. */
const bodiesIn = (path: string): ReadonlyArray<string> => {
  const database = open(path)
  const rows = database.prepare("SELECT small FROM job").all()
  database.close()
  return rows.map((row) => Buffer.from(row["small"] as Uint8Array).toString())
}

const waiting = (broker: Broker["Service"]) =>
  Effect.repeat(broker.idleWorkers("q"), { until: (waiting) => waiting === 1 })

/** Moves the file of a path away by a way of its own. Afterwards another program may make one there. */
const ways: ReadonlyArray<readonly [name: string, away: (path: string) => void]> = [
  ["it is moved with all that lies beside it", (path) => moveAll(path, join(dirname(path), "away"))],
  ["it is removed with all that lies beside it", removeAll],
  ["its folder is moved, and made anew", (path) => {
    renameSync(dirname(path), `${dirname(path)}.away`)
    mkdirSync(dirname(path))
  }]
]

describe("a file that is moved while it is open", () => {
  it.live.each(ways)(
    "%s: who waits is told within seconds, and gets what is put into the next",
    ([, away]) =>
      Effect.gen(function*() {
        const path = join(yield* folder, "place", "queue.db")
        mkdirSync(dirname(path))
        const { layer, lines } = logs()
        yield* Effect.gen(function*() {
          const { broker } = yield* SqliteBroker.make({ path, reconnectFor: "1 minute" })
          const consumer = yield* broker.consume(["q"])
          const waiter = yield* Effect.forkChild(take(consumer))
          yield* waiting(broker)
          yield* Effect.sync(() => away(path))
          yield* Effect.repeat(Effect.delay(Effect.sync(() => lines), 20), { until: (lines) => lines.length > 0 }).pipe(
            Effect.timeout("5 seconds")
          )
          assert.match(lines[0]!, /^Warn .*was removed or replaced while it was open/)
          assert.isFalse(existsSync(path))
          yield* assertFails(broker.put("q", request("lost")), "Unavailable")
          assert.isFalse(existsSync(path), "what was moved is not made anew")

          yield* putElsewhere(path, "next")
          const lease = yield* Effect.timeout(Fiber.join(waiter), "5 seconds")
          assert.strictEqual(text(lease), "next")
          yield* done(consumer, lease)
          assert.isTrue(lines.some((line) => /^Info .*open again/.test(line)), lines.join("\n"))
          yield* broker.put("q", request("more"))
          assert.include(bodiesIn(path), "more")
          assert.strictEqual(text(yield* take(consumer)), "more")
        }).pipe(Effect.provide(layer))
      })
  )

  it.live.each(ways)(
    "%s, and another stands there: a publisher that had it open puts into that one",
    ([, away]) =>
      Effect.gen(function*() {
        const path = join(yield* folder, "place", "queue.db")
        mkdirSync(dirname(path))
        const { broker } = yield* SqliteBroker.make({ path })
        yield* broker.put("q", request("before"))
        away(path)
        yield* putElsewhere(path, "next")
        yield* broker.put("q", request("after"))
        const results = yield* broker.putAll("q", [request("a"), request("b")])
        assert.isTrue(results.every(Result.isSuccess))
        assert.deepStrictEqual(bodiesIn(path), ["next", "after", "a", "b"])
      })
  )

  it.live("it is not there: every command fails, nothing was done, and it is said what to do", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker, inspector } = yield* SqliteBroker.make({ path })
      const id = yield* broker.put("q", request("a"))
      moveAll(path, join(dirname(path), "away"))
      const commands: ReadonlyArray<Effect.Effect<unknown, BrokerError>> = [
        broker.ping,
        broker.put("q", request("b")),
        Effect.flatMap(broker.putAll("q", [request("c")]), ([result]) => Effect.fromResult(result!)),
        inspector.stats,
        inspector.statsQueue("q"),
        inspector.statsJob(id),
        inspector.queues,
        inspector.peek(id),
        inspector.peekNext("q", "ready"),
        inspector.list("q", { state: "ready" }),
        inspector.kick("q", 1),
        inspector.kickJob(id),
        inspector.buryJob(id, "no"),
        inspector.moveJob(id, "r"),
        inspector.delete(id),
        broker.idleWorkers("q"),
        inspector.pause("q", 1000 as never),
        inspector.resume("q")
      ]
      for (const command of commands) {
        const reason = yield* reasonOf(command)
        if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
        assert.strictEqual(reason.fate, "NotSent")
        assert.include(reason.message, "removed or replaced")
      }
      assert.deepStrictEqual(bodiesIn(join(dirname(path), "away", basename(path))), ["a"])
      assert.deepStrictEqual(readdirSync(dirname(path)), ["away"])
    }))

  it.live("it does not come back: who waits fails after its time, and a worker with it; it may come back later", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker } = yield* SqliteBroker.make({ path, reconnectFor: "600 millis" })
      const consumer = yield* broker.consume(["q"])
      const waiter = yield* Effect.forkChild(reasonOf(consumer.reserve(1)))
      yield* waiting(broker)
      const began = performance.now()
      moveAll(path, join(dirname(path), "away"))
      const reason = yield* Fiber.join(waiter)
      if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
      assert.strictEqual(reason.fate, "NotSent")
      assert.isAtLeast(performance.now() - began, 500)
      // at once from then on
      yield* assertFails(
        Effect.orDie(Effect.timeout(Effect.result(consumer.reserve(1)), "1 second")).pipe(
          Effect.flatMap(Effect.fromResult)
        ),
        "Unavailable"
      )
      yield* putElsewhere(path, "late")
      const lease = yield* Effect.eventually(take(consumer)).pipe(Effect.timeout("10 seconds"))
      assert.strictEqual(text(lease), "late")
    }))

  it.live("it comes back: what is held is held still", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker } = yield* SqliteBroker.make({ path })
      const consumer = yield* broker.consume(["q"])
      yield* broker.put("q", request("a"))
      const lease = yield* take(consumer)
      const waiter = yield* Effect.forkChild(take(consumer))
      moveAll(path, join(dirname(path), "away"))
      yield* assertFails(broker.ping, "Unavailable")
      yield* assertFails(done(consumer, lease), "Unavailable")
      moveAll(join(dirname(path), "away", basename(path)), dirname(path))
      yield* done(consumer, lease)
      yield* broker.put("q", request("b"))
      assert.strictEqual(text(yield* Fiber.join(waiter)), "b")
    }))

  it.live("another stands there: what is held is lost, and its handler is told", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker } = yield* SqliteBroker.make({ path })
      const consumer = yield* broker.consume(["q"])
      yield* broker.put("q", request("a"))
      const lease = yield* take(consumer)
      const lost = yield* Effect.forkChild(consumer.leasesLost)
      moveAll(path, join(dirname(path), "away"))
      // has a job of the same number
      yield* putElsewhere(path, "next")
      yield* Effect.eventually(broker.ping)
      assert.deepStrictEqual(yield* Fiber.join(lost), [lease] as ReadonlyArray<Lease> as never)
      yield* assertFails(done(consumer, lease), "LeaseLost")
      assert.deepStrictEqual(bodiesIn(path), ["next"])
      assert.deepStrictEqual(bodiesIn(join(dirname(path), "away", basename(path))), ["a"])
    }))

  it.live("by a link that leads elsewhere from now on: what was held there is requeued", () =>
    Effect.gen(function*() {
      const place = yield* folder
      const [one, other, link] = ["one.db", "other.db", "link.db"].map((name) => join(place, name)) as [
        string,
        string,
        string
      ]
      yield* putElsewhere(one, "one")
      yield* putElsewhere(other, "other")
      symlinkSync(one, link)
      const { broker } = yield* SqliteBroker.make({ path: link })
      const consumer = yield* broker.consume(["q"])
      assert.strictEqual(text(yield* take(consumer)), "one")
      const waiter = yield* Effect.forkChild(take(consumer))
      yield* waiting(broker)
      unlinkSync(link)
      symlinkSync(other, link)
      assert.strictEqual(text(yield* Effect.timeout(Fiber.join(waiter), "5 seconds")), "other")
      const left = yield* SqliteBroker.make({ path: one })
      assert.include(yield* left.inspector.statsQueue("q"), { ready: 1, reserved: 0 })
      assert.isFalse(existsSync(`${link}-wal`))
    }))

  it.live("without its log: what comes in its place is not opened, because SQLite would mix both", () =>
    Effect.gen(function*() {
      const path = yield* file
      const away = `${path}.away`
      const { broker } = yield* SqliteBroker.make({ path })
      yield* broker.put("q", request("a"))
      renameSync(path, away)
      copyFileSync(away, path)
      const { message } = yield* Effect.flip(broker.ping)
      assert.include(message, `${path}-wal`)
      const size = statSync(`${path}-wal`).size
      assert.isAbove(size, 0)
      yield* assertFails(Effect.delay(broker.ping, "400 millis"), "Unavailable")
      assert.strictEqual(statSync(`${path}-wal`).size, size)
      renameSync(`${path}-wal`, `${away}-wal`)
      renameSync(`${path}-shm`, `${away}-shm`)
      yield* Effect.eventually(broker.put("q", request("b"))).pipe(Effect.timeout("5 seconds"))
      assert.deepStrictEqual(bodiesIn(away), ["a"])
    }))

  it.live("what stands there is of no use: it is said why", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { broker } = yield* SqliteBroker.make({ path })
      moveAll(path, join(dirname(path), "away"))
      copyFileSync(join(import.meta.dirname, "moved.test.ts"), path)
      const { message } = yield* Effect.flip(broker.ping)
      assert.include(message, "removed or replaced")
      assert.include(message, "not a SQLite database")
    }))

  it.live("a hard link is warned of", () =>
    Effect.gen(function*() {
      const path = yield* file
      yield* putElsewhere(path, "a")
      linkSync(path, `${path}.other`)
      const { layer, lines } = logs()
      yield* Effect.provide(SqliteBroker.make({ path }), layer)
      assert.match(lines.join("\n"), /^Warn .*hard link/)
    }))
})

describe("a file that loses what lies beside it", () => {
  for (
    const [name, remove] of [
      ["its log", (path: string) => unlinkSync(`${path}-wal`)],
      ["its shared memory", (path: string) => unlinkSync(`${path}-shm`)],
      ["both", (path: string) => {
        unlinkSync(`${path}-wal`)
        unlinkSync(`${path}-shm`)
      }],
      ["its log, which is moved", (path: string) => renameSync(`${path}-wal`, `${path}.away`)],
      ["its log, in the place of which there is another", (path: string) => {
        copyFileSync(`${path}-wal`, `${path}.copy`)
        renameSync(`${path}.copy`, `${path}-wal`)
      }]
    ] as const
  ) {
    for (const durability of ["full", "normal"] as const) {
      it.live(`${name} (${durability}): is opened again with all that was accepted, and what was held`, () =>
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
          // what is on the disk now is what another program finds
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
    "of several brokers (%s): the first brings what the log holds to the file, the others follow",
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
    "because it was moved without, and a link to it left (%s): all that was accepted is where it is now",
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

  it.live("because it was moved without, and others use it there by now: nothing is written to either", () =>
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

  it.live("in the place of which there is a link to it, which nobody can open: is made anew", () =>
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

  it.live("of several processes: each opens it again, and no job is lost or run twice", () =>
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
      ).pipe(Effect.timeout("10 seconds"))
      yield* publisher.kill
      const accepted = publisher.lines.filter((line) => line.startsWith("put ")).map((line) => line.slice(4))
      yield* Effect.repeat(
        Effect.delay(
          Effect.sync(() => new Set(worker.lines.flatMap((line) => /^done (\d+)/.exec(line)?.[1] ?? []))),
          20
        ),
        { until: (done) => accepted.every((id) => done.has(id)) }
      ).pipe(Effect.timeout("15 seconds"))
      assert.isAbove(worker.lines.length, worked)
      const runs = worker.lines.filter((line) => line.startsWith("run")).map((line) => line.split(" ")[1])
      assert.strictEqual(new Set(runs).size, runs.length)
    }))
})

describe("a folder that was left alone for a while", () => {
  /** A guard that takes its folder for left alone; the file system's time has gone on since. */
  const quiet = (path: string, place = path) =>
    Effect.gen(function*() {
      for (const end of ["", "-wal", "-shm"]) writeFileSync(`${place}${end}`, "")
      if (path !== place) symlinkSync(place, path)
      const guard = new Guard(path, place)
      for (let i = 0; i < 5; i++) assert.strictEqual(guard.inspect(), "Here")
      const probe = join(yield* folder, "probe")
      const { ctimeMs } = statSync(dirname(place))
      do {
        writeFileSync(probe, "")
        unlinkSync(probe)
      } while (lstatSync(dirname(probe)).ctimeMs <= ctimeMs)
      return guard
    })

  for (
    const [name, standing, change] of [
      ["nothing", "Here", () => {}],
      ["a file is made beside", "Here", (path: string) => writeFileSync(`${path}.other`, "")],
      ["it is moved", "Gone", (path: string) => renameSync(path, `${path}.away`)],
      ["its folder is moved", "Gone", (path: string) => renameSync(dirname(path), `${dirname(path)}.away`)],
      ["its folder is replaced by a link to another", "Gone", (path: string) => {
        renameSync(dirname(path), `${dirname(path)}.away`)
        mkdirSync(`${dirname(path)}.new`)
        symlinkSync(`${dirname(path)}.new`, dirname(path))
      }],
      ["its folder is replaced by a link to itself", "Here", (path: string) => {
        renameSync(dirname(path), `${dirname(path)}.away`)
        symlinkSync(`${dirname(path)}.away`, dirname(path))
      }],
      ["another is moved over it", "Other", (path: string) => {
        writeFileSync(join(dirname(path), "..", "other"), "")
        renameSync(join(dirname(path), "..", "other"), path)
      }],
      ["its log is removed", "Torn", (path: string) => unlinkSync(`${path}-wal`)],
      ["its shared memory is replaced", "Torn", (path: string) => {
        copyFileSync(`${path}-shm`, `${path}.copy`)
        renameSync(`${path}.copy`, `${path}-shm`)
      }],
      ["a link to it takes its place", "Torn", (path: string) => {
        renameSync(path, `${path}.away`)
        symlinkSync(`${path}.away`, path)
      }]
    ] as const
  ) {
    it.live(`${name}: ${standing}, at the next look`, () =>
      Effect.gen(function*() {
        const path = join(yield* folder, "place", "queue.db")
        mkdirSync(dirname(path))
        const guard = yield* quiet(path)
        change(path)
        for (let i = 0; i < 3; i++) assert.strictEqual(guard.look(), standing)
        assert.strictEqual(guard.inspect(), standing)
        assert.strictEqual(guard.look(), standing)
      }))
  }

  it.live("a link to it leads elsewhere, or nowhere: at the next look, though its own folder is as it was", () =>
    Effect.gen(function*() {
      const place = join(yield* folder, "queue.db")
      const path = join(yield* folder, "link.db")
      const guard = yield* quiet(path, place)
      const other = join(yield* folder, "other.db")
      writeFileSync(other, "")
      for (const [to, standing] of [[`${path}.none`, "Gone"], [other, "Other"], [place, "Here"]] as const) {
        unlinkSync(path)
        symlinkSync(to, path)
        assert.strictEqual(guard.look(), standing)
      }
    }))
})

describe("no job that was accepted is lost", () => {
  for (
    const [name, disturb] of [
      ["moved and made anew", (path: string, i: number) => moveAll(path, join(dirname(path), `away-${i}`))],
      ["log removed", (path: string) => unlinkSync(`${path}-wal`)],
      ["shared memory removed", (path: string) => unlinkSync(`${path}-shm`)],
      ["moved and put back", (path: string, i: number) => {
        const away = join(dirname(path), `away-${i}`)
        moveAll(path, away)
        moveAll(join(away, basename(path)), dirname(path))
      }]
    ] as const
  ) {
    it.live(`while jobs are put all the time: ${name}`, () =>
      Effect.gen(function*() {
        const path = yield* file
        const accepted: Array<string> = []
        yield* Effect.scoped(Effect.gen(function*() {
          const { broker } = yield* SqliteBroker.make({ path, durability: "normal" })
          let next = 0
          const put = Effect.suspend(() => {
            const body = String(next++)
            return Effect.matchEffect(broker.put("q", request(body)), {
              onFailure: () => Effect.sleep(1),
              onSuccess: () => Effect.sync(() => accepted.push(body))
            })
          })
          const publishers = yield* Effect.forkChild(
            Effect.all([Effect.forever(put), Effect.forever(put), Effect.forever(put)], { concurrency: 3 })
          )
          for (let i = 0; i < 8; i++) {
            const before = accepted.length
            yield* Effect.repeat(Effect.sleep(5), { while: () => accepted.length < before + 20 })
            disturb(path, i)
            if (!existsSync(path)) yield* putElsewhere(path, "made")
          }
          const before = accepted.length
          yield* Effect.repeat(Effect.sleep(5), { while: () => accepted.length < before + 20 })
          yield* Fiber.interrupt(publishers)
        }))
        const files = [
          path,
          ...readdirSync(dirname(path)).filter((name) => name.startsWith("away")).map((name) =>
            join(dirname(path), name, basename(path))
          )
        ]
        const found = files.filter((path) => existsSync(path)).flatMap(bodiesIn)
        const kept = new Set(found)
        assert.deepStrictEqual(accepted.filter((body) => !kept.has(body)), [])
        assert.strictEqual(
          found.filter((body) => body !== "made").length,
          new Set(found.filter((body) => body !== "made")).size
        )
      }), { retry: 0 })
  }
})

const One = Job.make("one", { payload: Schema.Struct({ n: Schema.Int }), queue: "q", ttr: "1 hour" })

describe("a worker whose file is moved", () => {
  it.live("works the jobs of the next, as a layer, and interrupts what it ran", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { layer, lines } = logs()
      const ran: Array<number> = []
      const [begun, interrupted, second] = [
        yield* Deferred.make<void>(),
        yield* Deferred.make<void>(),
        yield* Deferred.make<void>()
      ]
      const handler = Worker.handler(One, ({ n }) => {
        ran.push(n)
        return n === 1
          ? Effect.andThen(Deferred.succeed(begun, undefined), Effect.never).pipe(
            Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
          )
          : Deferred.succeed(second, undefined)
      })
      const service = Worker.layer({ concurrency: 4 }, handler).pipe(
        Layer.provideMerge(Layer.fresh(Publisher.layer)),
        Layer.provideMerge(SqliteBroker.layer({ path, reconnectFor: "1 minute" })),
        Layer.provideMerge(layer)
      )
      yield* Effect.gen(function*() {
        yield* Publisher.publish(One, { n: 1 })
        yield* Deferred.await(begun)
        moveAll(path, join(dirname(path), "away"))
        yield* Publisher.publish(One, { n: 2 }).pipe(
          Effect.provide(Publisher.layer.pipe(Layer.fresh, Layer.provide(Layer.fresh(SqliteBroker.layer({ path })))))
        )
        yield* Effect.timeout(Deferred.await(second), "5 seconds")
        yield* Effect.timeout(Deferred.await(interrupted), "5 seconds")
        assert.deepStrictEqual(ran, [1, 2])
        assert.isTrue(lines.some((line) => line.startsWith("Warn") && line.includes("removed or replaced")))
      }).pipe(Effect.provide(service))
    }))

  it.live("ends when it does not come back", () =>
    Effect.gen(function*() {
      const path = yield* file
      const exit = yield* Effect.gen(function*() {
        const worker = yield* Effect.forkChild(Worker.run({}, Worker.handler(One, () => Effect.void)))
        yield* waiting(yield* Broker)
        moveAll(path, join(dirname(path), "away"))
        return yield* Effect.timeout(Fiber.await(worker), "10 seconds")
      }).pipe(Effect.provide(SqliteBroker.layer({ path, reconnectFor: "300 millis" })))
      assert.isTrue(Exit.isFailure(exit))
    }))
})
