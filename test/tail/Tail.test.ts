/** Following workers: over real sockets, in folders of the tests' own. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { spawn } from "node:child_process"
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { connect, createServer, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { JobId } from "../../src/Broker.ts"
import type { Outcome } from "../../src/Outcome.ts"
import * as Folder from "../../src/tail/folder.ts"
import { Tail } from "../../src/tail/index.ts"
import { maxLineBytes } from "../../src/tail/lines.ts"
import { eventually } from "../support/eventually.ts"
import { folder } from "../support/folder.ts"
import { allow, withFiles } from "../support/limits.ts"

allow(withFiles)

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
  { ...delivered, _tag: "Requeued" }
]

/** Offers one outcome again and again, until a follower has seen one. */
const offerUntil = (outcome: Outcome, seen: Fiber.Fiber<unknown, unknown>) =>
  Tail.offer(outcome).pipe(
    Effect.repeat({ schedule: Schedule.spaced("20 millis"), until: () => seen.pollUnsafe() !== undefined })
  )

/** Waits until all followers have read the folder once more: they found another worker there. */
const looked = (place: string) =>
  Effect.scoped(Effect.gen(function*() {
    const other = yield* Effect.acquireRelease(
      Effect.sync(() => spawn("sleep", ["60"])),
      (child) => Effect.sync(() => child.kill())
    )
    const found = yield* Deferred.make<void>()
    yield* server(join(place, `${other.pid}.sock`), () => Deferred.doneUnsafe(found, Effect.void))
    yield* Deferred.await(found)
  }))

/** A clock that can be set. */
const settable = () => {
  let offset = 0
  const clock = Clock.Clock.defaultValue()
  return {
    set: (millis: number) => {
      offset = millis
    },
    layer: Layer.succeed(Clock.Clock, {
      ...clock,
      currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + offset,
      currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + offset)
    })
  }
}

/** A clock for a worker that waits only for its followers at its end: the wait ends when a condition holds. */
const waitsUntil = (holds: () => boolean) => {
  const clock = Clock.Clock.defaultValue()
  const sleep = () => Effect.provideService(eventually("the followers have read", holds), Clock.Clock, clock)
  return Layer.succeed(Clock.Clock, Object.assign(Object.create(clock), { sleep }))
}

/** Waits until a number no longer grows. */
const settled = (read: () => number) =>
  Effect.repeat(
    Effect.gen(function*() {
      const before = read()
      yield* Effect.sleep("50 millis")
      return read() === before
    }),
    { until: (isSame) => isSame }
  )

/** What a layer on this folder warns of while it is built. */
const warnings = (place: string) =>
  Effect.gen(function*() {
    const messages: Array<string> = []
    const logger = Logger.make(({ message }) => messages.push(String(message)))
    yield* Effect.provide(Tail.offer(done), Layer.provide(Tail.layerOptions({ folder: place }), Logger.layer([logger])))
    return messages
  })

