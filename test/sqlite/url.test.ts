/** `sqlite:PATH` as a broker's URL, and the benchmark. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { Broker } from "../../src/Broker.ts"
import * as BrokerUrl from "../../src/BrokerUrl.ts"
import { file, request } from "./harness.ts"

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

  it("says what is wrong", () => {
    assert.include(detailOf("sqlite:jobs.db?durability=none"), "full or normal")
    assert.include(detailOf("sqlite:jobs.db?busy-timeout=long"), "not a duration")
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

describe("benchmark", () => {
  it("sqlite.ts prints a table of ratios", async () => {
    const script = join(import.meta.dirname, "../../scripts/bench/sqlite.ts")
    const { stdout } = await promisify(execFile)(process.execPath, [script, "--jobs", "300", "--rounds", "1"])
    assert.match(stdout, /backq worker, concurrency 64 +\d+ +[\d.]+ x/)
  })
})
