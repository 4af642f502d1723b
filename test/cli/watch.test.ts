/** `backq watch`, off a terminal. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { file } from "../brokers/sqlite/harness.ts"
import { eventually } from "../support/eventually.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { run } from "./command.ts"
import { start } from "./program.ts"

allow(withPrograms)

describe("backq watch", () => {
  it.live.each(["SIGINT", "SIGTERM"] as const)(
    "prints changes until %s ends it",
    (signal) =>
      Effect.gen(function*() {
        const broker = ["--broker", `sqlite:${yield* file}`]
        yield* run(["publish", "process", ...broker, "--", "true"])
        const watch = yield* start(["watch", ...broker, "--interval", "50ms"])
        yield* eventually("the first look", () => /process {2}1 ready/.test(watch.stdout()))
        yield* watch.signal(signal)
        const { code, stderr } = yield* watch.ended
        assert.deepStrictEqual([code, stderr], [0, ""])
      })
  )
})