/** A program that is no worker, at a socket. */
const server = (path: string, onConnection: (socket: Socket) => void) => {
  const sockets: Array<Socket> = []
  return Effect.acquireRelease(
    Effect.callback<ReturnType<typeof createServer>>((resume) => {
      const server = createServer((socket) => {
        sockets.push(socket.on("error", () => {}))
        onConnection(socket)
      })
      server.listen(path, () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        for (const socket of sockets) socket.destroy()
      })
  )
}

describe("Tail", () => {
  it.live("a follower sees each outcome without the handler's result", () =>
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
            { ...known, outcome: "Requeued" }
          ])
        }
      })
      yield* Effect.provide(program, Tail.layerOptions({ folder: place }))
      assert.deepStrictEqual(readdirSync(place), [], "the socket is gone with its worker")
    }))

  it.live("a follower sees every outcome of a worker that starts later, however short it lives", () =>
    Effect.gen(function*() {
      const place = join(yield* folder, "run")
      const seen: Array<string> = []
      yield* Effect.forkScoped(
        Stream.runForEach(Tail.follow({ folder: place }), ({ jobId }) => Effect.sync(() => seen.push(jobId)))
      )
      mkdirSync(place, { mode: 0o700 })
      yield* looked(place)
      for (const worker of [1, 2, 3, 4]) {
        const isSeen = Effect.repeat(Effect.sleep("5 millis"), { until: () => seen.includes(`${worker} first`) })
        yield* Effect.gen(function*() {
          yield* Tail.offer({ ...done, jobId: `${worker} first` as JobId })
          // a worker is found by its socket, and ends right after its last outcome
          yield* isSeen
          yield* Tail.offer({ ...done, jobId: `${worker} last` as JobId })
        }).pipe(Effect.provide(Tail.layerOptions({ folder: place })))
      }
      yield* looked(place)
      assert.deepStrictEqual(seen, [1, 2, 3, 4].flatMap((worker) => [`${worker} first`, `${worker} last`]))
    }))

  it.live("an ending worker that waits for another follower sends nothing twice", () =>
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
          yield* Effect.repeat(
            Effect.andThen(Tail.offer({ ...done, jobId: "0" as JobId }), Effect.sleep("5 millis")),
            { until: () => seen.length > 0 }
          )
          seen.length = 0
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
          }
        })
      }).pipe(
        Effect.provide(Layer.provide(Tail.layerOptions({ folder: place }), waitsUntil(() => seen.includes("1000"))))
      )
      yield* looked(place)
      const told = seen.filter((jobId) => jobId !== "0")
      assert.strictEqual(new Set(told).size, told.length)
      assert.isAbove(told.length, 900)
    }))

  it.live("a new follower does not get old outcomes", () =>
    Effect.gen(function*() {
      const place = join(yield* folder, "run")
      const clock = settable()
      yield* Effect.gen(function*() {
        clock.set(-1200)
        yield* Tail.offer({ ...done, jobId: "old" as JobId })
        clock.set(0)
        const first = yield* Effect.forkChild(Stream.runHead(Tail.follow({ folder: place })))
        yield* offerUntil(done, first)
        assert.strictEqual(Option.getOrThrow(yield* Fiber.join(first)).jobId, done.jobId)
      }).pipe(Effect.provide(Layer.provide(Tail.layerOptions({ folder: place }), clock.layer)))
    }))

  it.live("lists the workers that offer outcomes", () =>
    Effect.gen(function*() {
      const place = join(yield* folder, "run")
      assert.deepStrictEqual(yield* Tail.workers({ folder: place }), [])
      yield* Effect.gen(function*() {
        writeFileSync(join(place, "999999999.sock"), "")
        assert.deepStrictEqual(yield* Tail.workers({ folder: place }), [process.pid])
      }).pipe(Effect.provide(Tail.layerOptions({ folder: place })))
    }))

  it.live("follows only the requested process", () =>
    Effect.gen(function*() {
      const place = join(yield* folder, "run")
      yield* Effect.gen(function*() {
        const other = yield* Effect.forkChild(Stream.runHead(Tail.follow({ folder: place, pid: 1 })))
        const all = yield* Effect.forkChild(Stream.runHead(Tail.follow({ folder: place })))
        yield* offerUntil(done, all)
        assert.isUndefined(other.pollUnsafe())
      }).pipe(Effect.provide(Tail.layerOptions({ folder: place })))
    }))

  it.live("the socket of a dead process is removed", () =>
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

  it.live("a worker offers nothing in a folder that is open to others or a link, and works", () =>
    Effect.gen(function*() {
      const parent = yield* folder
      const open = join(parent, "open")
      mkdirSync(open)
      chmodSync(open, 0o755)
      assert.match((yield* warnings(open)).join(), /is open to others/)
      assert.deepStrictEqual(readdirSync(open), [])
      const own = join(parent, "own")
      mkdirSync(own, { mode: 0o700 })
      symlinkSync(own, join(parent, "link"))
      assert.match(
        (yield* warnings(join(parent, "link"))).join(),
        /must not be a link, which may belong to another user/
      )
      assert.match((yield* warnings(join(own, "x".repeat(120)))).join(), /can't follow this worker/)
      assert.deepStrictEqual(yield* warnings(own), [])
    }))

  it.live("a follower that does not read does not delay others", () =>
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
        Effect.timeoutOrElse({
          duration: "30 seconds",
          orElse: () => Effect.die("the worker does not come to its end")
        })
      )
    }))

  it.live("a folder that is open to others is refused, and its content stays untouched", () =>
    Effect.gen(function*() {
      const parent = yield* folder
      const make = (name: string, mode: number): string => {
        const path = join(parent, name)
        mkdirSync(path, { recursive: true })
        chmodSync(path, mode)
        writeFileSync(join(path, "999999999.sock"), "")
        return path
      }
      const own = make("own", 0o700)
      symlinkSync(own, join(parent, "link"))
      symlinkSync(join(parent, "nowhere"), join(parent, "dangling"))
      writeFileSync(join(parent, "file"), "")
      const refused: Array<readonly [string, RegExp]> = [
        [make("open", 0o755), /is open to others \(mode 0755\)/],
        [make("group", 0o770), /is open to others \(mode 0770\)/],
        [make("closed", 0o600), /is closed to its own user \(mode 0600\): run chmod 700 on it/],
        [make("fixed", 0o500), /is closed to its own user \(mode 0500\): run chmod 700 on it/],
        [join(parent, "link"), /must not be a link/],
        [join(parent, "dangling"), /must not be a link/],
        [join(parent, "file"), /must be a folder/],
        [make("shared/own", 0o700), /is in .*shared, where others can replace it \(mode 0777\)/]
      ]
      chmodSync(join(parent, "shared"), 0o777)
      if (process.getuid?.() === 0) {
        const theirs = make("theirs", 0o700)
        chownSync(theirs, 65534, 65534)
        refused.push([theirs, /belongs to another user/])
        const below = make("parent/own", 0o700)
        chownSync(join(parent, "parent"), 65534, 65534)
        refused.push([below, /is in .*parent, where others can replace it/])
      }
      for (const [place, reason] of refused) {
        const { message } = yield* Effect.flip(Stream.runDrain(Tail.follow({ folder: place })))
        assert.match(message, reason)
        assert.match(message, /set XDG_RUNTIME_DIR to a folder that only you can access$/)
        assert.notInclude(message, "\n")
        assert.strictEqual((yield* Effect.flip(Tail.workers({ folder: place }))).message, message)
        assert.include((yield* warnings(place)).join(), message)
      }
      const left = refused.filter(([place]) => existsSync(join(place, "999999999.sock")))
      assert.strictEqual(left.length, refused.length - 2, "all but what is not a folder")
      assert.deepStrictEqual(readdirSync(join(parent, "open")), ["999999999.sock"])
    }))

  it.live("a folder below a sticky folder or a link is accepted", () =>
    Effect.gen(function*() {
      const parent = yield* folder
      mkdirSync(join(parent, "sticky"))
      chmodSync(join(parent, "sticky"), 0o1777)
      symlinkSync(join(parent, "sticky"), join(parent, "way"))
      for (const place of [join(parent, "sticky", "own"), join(parent, "way", "other")]) {
        yield* Effect.gen(function*() {
          const first = yield* Effect.forkChild(Stream.runHead(Tail.follow({ folder: place })))
          yield* offerUntil(done, first)
        }).pipe(Effect.provide(Tail.layerOptions({ folder: place })))
      }
    }))

  it.live("a folder that becomes open to others ends its followers", () =>
    Effect.gen(function*() {
      const place = join(yield* folder, "run")
      const fiber = yield* Effect.forkChild(Stream.runDrain(Tail.follow({ folder: place })))
      yield* Effect.repeat(Effect.sync(() => existsSync(place)), {
        until: (exists) => exists,
        schedule: Schedule.spaced("5 millis")
      })
      chmodSync(place, 0o777)
      assert.match((yield* Effect.flip(Fiber.join(fiber))).message, /is open to others/)
    }))

  it("the folder is below XDG_RUNTIME_DIR if that is an absolute path", () => {
    const fallback = join(tmpdir(), `backq-${process.getuid?.()}`)
    assert.strictEqual(Folder.path({ XDG_RUNTIME_DIR: "/run/user/7" }), "/run/user/7/backq")
    for (const runtime of ["", ".", "run", "./run", "~", " /run"]) {
      assert.strictEqual(Folder.path({ XDG_RUNTIME_DIR: runtime }), fallback, JSON.stringify(runtime))
    }
    assert.strictEqual(Folder.path({}), fallback)
  })

  it.live("a file that is not a socket of this user is ignored", () =>
    Effect.gen(function*() {
      const parent = yield* folder
      const elsewhere = join(yield* folder, "socket")
      let connections = 0
      yield* server(elsewhere, () => connections++)
      const place = join(parent, "run")
      mkdirSync(place, { mode: 0o700 })
      const own = join(place, `${process.pid}.sock`)
      symlinkSync(elsewhere, own)
      writeFileSync(join(place, `${process.ppid}.sock`), "")
      const other = "99999999999999999999.sock"
      writeFileSync(join(place, other), "")
      const fiber = yield* Effect.forkChild(Stream.runDrain(Tail.follow({ folder: place })))
      yield* looked(place)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(connections, 0)
      assert.isTrue(lstatSync(own).isSymbolicLink())
      assert.include(readdirSync(place), other)
    }))

  it.live("an endless line closes the connection of its sender only", () =>
    Effect.gen(function*() {
      const place = yield* folder
      const line = JSON.stringify({ at: 1, pid: 2, outcome: "Done", queue: "q", jobId: "3", duration: 4 })
      let sent = 0
      let connections = 0
      const closed = yield* Deferred.make<void>()
      yield* server(join(place, `${process.pid}.sock`), (socket) => {
        connections++
        socket.on("close", () => Deferred.doneUnsafe(closed, Effect.void))
        const endless = () => {
          while (socket.writable && sent < 1e9) {
            sent += 65_536
            if (!socket.write("x".repeat(65_536))) return
          }
        }
        socket.on("drain", endless).write(`${line}\n`)
        endless()
      })
      const seen: Array<string> = []
      const messages: Array<string> = []
      const logger = Logger.make(({ message }) => messages.push(String(message)))
      yield* Effect.forkScoped(
        Stream.runForEach(Tail.follow({ folder: place }), ({ jobId }) => Effect.sync(() => seen.push(jobId))).pipe(
          Effect.provide(Logger.layer([logger]))
        )
      )
      yield* Deferred.await(closed)
      yield* looked(place)
      assert.isBelow(sent, 20_000_000)
      assert.strictEqual(connections, 1, "it is not asked again")
      assert.deepStrictEqual(seen, ["3"])
      assert.deepStrictEqual(messages, [
        `tail stopped following process ${process.pid}: it sent a line of more than ${maxLineBytes} bytes`
      ])
    }))

  it.live("endless invalid lines close the connection of their sender", () =>
    Effect.gen(function*() {
      const place = yield* folder
      const line = JSON.stringify({ at: 1, pid: 2, outcome: "Done", queue: "q", jobId: "3", duration: 4 })
      for (const strange of ["\n", "{}\n", `${"[".repeat(100)}\n`]) {
        let sent = 0
        const messages: Array<string> = []
        const seen: Array<string> = []
        const closed = yield* Deferred.make<void>()
        yield* Effect.scoped(Effect.gen(function*() {
          yield* server(join(place, `${process.pid}.sock`), (socket) => {
            socket.on("close", () => Deferred.doneUnsafe(closed, Effect.void))
            const chunk = strange.repeat(65_536 / strange.length)
            const endless = () => {
              while (socket.writable && sent < 1e9) {
                sent += chunk.length
                if (!socket.write(chunk)) return
              }
            }
            // fewer than a worker is left for are passed over
            socket.write(`${strange.repeat(900)}${line}\n${strange.repeat(900)}${line}\n`)
            socket.on("drain", endless)
            setTimeout(endless, 100)
          })
          const logger = Logger.make(({ message }) => messages.push(String(message)))
          yield* Effect.forkScoped(
            Stream.runForEach(Tail.follow({ folder: place }), ({ jobId }) => Effect.sync(() => seen.push(jobId))).pipe(
              Effect.provide(Logger.layer([logger]))
            )
          )
          yield* Deferred.await(closed)
          yield* Effect.repeat(Effect.sleep("1 millis"), { until: () => messages.length > 0 })
        }))
        assert.isBelow(sent, 20_000_000)
        assert.deepStrictEqual(seen, ["3", "3"])
        assert.deepStrictEqual(messages, [
          `tail stopped following process ${process.pid}: it sent 1000 invalid lines in a row`
        ])
      }
    }))

  it.live("a folder with a path too long for a socket is refused by workers and followers", () =>
    Effect.gen(function*() {
      const parent = yield* folder
      const long = join(parent, "x".repeat(110 - parent.length))
      mkdirSync(long, { mode: 0o700 })
      const reason = /has a path that is too long: .* set XDG_RUNTIME_DIR to a folder of yours with a shorter path$/
      assert.match((yield* Effect.flip(Stream.runDrain(Tail.follow({ folder: long })))).message, reason)
      assert.match((yield* Effect.flip(Tail.workers({ folder: long }))).message, reason)
      assert.match((yield* warnings(long)).join(), reason)
      const short = join(parent, "x".repeat(90 - parent.length))
      assert.deepStrictEqual(yield* warnings(short), [])
    }))

  it.live("a flood waits for the follower: it is neither kept in memory nor dropped", () =>
    Effect.gen(function*() {
      const place = yield* folder
      let sent = 0
      const chunk = `${JSON.stringify({ at: 1, pid: 2, outcome: "Done", queue: "q", jobId: "3", duration: 4 })}\n`
        .repeat(500)
      yield* server(join(place, `${process.pid}.sock`), (socket) => {
        const flood = () => {
          while (socket.writable && sent < 1e9) {
            sent += chunk.length
            if (!socket.write(chunk)) return
          }
        }
        socket.on("drain", flood)
        flood()
      })
      const first = yield* Deferred.make<void>()
      yield* Effect.forkScoped(
        Stream.runForEach(Tail.follow({ folder: place }), () =>
          Effect.andThen(Deferred.succeed(first, undefined), Effect.never))
      )
      yield* Deferred.await(first)
      yield* settled(() =>
        sent
      )
      assert.isBelow(sent, 10_000_000)
    }))

  it.live("lines of another program are ignored", () =>
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
