/** Following workers: over real sockets, in folders of the tests' own. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs"
import { connect, createServer } from "node:net"
import { join } from "node:path"
import type { JobId } from "../../src/Broker.ts"
import type { Outcome } from "../../src/Outcome.ts"
import { Tail } from "../../src/tail/index.ts"
import { folder } from "../beanstalk/servers.ts"

const done: Outcome = {
  _tag: "Done",
  queue: "mail",
  jobId: "7" as JobId,
  job: "send",
  id: "a",
  attempt: 1,
  duration: 12,
  result: { secret: "of the handler" }
}
const { result: _, ...delivered } = done
const outcomes: ReadonlyArray<Outcome> = [
  done,
  {
    ...delivered,
    _tag: "Retried",
    delay: Duration.seconds(2),
    reason: "no route",
    failure: new Error(),
    cause: undefined
  },
  {
    ...delivered,
    _tag: "Buried",
    id: undefined,
    job: undefined,
    attempt: undefined,
    reason: "the body is not JSON",
    failure: undefined,
    cause: undefined
  },
  { ...delivered, _tag: "GivenBack" }
]

/** Offers one outcome again and again, until somebody who follows has seen one. */
const offerUntil = (outcome: Outcome, seen: Fiber.Fiber<unknown>) =>
  Tail.offer(outcome).pipe(
    Effect.repeat({ schedule: Schedule.spaced("20 millis"), until: () => seen.pollUnsafe() !== undefined })
  )

/** What a layer on this folder warns of while it is built. */
const warnings = (place: string) =>
  Effect.gen(function*() {
    const messages: Array<string> = []
    const logger = Logger.make(({ message }) => messages.push(String(message)))
    yield* Effect.provide(Tail.offer(done), Layer.provide(Tail.layerOptions({ folder: place }), Logger.layer([logger])))
    return messages
  })

