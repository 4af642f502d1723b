/** The loggers of the command, with hostile messages. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Loggers from "../../src/cli/loggers.ts"
import * as Strange from "../support/strange.ts"

const loggers = {
  pretty: Loggers.pretty(false),
  coloured: Loggers.pretty(true),
  logfmt: Loggers.logfmt,
  json: Loggers.json
}

/** What a logger prints. */
const printed = (logger: Logger.Logger<unknown, unknown>, log: Effect.Effect<void>): Effect.Effect<string> => {
  const lines: Array<string> = []
  const console: Console.Console = { ...globalThis.console, error: (...args) => void lines.push(args.join(" ")) }
  return log.pipe(
    Effect.provide(Logger.layer([logger])),
    Effect.provideService(Console.Console, console),
    Effect.map(() => lines.join("\n"))
  )
}

const hostile =
  `\u001b[2J\u001b]0;owned\u0007\r\n[12:00:00.000] ERROR (#1): forged\nlevel=ERROR message=forged\u202e\u009b31m`

/** Colours of our own. */
const withoutColours = (text: string): string =>
  // oxlint-disable-next-line no-control-regex
  text.replace(/\u001b\[(?:\d+(?:;\d+)*)m/g, "")

const logs: ReadonlyArray<readonly [what: string, log: (value: unknown) => Effect.Effect<void>]> = [
  ["a message", (value) => Effect.logWarning(value)],
  ["a second message", (value) => Effect.logWarning("first", value)],
  ["a failure", (value) => Effect.logError("it failed", Cause.fail(value))],
  ["a defect", (value) => Effect.logError("it failed", Cause.die(value))],
  ["an annotation", (value) => Effect.annotateLogs(Effect.logInfo("hello"), { value })],
  [
    "a key",
    (value) => Effect.annotateLogs(Effect.logInfo("hello"), typeof value === "string" ? { [value]: 1 } : { value })
  ],
  ["a span", (value) => Effect.withLogSpan(Effect.logInfo("hello"), typeof value === "string" ? value : "span")]
]

describe.each(Object.entries(loggers))("%s", (name, logger) => {
  for (const [place, log] of logs) {
    it.effect(`${place} does nothing to a terminal, and forges no line`, () =>
      Effect.gen(function*() {
        for (const value of [hostile, { [hostile]: hostile }, [hostile], new Error(hostile)]) {
          const text = withoutColours(yield* printed(logger, log(value)))
          const [first, ...more] = text.split("\n")
          assert.notMatch(text, /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u)
          assert.match(
            first!,
            name === "json" ? /^\{/ : name === "logfmt" ? /^timestamp=/ : /^\[[\d:.]+\] \w+ \(#\d+\)/
          )
          for (const line of more) assert.match(line, /^ {2}/)
          if (name === "json" || name === "logfmt") assert.isEmpty(more)
        }
      }))

    it.effect(`${place} may be any value`, () =>
      Effect.gen(function*() {
        for (const [what, value] of Strange.failures) {
          // no logger is asked: Effect itself looks at a message, and fails
          if (place.endsWith("message") && /proxy|revoked/.test(what)) continue
          const text = yield* printed(logger, log(value))
          assert.notStrictEqual(text, "", what)
          assert.notMatch(withoutColours(text), /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u, what)
          if (name === "json") JSON.parse(text)
        }
      }))
  }
})

describe("json", () => {
  it.effect("reads back as the logged message", () =>
    Effect.gen(function*() {
      const text = yield* printed(loggers.json, Effect.annotateLogs(Effect.logInfo(hostile), { job: hostile }))
      const { annotations, message } = JSON.parse(text)
      assert.deepStrictEqual({ annotations, message }, { annotations: { job: hostile }, message: hostile })
    }))
})

describe("pretty", () => {
  it.effect("shows message, spans, cause and annotations", () =>
    Effect.gen(function*() {
      const log = Effect.logError("it failed", Cause.fail(new TypeError("x is undefined"))).pipe(
        Effect.annotateLogs({ job: "mail", output: "one\ntwo", count: 3 }),
        Effect.withLogSpan("work")
      )
      const lines = (yield* printed(loggers.pretty, log)).split("\n").filter((line) => !/^ +at /.test(line))
      assert.match(lines[0]!, /^\[\d\d:\d\d:\d\d\.\d{3}\] ERROR \(#\d+\) work=0ms: it failed$/)
      assert.deepStrictEqual(lines.slice(1), [
        "  TypeError: x is undefined",
        "  job: mail",
        "  output: one",
        "      two",
        "  count: 3"
      ])
    }))
})
