import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { argv, ProcessPayload, validate } from "../../src/process/ProcessPayload.ts"

const decode = Schema.decodeUnknownEffect(ProcessPayload)
const encode = Schema.encodeEffect(ProcessPayload)

describe("ProcessPayload", () => {
  it.effect("decodes the whole wire form", () =>
    Effect.gen(function*() {
      const payload = yield* decode(JSON.parse(
        `{"command":["convert","a b",""],"cwd":"/srv","env":{"LANG":"C","DISPLAY":null},"extendEnv":false,` +
          `"input":{"base64":"AAEC/w=="},"timeout":1500,"outputLimit":0,"detach":false,"later":"ignored"}`
      ))
      assert.deepStrictEqual(payload, {
        command: ["convert", "a b", ""],
        cwd: "/srv",
        env: { LANG: "C", DISPLAY: null },
        extendEnv: false,
        input: Uint8Array.of(0, 1, 2, 255),
        timeout: Duration.millis(1500),
        outputLimit: 0,
        detach: false
      })
    }))

  it.effect("encodes a payload that a program writes", () =>
    Effect.gen(function*() {
      const full: ProcessPayload = {
        command: ["sh", "-c", "cat"],
        env: { A: null },
        input: Uint8Array.of(0, 255),
        timeout: "5 seconds"
      }
      assert.strictEqual(
        JSON.stringify(yield* encode(full)),
        `{"command":["sh","-c","cat"],"env":{"A":null},"input":{"base64":"AP8="},"timeout":5000}`
      )
      assert.strictEqual(
        JSON.stringify(yield* encode({ command: "ls | wc", input: "a\0b" })),
        `{"command":"ls | wc","input":"a\\u0000b"}`
      )
    }))

  const refused: ReadonlyArray<readonly [string, unknown]> = [
    ["no command", {}],
    ["an empty argv", { command: [] }],
    ["an empty program", { command: ["", "a"] }],
    ["an empty line", { command: "" }],
    ["NUL in an argument", { command: ["a", "b\0c"] }],
    ["NUL in a line", { command: "a\0b" }],
    ["NUL in cwd", { command: ["a"], cwd: "/a\0" }],
    ["NUL in a value of env", { command: ["a"], env: { A: "\0" } }],
    ["NUL in a name of env", { command: ["a"], env: { "A\0": "" } }],
    ["= in a name of env", { command: ["a"], env: { "A=B": "" } }],
    ["an empty name in env", { command: ["a"], env: { "": "x" } }],
    ["a number in env", { command: ["a"], env: { A: 1 } }],
    ["timeout 0", { command: ["a"], timeout: 0 }],
    ["a negative timeout", { command: ["a"], timeout: -1 }],
    ["a timeout in words", { command: ["a"], timeout: "5 seconds" }],
    ["a negative outputLimit", { command: ["a"], outputLimit: -1 }],
    ["a huge outputLimit", { command: ["a"], outputLimit: 1e12 }],
    ["bad base64", { command: ["a"], input: { base64: "%" } }],
    ["detach with a timeout", { command: ["a"], detach: true, timeout: 1 }],
    ["detach with input", { command: ["a"], detach: true, input: "" }],
    ["a bare string", "ls"]
  ]
  it.effect.each(refused)("refuses %s", ([, wire]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(decode(wire))
      assert.strictEqual(error._tag, "SchemaError")
    }))

  const osString = Schema.String.check(Schema.makeFilter((text) => !text.includes("\0")))
  const wire = Schema.Struct({
    command: Schema.Union([
      Schema.NonEmptyArray(osString.check(Schema.isNonEmpty())),
      osString.check(Schema.isNonEmpty())
    ]),
    cwd: Schema.optionalKey(osString.check(Schema.isNonEmpty())),
    env: Schema.optionalKey(Schema.Record(Schema.String.check(Schema.isPattern(/^\w+$/)), Schema.NullOr(osString))),
    extendEnv: Schema.optionalKey(Schema.Boolean),
    input: Schema.optionalKey(Schema.String),
    timeout: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1e9 }))),
    outputLimit: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1e6 })))
  })
  it.effect.prop("decodes and encodes to the same JSON", { wire }, ({ wire }) =>
    Effect.gen(function*() {
      const json = JSON.parse(JSON.stringify(wire))
      assert.deepEqual(yield* encode(yield* decode(json)), json)
    }))

  it.effect.prop(
    "keeps bytes, text and durations",
    {
      bytes: Schema.Uint8Array,
      text: Schema.String,
      millis: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1e12 }))
    },
    ({ bytes, millis, text }) =>
      Effect.gen(function*() {
        const send = (payload: ProcessPayload) =>
          encode(payload).pipe(Effect.flatMap((wire) => decode(JSON.parse(JSON.stringify(wire)))))
        assert.deepEqual((yield* send({ command: ["a"], input: bytes })).input, bytes)
        assert.strictEqual((yield* send({ command: ["a"], input: text })).input, text)
        const { timeout } = yield* send({ command: ["a"], timeout: Duration.millis(millis) })
        assert.strictEqual(Duration.toMillis(timeout ?? 0), millis)
      })
  )

  it("checks a payload that a program writes", () => {
    assert.isTrue(Result.isSuccess(validate({ command: ["a"], timeout: "5 seconds", input: new Uint8Array(1) })))
    assert.isTrue(Result.isFailure(validate({ command: ["a"], timeout: "Infinity" })))
    assert.isTrue(Result.isFailure(validate({ command: ["a"], timeout: 0 })))
    assert.isTrue(Result.isFailure(validate({ command: ["a\0"] })))
  })

  it("runs a line with the shell", () => {
    assert.deepStrictEqual(argv("ls | wc"), ["/bin/sh", "-c", "ls | wc"])
    assert.deepStrictEqual(argv(["ls", "-l"]), ["ls", "-l"])
  })
})
