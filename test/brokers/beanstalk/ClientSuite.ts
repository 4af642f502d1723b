/** The client's tests, for every driver to pass against a real server. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { BrokerError } from "../../../src/BrokerError.ts"
import { Client } from "../../../src/brokers/beanstalk/Client.ts"
import { beanstalkd, real } from "../../support/beanstalkd.ts"

export interface SuiteOptions {
  readonly layer: (port: number) => Layer.Layer<Client, BrokerError>
  /** Whether the driver has every command. */
  readonly complete: boolean
}

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
export const text = (job: { readonly body: Uint8Array }): string => new TextDecoder().decode(job.body)

const reasonOf = <A>(effect: Effect.Effect<A, BrokerError>) => Effect.map(Effect.flip(effect), (error) => error.reason)

const reserved = (client: Client["Service"], seconds = 0) =>
  Effect.map(client.reserveWithTimeout(seconds), (reservation) => {
    assert(reservation._tag === "Reserved", `expected a job, got ${reservation._tag}`)
    return reservation.job
  })

const everyByte = Uint8Array.from({ length: 256 }, (_, i) => i)

const bodies: ReadonlyArray<readonly [string, Uint8Array]> = [
  ["nothing", new Uint8Array(0)],
  ["every byte", everyByte],
  ["ends in CRLF", bytes("a\r\n")],
  ["begins with CRLF", bytes("\r\na")],
  ["looks like replies", bytes("x\r\nRESERVED 9 5\r\nhello\r\nDELETED\r\n")],
  ["UTF-8", bytes("Grüße, 世界 🫘")],
  ["the largest", new Uint8Array(65535).fill(13)]
]