describe("Tail", () => {
  it.live("whoever follows sees each outcome, without what the handler returned", () =>
    Effect.gen(function*() {
      const place = join(yield* folder, "run")
      const program = Effect.gen(function*() {
        const first = yield* Effect.forkChild(Stream.runHead(Tail.follow({ folder: place })))
        yield* offerUntil({ ...done, jobId: "ready" as JobId }, first)
        assert.deepStrictEqual(lstatSync(place).mode & 0o777, 0o700)

        const follow = Tail.follow({ folder: place, pid: process.pid }).pipe(
          Stream.filter((event) => event.jobId !== "ready"),
          Stream.take(outcomes.length),
          Stream.runCollect
        )
        const followers = yield* Effect.forEach([1, 2], () => Effect.forkChild(follow))
        const ready = yield* Effect.forkChild(
          Stream.runHead(Stream.filter(Tail.follow({ folder: place }), ({ jobId }) => jobId === "ready"))
        )
        yield* offerUntil({ ...done, jobId: "ready" as JobId }, ready)
        yield* Effect.sleep("50 millis")
        for (const outcome of outcomes) yield* Tail.offer(outcome)
        for (const follower of followers) {
          const events = Array.from(yield* Fiber.join(follower), ({ at, pid, ...event }) => {
            assert.isAbove(at, 1e12)
            assert.strictEqual(pid, process.pid)
            return event
          })
          const common = { queue: "mail", jobId: "7", duration: 12 }
          const known = { ...common, job: "send", id: "a", attempt: 1 }
          assert.deepStrictEqual(events, [
            { ...known, outcome: "Done" },
            { ...known, outcome: "Retried", reason: "no route", delay: 2000 },
            { ...common, outcome: "Buried", reason: "the body is not JSON" },
            { ...known, outcome: "GivenBack" }
          ])
        }
      })
      yield* Effect.provide(program, Tail.layerOptions({ folder: place }))
      assert.deepStrictEqual(readdirSync(place), [], "the socket is gone with its worker")
    }))

  it.live("a worker that starts later is seen from its first outcome to its last, however short it lives", () =>
    Effect.gen(function*() {
      const place = join(yield* folder, "run")
      const seen: Array<string> = []
      yield* Effect.forkScoped(
        Stream.runForEach(Tail.follow({ folder: place }), ({ jobId }) => Effect.sync(() => seen.push(jobId)))
      )
      yield* Effect.sleep("500 millis")
      // at every moment between two looks at the folder
      for (const worker of [1, 2, 3, 4]) {
        yield* Effect.gen(function*() {
          yield* Tail.offer({ ...done, jobId: `${worker} first` as JobId })
          yield* Effect.sleep("100 millis")
          yield* Tail.offer({ ...done, jobId: `${worker} last` as JobId })
        }).pipe(Effect.provide(Tail.layerOptions({ folder: place })))
        yield* Effect.sleep(`${20 * worker} millis`)
      }
      yield* Effect.sleep("50 millis")
      assert.deepStrictEqual(seen, [1, 2, 3, 4].flatMap((worker) => [`${worker} first`, `${worker} last`]))
    }))

  it.live("nothing is told twice when a worker ends that waits for somebody else who reads nothing", () =>
    Effect.gen(function*() {
      const place = join(yield* folder, "run")
      const seen: Array<string> = []
      yield* Effect.gen(function*() {
        yield* Effect.forkScoped(
          Stream.runForEach(Tail.follow({ folder: place }), ({ jobId }) => Effect.sync(() => seen.push(jobId)))
        )
        const slow = connect(join(place, `${process.pid}.sock`)).on("error", () => {})
        slow.pause()
        yield* Effect.addFinalizer(() => Effect.sync(() => slow.destroy()))
        yield* Effect.gen(function*() {
          yield* Effect.sleep("500 millis")
          const reason = "x".repeat(1000)
          for (let i = 1; i <= 1000; i++) {
            yield* Tail.offer({
              ...delivered,
              _tag: "Buried",
              jobId: String(i) as JobId,
              reason,
              failure: undefined,
              cause: undefined
            })
            if (i % 100 === 0) yield* Effect.sleep("5 millis")
          }
          yield* Effect.sleep("100 millis")
        })
      }).pipe(Effect.provide(Tail.layerOptions({ folder: place })))
      yield* Effect.sleep("500 millis")
      assert.strictEqual(new Set(seen).size, seen.length)
      assert.isAbove(seen.length, 900)
    }))

  it.live("what was over before somebody came to look is not told", () =>
    Effect.gen(function*() {
      const place = join(yield* folder, "run")
      yield* Effect.gen(function*() {
        yield* Tail.offer({ ...done, jobId: "old" as JobId })
        yield* Effect.sleep("1200 millis")
        const first = yield* Effect.forkChild(Stream.runHead(Tail.follow({ folder: place })))
        yield* offerUntil(done, first)
        assert.strictEqual(Option.getOrThrow(yield* Fiber.join(first)).jobId, done.jobId)
      }).pipe(Effect.provide(Tail.layerOptions({ folder: place })))
    }))

  it.live("tells who offers outcomes", () =>
    Effect.gen(function*() {
      const place = join(yield* folder, "run")
      assert.deepStrictEqual(yield* Tail.workers({ folder: place }), [])
      yield* Effect.gen(function*() {
        writeFileSync(join(place, "999999999.sock"), "")
        assert.deepStrictEqual(yield* Tail.workers({ folder: place }), [process.pid])
      }).pipe(Effect.provide(Tail.layerOptions({ folder: place })))
    }))

  it.live("follows nobody but the process that is asked for", () =>
    Effect.gen(function*() {
      const place = join(yield* folder, "run")
      yield* Effect.gen(function*() {
        const other = yield* Effect.forkChild(Stream.runHead(Tail.follow({ folder: place, pid: 1 })))
        const all = yield* Effect.forkChild(Stream.runHead(Tail.follow({ folder: place })))
        yield* offerUntil(done, all)
        assert.isUndefined(other.pollUnsafe())
      }).pipe(Effect.provide(Tail.layerOptions({ folder: place })))
    }))

  it.live("a socket that a dead process left is taken away", () =>
    Effect.gen(function*() {
      const place = yield* folder
      // no process has such a number
      const stale = join(place, "999999999.sock")
      writeFileSync(stale, "")
      const fiber = yield* Effect.forkChild(Stream.runDrain(Tail.follow({ folder: place })))
      yield* Effect.repeat(Effect.sync(() => existsSync(stale)), {
        until: (exists) => !exists,
        schedule: Schedule.spaced("5 millis")
      })
      yield* Fiber.interrupt(fiber)
    }))

  it.live("a folder that others may enter, or a link: nothing is offered there, and the worker works", () =>
    Effect.gen(function*() {
      const parent = yield* folder
      const open = join(parent, "open")
      mkdirSync(open)
      chmodSync(open, 0o755)
      assert.match((yield* warnings(open)).join(), /others may enter it/)
      assert.deepStrictEqual(readdirSync(open), [])
      const own = join(parent, "own")
      mkdirSync(own, { mode: 0o700 })
      symlinkSync(own, join(parent, "link"))
      assert.match((yield* warnings(join(parent, "link"))).join(), /belongs to somebody else/)
      assert.match((yield* warnings(join(own, "x".repeat(120)))).join(), /can't follow this worker/)
      assert.deepStrictEqual(yield* warnings(own), [])
    }))

  it.live("who doesn't read holds nobody up", () =>
    Effect.gen(function*() {
      const place = join(yield* folder, "run")
      yield* Effect.gen(function*() {
        const { connect } = yield* Effect.promise(() => import("node:net"))
        const socket = connect(join(place, `${process.pid}.sock`))
        socket.pause()
        yield* Effect.promise(() => new Promise((resolve) => socket.once("connect", resolve)))
        const reason = "x".repeat(1000)
        for (let i = 0; i < 20_000; i++) {
          yield* Tail.offer({ ...delivered, _tag: "Discarded", reason })
        }
        yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
      }).pipe(
        Effect.provide(Tail.layerOptions({ folder: place })),
        Effect.timeoutOrElse({ duration: "3 seconds", orElse: () => Effect.die("the worker does not come to its end") })
      )
    }))

  it.live("lines of another program are passed over", () =>
    Effect.gen(function*() {
      const place = yield* folder
      const line = { at: 1, pid: 2, outcome: "Done" as const, queue: "q", jobId: "3", duration: 4 }
      yield* Effect.acquireRelease(
        Effect.promise(() =>
          new Promise<ReturnType<typeof createServer>>((resolve) => {
            const server = createServer((socket) => socket.end(`hello\n{"at":1}\n${JSON.stringify(line)}\n`))
            server.listen(join(place, `${process.pid}.sock`), () => resolve(server))
          })
        ),
        (server) => Effect.promise(() => new Promise((resolve) => server.close(resolve)))
      )
      const event = yield* Stream.runHead(Tail.follow({ folder: place }))
      assert.deepInclude(event, { value: line })
    }))
})
