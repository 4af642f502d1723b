/** `backq transfer`: its output, its exit code, and the jobs after a kill. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { existsSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { Broker, type PutOptions, putRequest } from "../../src/Broker.ts"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { Inspector } from "../../src/Inspector.ts"
import { bytes, take } from "../conformance/Harness.ts"
import { killTransfer } from "../kills/transfer.ts"
import * as Beanstalkd from "../support/beanstalkd.ts"
import { folder } from "../support/folder.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { isMissing } from "../support/postgres.ts"
import { Random } from "../support/Random.ts"
import { run } from "./command.ts"

allow(withPrograms)

const put = (queue: string, body: string, options?: PutOptions) =>
  Broker.use((broker) => broker.put(queue, Result.getOrThrow(putRequest(bytes(body), options))))

const files = Effect.map(folder, (path) => ({
  path,
  from: `sqlite:${join(path, "from.db")}`,
  to: `sqlite:${join(path, "to.db")}`
}))

const on = (url: string) => Effect.provide(BrokerUrl.layer(url))

describe("backq transfer", () => {
  it.live("all queues, or the named ones", () =>
    Effect.gen(function*() {
      const { from, to } = yield* files
      yield* Effect.all([put("mail", "a"), put("mail", "b", { delay: "1 hour" }), put("other", "c")]).pipe(on(from))
      assert.deepStrictEqual(yield* run(["transfer", "--broker", from, "--to", to, "other"]), {
        code: 0,
        stdout: "transferred: 1 job",
        stderr: ""
      })
      const { code, stdout } = yield* run(["transfer", "--broker", from, "--to", to, "--json"])
      assert.strictEqual(code, 0)
      assert.deepStrictEqual(JSON.parse(stdout), { transferred: 2, onBoth: 0, refused: [], missing: [] })
      assert.include(yield* run(["transfer", "--broker", from, "--to", to]), { code: 0, stdout: "transferred: 0 jobs" })
      assert.sameMembers([...yield* Inspector.use(({ queues }) => queues).pipe(on(to))], ["mail", "other"])
    }))

  it.live("prints what the other broker would lose, and the jobs that are left", () =>
    Effect.scoped(Effect.gen(function*() {
      const { from } = yield* files
      const { port } = yield* Beanstalkd.beanstalkd()
      yield* Effect.scoped(Effect.gen(function*() {
        yield* put("mail", "held", { priority: 0 })
        yield* take(yield* Broker.use((broker) => broker.consume(["mail"])))
        yield* put("mail", "a")
        const { code, stderr, stdout } = yield* run([
          "transfer",
          "--broker",
          from,
          "--to",
          `beanstalk://127.0.0.1:${port}`
        ])
        assert.deepStrictEqual([code, stdout], [0, "transferred: 1 job"])
        assert.deepStrictEqual(stderr.split("\n"), [
          `backq: beanstalk://127.0.0.1:${port} does not keep how often jobs were attempted, why they failed, fractions of a second`,
          "backq: still in mail: 1 held by workers; run it again for these"
        ])
      })).pipe(on(from))
    })))

  it.live("a job that is refused stays: code 4, and the reason", () =>
    Effect.gen(function*() {
      const { from, to } = yield* files
      const big = yield* put("mail", "x".repeat(50)).pipe(on(from))
      yield* put("mail", "small").pipe(on(from))
      const { code, stderr, stdout } = yield* run(["transfer", "--broker", from, "--to", `${to}?max-job-size=20`])
      assert.deepStrictEqual([code, stdout], [4, "transferred: 1 job"])
      assert.match(
        stderr,
        new RegExp(`^backq: job ${big} was not accepted and stays where it was: a job of 50 bytes`, "m")
      )
      const { ready } = yield* Inspector.use(({ statsQueue }) => statsQueue("mail")).pipe(on(from))
      assert.strictEqual(ready, 1)
    }))

  it.live("a queue that is not there: code 5, after the others", () =>
    Effect.gen(function*() {
      const { from, to } = yield* files
      yield* put("mail", "a").pipe(on(from))
      const { code, stderr, stdout } = yield* run(["transfer", "--broker", from, "--to", to, "nail", "mail"])
      assert.deepStrictEqual([code, stdout], [5, "transferred: 1 job"])
      assert.match(stderr, /^backq: there is no queue nail: it has no jobs, or they were transferred before$/)
    }))

  it.live("refuses the same broker, by any name of its file, and memory:", () =>
    Effect.gen(function*() {
      const { from, path } = yield* files
      yield* put("mail", "a").pipe(on(from))
      symlinkSync(join(path, "from.db"), join(path, "link.db"))
      for (const to of [from, `sqlite:${join(path, "link.db")}`, "memory:"]) {
        const { code, stderr, stdout } = yield* run(["transfer", "--broker", from, "--to", to])
        assert.deepStrictEqual([code, stdout], [1, ""])
        assert.match(stderr, /^backq: --to must be (another broker than|a broker that outlives)/)
      }
      assert.strictEqual((yield* run(["transfer", "--broker", from])).code, 1)
    }))

  it.live("a broker that is away: code 2, and nothing changes", () =>
    Effect.gen(function*() {
      const { from, path, to } = yield* files
      yield* put("mail", "a").pipe(on(from))
      const { code, stderr, stdout } = yield* run([
        "transfer",
        "--broker",
        from,
        "--to",
        "beanstalk://127.0.0.1:1?connect-timeout=1s"
      ])
      assert.deepStrictEqual([code, stdout], [2, ""])
      assert.match(stderr, /^backq: transferred: 0 jobs until now. Run it again for the rest$/m)
      assert.match(stderr, /beanstalk:\/\/127.0.0.1:1 is unavailable/)
      const { ready } = yield* Inspector.use(({ statsQueue }) => statsQueue("mail")).pipe(on(from))
      assert.strictEqual(ready, 1)
      const missing = yield* run(["transfer", "--broker", `sqlite:${join(path, "none.db")}`, "--to", to])
      assert.strictEqual(missing.code, 2)
      assert.isFalse(existsSync(join(path, "to.db")))
    }))

  it.live.skipIf(isMissing)(
    "killed in the middle and run again: no job is lost, at most a batch is on both sides",
    () =>
      Effect.gen(function*() {
        const { killed } = yield* killTransfer("sqlite", "postgres", new Random("a test"), 1)
        assert.isAtMost(killed, 1)
      })
  )
})