/** Registers the tests. */
export const suite = (name: string, { complete, layer }: SuiteOptions): void => {
  const test = (
    title: string,
    body: (client: Client["Service"], port: number) => Effect.Effect<void, unknown>,
    options: ReadonlyArray<string> = []
  ) =>
    real(title, () =>
      Effect.gen(function*() {
        const server = yield* beanstalkd(options)
        yield* Effect.flatMap(Client, (client) => body(client, server.port)).pipe(Effect.provide(layer(server.port)))
      }))

  describe(name, () => {
    for (const [what, body] of bodies) {
      test(`put, reserve, peek: a body that is ${what} comes back unchanged`, (client) =>
        Effect.gen(function*() {
          const id = yield* client.put(body)
          const peeked = Option.getOrThrow(yield* client.peek(id))
          assert.deepStrictEqual(Array.from(peeked.body), Array.from(body))
          const job = yield* reserved(client)
          assert.strictEqual(job.id, id)
          assert.deepStrictEqual(Array.from(job.body), Array.from(body))
          yield* client.delete(id)
          assert.isTrue(Option.isNone(yield* client.peek(id)))
        }))
    }

    test("use and watch: names that look like numbers or words stay names", (client) =>
      Effect.gen(function*() {
        const names = [
          "123",
          "1e5",
          "true",
          "null",
          "0x1f",
          "2020-01-01",
          "1.10",
          ".5",
          "a/b+c;d$e_f()",
          "x".repeat(200)
        ]
        let count = 1
        for (const name of names) {
          yield* client.use(name)
          assert.strictEqual(yield* client.listTubeUsed, name)
          assert.strictEqual(yield* client.watch(name), ++count)
          assert.strictEqual((yield* client.statsTube(name)).name, name)
        }
        assert.deepStrictEqual(yield* client.listTubesWatched, ["default", ...names])
        const tubes = yield* client.listTubes
        for (const name of names) assert.include(tubes, name)
      }))

    test("ignore: keeps the last tube", (client) =>
      Effect.gen(function*() {
        assert.isTrue(Option.isNone(yield* client.ignore("default")))
        yield* client.watch("other")
        assert.strictEqual(Option.getOrThrow(yield* client.ignore("default")), 1)
        assert.strictEqual(Option.getOrThrow(yield* client.ignore("never-watched")), 1)
      }))

    test("put: the most urgent job comes first, then the oldest", (client) =>
      Effect.gen(function*() {
        yield* client.put(bytes("c"), { priority: 4294967295 })
        yield* client.put(bytes("b"))
        yield* client.put(bytes("a"), { priority: 0 })
        yield* client.put(bytes("b2"))
        const seen: Array<string> = []
        for (let i = 0; i < 4; i++) seen.push(text(yield* reserved(client)))
        assert.deepStrictEqual(seen, ["a", "b", "b2", "c"])
        assert.deepStrictEqual(yield* client.reserveWithTimeout(0), { _tag: "TimedOut" })
      }))

    test("release, bury, kick: change the state of a job", (client) =>
      Effect.gen(function*() {
        const id = yield* client.put(bytes("a"), { ttr: 100 })
        yield* reserved(client)
        yield* client.touch(id)
        yield* client.release(id, { priority: 7, delay: 100 })
        assert.include(yield* client.statsJob(id), { state: "delayed", pri: 7, delay: 100, ttr: 100, releases: 1 })
        assert.strictEqual(Option.getOrThrow(yield* client.peekDelayed).id, id)
        yield* client.kickJob(id)
        assert.strictEqual(Option.getOrThrow(yield* client.peekReady).id, id)
        yield* reserved(client)
        yield* client.bury(id, { priority: 3 })
        assert.include(yield* client.statsJob(id), { state: "buried", pri: 3, buries: 1 })
        assert.strictEqual(Option.getOrThrow(yield* client.peekBuried).id, id)
        assert.strictEqual(yield* client.kick(10), 1)
        assert.strictEqual(yield* client.kick(10), 0)
        assert.isTrue(Option.isNone(yield* client.peekBuried))
        yield* client.delete(id)
      }))

    test("delay: a job waits for a second", (client) =>
      Effect.gen(function*() {
        yield* client.put(bytes("a"), { delay: 1 })
        assert.strictEqual((yield* client.reserveWithTimeout(0))._tag, "TimedOut")
        assert.strictEqual(text(yield* reserved(client, 5)), "a")
      }))

    test("a missing job or tube is not found", (client) =>
      Effect.gen(function*() {
        const calls = [
          client.delete("999"),
          client.release("999"),
          client.bury("999"),
          client.touch("999"),
          client.kickJob("999"),
          client.statsJob("18446744073709551615"),
          client.statsJob("18446744073709551616"),
          client.statsJob("no id"),
          client.statsTube("missing"),
          client.pauseTube("missing", 1)
        ]
        for (const call of calls) assert.strictEqual((yield* reasonOf<unknown>(call))._tag, "NotFound")
        assert.isTrue(Option.isNone(yield* client.peek("999")))
        assert.isTrue(Option.isNone(yield* client.peek("no id")))
      }))

    test("arguments are checked before a byte is sent", (client) =>
      Effect.gen(function*() {
        const before = yield* client.stats
        const wrong: ReadonlyArray<Effect.Effect<unknown, BrokerError>> = [
          ...[-1, 1.5, NaN, 4294967296].map((priority) => client.put(bytes("a"), { priority })),
          ...[-1, 0.5, NaN, 4294967296].map((delay) => client.put(bytes("a"), { delay })),
          ...[0, -1, 0.5, 4294967296].map((ttr) => client.put(bytes("a"), { ttr })),
          client.release("1", { delay: 0.5 }),
          client.bury("1", { priority: -1 }),
          client.reserveWithTimeout(-1),
          client.reserveWithTimeout(2147483648),
          client.kick(0),
          client.pauseTube("a", -1)
        ]
        for (const call of wrong) assert.strictEqual((yield* reasonOf(call))._tag, "OptionInvalid")
        for (const tube of ["", "a b", "a\r\ndelete 3", "-x", "é", "x".repeat(201)]) {
          for (const call of [client.use, client.watch, client.ignore, client.statsTube]) {
            assert.strictEqual((yield* reasonOf<unknown>(call(tube)))._tag, "QueueNameInvalid")
          }
        }
        const after = yield* client.stats
        assert.strictEqual(after["total-jobs"], before["total-jobs"])
      }))

    test(
      "a job above the limit is refused with its size and the limit, and nothing is sent",
      (client) =>
        Effect.gen(function*() {
          yield* client.use("q")
          const reason = yield* reasonOf(client.put(new Uint8Array(101)))
          assert.deepInclude({ ...reason }, { _tag: "JobTooBig", queue: "q", size: 101, limit: 100 })
          yield* client.put(new Uint8Array(100))
          assert.strictEqual((yield* client.statsTube("q"))["total-jobs"], 1)
        }),
      ["-z", "100"]
    )

    test("pause: no job is served until it ends", (client) =>
      Effect.gen(function*() {
        yield* client.put(bytes("a"))
        yield* client.pauseTube("default", 100)
        assert.strictEqual((yield* client.reserveWithTimeout(0))._tag, "TimedOut")
        yield* client.pauseTube("default", 0)
        assert.strictEqual(text(yield* reserved(client, 5)), "a")
      }))

    test("a reserve reports that a held job is about to expire", (client) =>
      Effect.gen(function*() {
        yield* client.put(bytes("a"), { ttr: 1 })
        yield* reserved(client)
        assert.strictEqual((yield* client.reserveWithTimeout(5))._tag, "DeadlineSoon")
      }))

    test("concurrent calls complete in order", (client) =>
      Effect.gen(function*() {
        const ids = yield* Effect.forEach(
          Array.from({ length: 500 }, (_, i) => bytes(`job ${i}`)),
          (body) => client.put(body),
          { concurrency: "unbounded" }
        )
        const peeked = yield* Effect.forEach(ids, (id) => client.peek(id), { concurrency: "unbounded" })
        peeked.forEach((job, i) => assert.strictEqual(text(Option.getOrThrow(job)), `job ${i}`))
      }))

    test(
      "a waiting reserve gets its job, and an interrupted one requeues it",
      (client, port) =>
        Effect.gen(function*() {
          const waiting = yield* Effect.forkChild(client.reserve)
          yield* Effect.gen(function*() {
            const other = yield* Client
            yield* Effect.repeat(other.stats, { until: (stats) => stats["current-waiting"] === 1 })
            yield* other.put(bytes("first"))
            const reservation = yield* Fiber.join(waiting)
            assert(reservation._tag === "Reserved")
            assert.strictEqual(text(reservation.job), "first")
            const again = yield* Effect.forkChild(client.reserve)
            yield* Effect.repeat(other.stats, { until: (stats) => stats["current-waiting"] === 1 })
            yield* Fiber.interrupt(again)
            const id = yield* other.put(bytes("second"), { priority: 5 })
            yield* Effect.repeat(other.statsJob(id), { until: (job) => job.kicks === 1 })
            assert.include(yield* other.statsJob(id), { state: "ready", pri: 5, reserves: 1 })
          }).pipe(Effect.provide(layer(port), { local: true }))
        })
    )

    test("stats: describes the server", (client) =>
      Effect.gen(function*() {
        const stats = yield* client.stats
        assert.strictEqual(stats["max-job-size"], 65535)
        assert.match(stats.version, /^\d+\.\d+/)
        assert.match(stats.id, /^[0-9a-f]{16}$/)
        assert.strictEqual(stats.draining, "false")
      }))

    test("quit: the connection ends, and later calls fail at once", (client) =>
      Effect.gen(function*() {
        yield* client.quit
        assert.deepInclude({ ...yield* reasonOf(client.stats) }, { _tag: "Unavailable", fate: "NotSent" })
      }))

    if (complete) {
      test("reserveJob: reserves a job in any state", (client) =>
        Effect.gen(function*() {
          const id = yield* client.put(bytes("a"), { delay: 100 })
          assert.strictEqual(text(yield* client.reserveJob(id)), "a")
          assert.strictEqual((yield* reasonOf(client.reserveJob("999")))._tag, "NotFound")
        }))
    } else {
      test("reserveJob: a driver without the command refuses it in order", (client) =>
        Effect.gen(function*() {
          const id = yield* client.put(bytes("a"))
          const [before, refused, after] = yield* Effect.all([
            client.peek(id),
            reasonOf(client.reserveJob(id)),
            client.peek(id)
          ], { concurrency: "unbounded" })
          assert.deepStrictEqual([before, after].map((job) => text(Option.getOrThrow(job))), ["a", "a"])
          assert.strictEqual(refused._tag, "Unsupported")
        }))
    }
  })
}
