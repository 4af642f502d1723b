/** `sqlite:PATH` as a broker's URL, and the benchmark. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { execFile } from "node:child_process"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import * as Bench from "../../../scripts/bench/install.ts"
import { Broker } from "../../../src/Broker.ts"
import { tooBig } from "../../../src/brokers/beanstalk/replies.ts"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import * as BrokerUrl from "../../../src/brokers/url.ts"
import { Inspector } from "../../../src/Inspector.ts"
import { assertFails } from "../../conformance/Harness.ts"
import { folder } from "../../support/folder.ts"
import { allow, withFiles } from "../../support/limits.ts"
import { file, request } from "./harness.ts"

allow(withFiles)

const detailOf = (url: string) => Result.getOrThrow(Result.flip(BrokerUrl.parse(url))).detail

describe("sqlite:", () => {
  it("is read with its options", () => {
    const plain = { _tag: "Sqlite", durability: undefined, busyTimeout: undefined, history: undefined }
    assert.deepStrictEqual(Result.getOrThrow(BrokerUrl.parse("sqlite:")), { ...plain, path: "./backq.db" } as never)
    for (const path of ["jobs.db", "./a b/100%.db", "/var/lib/app/jobs.db", "../jobs#1.db"]) {
      assert.deepStrictEqual(Result.getOrThrow(BrokerUrl.parse(`sqlite:${path}`)), { ...plain, path } as never)
    }
    assert.deepStrictEqual(
      Result.getOrThrow(BrokerUrl.parse("sqlite:jobs.db?durability=normal&busy-timeout=500ms&history=1d")),
      {
        _tag: "Sqlite",
        path: "jobs.db",
        durability: "normal",
        busyTimeout: Duration.millis(500),
        history: Duration.days(1)
      }
    )
  })

  it("can name any file: characters with a meaning in a URL are percent-encoded", () => {
    for (
      const [path, encoded] of [
        ["a?b.db", "a%3Fb.db"],
        ["/srv/100%.db", "/srv/100%.db"],
        ["a%20b.db", "a%2520b.db"],
        ["what?#1 ä 💾.db", "what%3f#1 ä 💾.db"],
        ["what?#1 ä 💾.db", "what%3F%231%20%C3%A4%20%F0%9F%92%BE.db"],
        ["./~/jobs.db", "./~/jobs.db"],
        ["~jobs.db", "~jobs.db"],
        ["../x&y=z.db", "../x&y=z.db"]
      ] as const
    ) {
      const read = Result.getOrThrow(BrokerUrl.parse(`sqlite:${encoded}?history=1d`))
      assert.include(read, { _tag: "Sqlite", path }, encoded)
    }
    assert.include(detailOf("sqlite:a%ff.db"), "not in UTF-8")
    assert.include(detailOf("sqlite:a%00b.db"), "NUL")
    assert.include(detailOf("sqlite::memory:"), "write memory:")
    // as a variable that was read from a file has it
    for (const url of ["sqlite:a b.db\n", " sqlite:a b.db\r\n", "\tSQLite:a b.db "]) {
      assert.deepInclude(Result.getOrThrow(BrokerUrl.parse(url)), { _tag: "Sqlite", path: "a b.db" })
    }
    assert.deepInclude(Result.getOrThrow(BrokerUrl.parse("sqlite:a%20")), { path: "a " })
    for (const home of ["~/jobs.db", "~bob/jobs.db"]) assert.include(detailOf(`sqlite:${home}`), "in full")
  })

  it("says how to write a ? in a path", () => {
    for (const url of ["sqlite:a?b.db", "sqlite:what?.db", "sqlite:a?.db?history=1d", "sqlite:a?b=c.db"]) {
      assert.include(detailOf(url), "%3F", url)
    }
    assert.notInclude(detailOf("sqlite:a.db?history=long"), "%3F")
  })

  it.live("creates exactly the file that the URL names", () =>
    Effect.gen(function*() {
      const place = yield* folder
      const names = ["a?b.db", "a#b.db", "a%3Fb.db", "a b.db", "ä💾.db", "file:x.db", "-.db", "a?mode=memory"]
      for (const name of names) {
        const url = `sqlite:${place}/${name.replace(/[%?]/g, encodeURIComponent)}`
        yield* Broker.use((broker) => broker.put("q", request(name))).pipe(Effect.provide(BrokerUrl.layer(url)))
        assert.include(readdirSync(place), name)
        const stats = Inspector.use((inspector) => inspector.statsQueue("q"))
        assert.include(yield* Effect.provide(stats, SqliteBroker.layer({ path: join(place, name) })), { ready: 1 })
      }
      assert.deepStrictEqual(readdirSync(place).toSorted(), names.toSorted())
    }))

  it.live("has the size limit of a job, and the error says how to raise it for this broker", () =>
    Effect.gen(function*() {
      for (const url of [`sqlite:${yield* file}`, "memory:"]) {
        const put = (query: string, size: number) =>
          Broker.use((broker) => broker.put("q", request("x".repeat(size)))).pipe(
            Effect.provide(Layer.fresh(BrokerUrl.layer(url + query)))
          )
        for (
          const [query, limit] of [["", 65_535], ["?max-job-size=100000", 100_000], ["?max-job-size=1", 1]] as const
        ) {
          yield* put(query, limit)
          const error = yield* Effect.flip(put(query, limit + 1))
          assert.strictEqual(error._tag === "BrokerError" ? error.reason._tag : undefined, "JobTooBig", url + query)
          assert.include(error.message, "max-job-size")
          assert.notInclude(error.message, "beanstalkd")
        }
      }
      const beanstalkd = tooBig("q", 2, 1)
      assert.include(Result.getOrThrow(Result.flip(beanstalkd)).message, "beanstalkd -z")
    }))

  it.live("refuses an invalid size limit", () =>
    Effect.gen(function*() {
      for (const size of ["0", "-1", "1.5", "64k", "", "NaN", "1e3", "99999999999999999999"]) {
        assert.include(detailOf(`sqlite:a.db?max-job-size=${size}`), "max-job-size", size)
        assert.include(detailOf(`memory:?max-job-size=${size}`), "max-job-size", size)
      }
      for (const maxJobSize of [0, -1, 1.5, NaN, Infinity, 64 * 1024 * 1024 + 1]) {
        yield* assertFails(Effect.scoped(SqliteBroker.make({ path: yield* file, maxJobSize })), "OptionInvalid")
      }
      assert.include(detailOf("memory:?size=1"), `no option "size"`)
      assert.include(detailOf("memory:jobs.db"), "sqlite:PATH")
    }))

  it("has the time that workers wait for a moved file", () => {
    const read = Result.getOrThrow(BrokerUrl.parse("sqlite:a.db?reconnect-for=5m"))
    assert.deepStrictEqual(read._tag === "Sqlite" ? read.reconnectFor : undefined, Duration.minutes(5))
    assert.include(detailOf("sqlite:a.db?reconnect-for=long"), "reconnect-for")
  })

  it("the error names the problem", () => {
    assert.include(detailOf("sqlite:jobs.db?durability=none"), "full or normal")
    assert.include(detailOf("sqlite:jobs.db?busy-timeout=long"), "must be a duration")
    assert.include(detailOf("sqlite:jobs.db?speed=high"), `no option "speed"`)
    assert.include(detailOf("sqlite://host/jobs.db"), "no host")
  })

  it.live("opens the file", () =>
    Effect.gen(function*() {
      const path = yield* file
      yield* Effect.gen(function*() {
        const broker = yield* Broker
        assert.strictEqual(broker.name, `sqlite:${path}`)
        yield* broker.put("q", request("a"))
      }).pipe(Effect.provide(BrokerUrl.layer(`sqlite:${path}`)))
    }))
})

describe.skipIf(!Bench.isInstalled())("benchmark", () => {
  it("sqlite.ts prints a table of ratios", async () => {
    const script = join(import.meta.dirname, "../../../scripts/bench/sqlite.ts")
    const { stdout } = await promisify(execFile)(process.execPath, [script, "--jobs", "300", "--rounds", "1"])
    assert.match(stdout, /backq worker, concurrency 64 +\d+ +[\d.]+ x/)
  })
})
