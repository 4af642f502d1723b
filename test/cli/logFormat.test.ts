/** How logs look, off a terminal. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { allow, withPrograms } from "../support/limits.ts"
import { run } from "./program.ts"

allow(withPrograms)

describe("--log-format", () => {
  it.live.each(
    [
      [[], /^timestamp=\S+ level=INFO .*message="worker stopped: 0 done"$/m],
      [["--log-format", "logfmt"], /^timestamp=\S+ level=INFO .*message="worker stopped: 0 done"$/m],
      [["--log-format", "pretty"], /^\[[\d:.]+\] INFO \(#\d+\): worker stopped: 0 done$/m],
      [["--log-format", "json"], /^\{"message":"worker stopped: 0 done",.*\}$/m]
    ] as const
  )("%j", ([flags, line]) =>
    Effect.gen(function*() {
      const { stderr, stdout } = yield* run([
        "work",
        "process",
        "--broker",
        "memory:",
        "--idle-timeout",
        "10ms",
        ...flags
      ])
      assert.strictEqual(stdout, "")
      assert.match(stderr, line)
    }))
})
