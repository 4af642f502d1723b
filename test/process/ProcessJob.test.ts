/** What a process writes, in the reason of a failure and in the log. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as ExitPolicy from "../../src/process/ExitPolicy.ts"
import { exited, ProcessRunner } from "../../src/process/Process.ts"
import * as ProcessJob from "../../src/process/ProcessJob.ts"
import { perform } from "../../src/testing/Perform.ts"

const hostile = "first\n\u001b]0;owned\u0007\u001b[2J\r\nreal \u009b2J\u202eevil\r[12:00:00.000] ERROR (#1): forged\n"

describe("the output of a failed process", () => {
  it.effect.each([1, 64, 75])(
    "is escaped in one line: exit code %i",
    (exitCode) =>
      Effect.gen(function*() {
        const annotations: Array<readonly [string, unknown]> = []
        const messages: Array<string> = []
        const logger = Logger.make(({ fiber, message }) => {
          messages.push(String(message))
          annotations.push(...Object.entries(fiber.getRef(References.CurrentLogAnnotations)))
        })
        const handler = ProcessJob.handler({
          exitPolicy: ExitPolicy.make({ permanent: [64], retryAfter: { 75: "1 second" } })
        })
        const outcome = yield* perform(handler, { command: ["convert"] }).pipe(
          Effect.provide(Layer.merge(
            ProcessRunner.layerTest(() => Effect.succeed(exited({ exitCode, stdout: hostile, stderr: hostile }))),
            Logger.layer([logger])
          ))
        )
        if (outcome._tag !== "Retried" && outcome._tag !== "Buried") throw new Error(outcome._tag)
        assert.match(outcome.reason, /: \[12:00:00\.000\] ERROR \(#1\): forged$/)
        for (const text of [outcome.reason, ...messages]) assert.notMatch(text, /[\p{Cc}\p{Cf}]/u)
        const written = annotations.filter(([name]) => name === "stdout" || name === "stderr")
        assert.lengthOf(written, 2)
        for (const [, text] of written) {
          assert.strictEqual(
            text,
            "first\n\\x1b]0;owned\\x07\\x1b[2J\nreal \\x9b2J\\u{202e}evil\\r[12:00:00.000] ERROR (#1): forged"
          )
        }
      })
  )
})
