import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Envelope from "../src/Envelope.ts"

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (body: Uint8Array) => new TextDecoder().decode(body)
const decodeText = (body: string) => Envelope.decode(bytes(body))

const failure = (body: Uint8Array | string): string => {
  const result = Envelope.decode(typeof body === "string" ? bytes(body) : body)
  assert.isTrue(Result.isFailure(result))
  return Result.getOrThrow(Result.flip(result))
}

/** What JSON can carry and give back the same: no -0. */
const Json = Schema.Union([
  Schema.Null,
  Schema.Boolean,
  Schema.Natural,
  Schema.String,
  Schema.Array(Schema.String),
  Schema.Record(Schema.Literals(["a", "b", "payload", "backq"]), Schema.String)
])

const Fields = Schema.Struct({
  id: Schema.String,
  job: Schema.String,
  payload: Json,
  version: Schema.optionalKey(Schema.Natural),
  publishedAt: Schema.optionalKey(Schema.Natural),
  expiresAt: Schema.optionalKey(Schema.Natural),
  traceparent: Schema.optionalKey(Schema.String)
})

describe("Envelope", () => {
  it.prop("an encoded envelope decodes to the same", [Fields], ([fields]) => {
    // a lone surrogate has no UTF-8: no broker can carry it
    const envelope = JSON.parse(JSON.stringify({ backq: 1, ...fields }).toWellFormed()) as Envelope.Envelope
    assert.deepStrictEqual(Result.getOrThrow(Envelope.decode(Envelope.encode(envelope))), envelope)
  })

  it.prop("decode never throws, for any bytes", [Schema.Uint8Array], ([body]) => {
    assert.isTrue(Result.isResult(Envelope.decode(body)))
  })

  it("is one JSON object with these bytes", () => {
    const body = Envelope.encode({
      backq: 1,
      id: "0193",
      job: "send-welcome",
      version: 2,
      payload: { userId: "Zoë" },
      publishedAt: 1764000000000,
      expiresAt: 1764000060000,
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    })
    assert.strictEqual(
      text(body),
      `{"backq":1,"id":"0193","job":"send-welcome","version":2,"payload":{"userId":"Zoë"},"publishedAt":1764000000000,` +
        `"expiresAt":1764000060000,"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`
    )
  })

  it("needs four fields, and ignores unknown ones", () => {
    assert.deepStrictEqual(
      Result.getOrThrow(decodeText(`{"backq":1,"id":"a","job":"j","payload":null,"future":{"x":1}}`)),
      { backq: 1, id: "a", job: "j", payload: null }
    )
  })

  it("accepts white space and a byte order mark", () => {
    assert.isTrue(Result.isSuccess(decodeText(`\uFEFF {"backq":1,"id":"a","job":"j","payload":1}\r\n`)))
  })

  const bad: ReadonlyArray<readonly [string, string, RegExp]> = [
    ["an empty body", "", /^the body is not JSON$/],
    ["text", "hello", /^the body is not JSON$/],
    ["cut JSON", `{"backq":1,"id":"a"`, /^the body is not JSON$/],
    ["another object", `{"command":["true"]}`, /^the body is not an envelope: .*"backq"/],
    ["an array", "[]", /^the body is not an envelope/],
    ["null", "null", /^the body is not an envelope/],
    ["another version", `{"backq":2,"id":"a","job":"j","payload":1}`, /^the body is not an envelope.*backq/],
    ["no payload", `{"backq":1,"id":"a","job":"j"}`, /payload/],
    ["no job", `{"backq":1,"id":"a","payload":1}`, /"job"/],
    ["a job that is no text", `{"backq":1,"id":"a","job":1,"payload":1}`, /"job"/],
    ["a version that is no number", `{"backq":1,"id":"a","job":"j","payload":1,"version":"2"}`, /"version"/],
    ["a deadline that is no number", `{"backq":1,"id":"a","job":"j","payload":1,"expiresAt":"soon"}`, /"expiresAt"/]
  ]

  it.each(bad)("names the fault of %s, on one line", (_, body, expected) => {
    assert.match(failure(body), expected)
    assert.notInclude(failure(body), "\n")
  })

  it("says that bytes which are not UTF-8 are not JSON", () => {
    assert.strictEqual(failure(Uint8Array.of(0x22, 0xff, 0xfe, 0x22)), "the body is not JSON")
  })

  it("never quotes the body", () => {
    assert.notInclude(failure(`{"backq":1,"id":{"password":"hunter2"},"job":"hunter2","payload":1}`), "hunter2")
    assert.notInclude(failure("hunter2"), "hunter2")
  })
})

describe("traceparent", () => {
  const header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

  it("names a span and is read again", () => {
    const span = Option.getOrThrow(Envelope.span(header))
    assert.include(span, {
      _tag: "ExternalSpan",
      traceId: "0af7651916cd43dd8448eb211c80319c",
      spanId: "b7ad6b7169203331",
      sampled: true
    })
    assert.strictEqual(Envelope.traceparent(span), header)
  })

  it("says whether the span is sampled", () => {
    const span = Option.getOrThrow(Envelope.span(header.replace(/01$/, "00")))
    assert.isFalse(span.sampled)
    assert.strictEqual(Envelope.traceparent(span), header.replace(/01$/, "00"))
  })

  it.each([
    "",
    "nonsense",
    header.toUpperCase(),
    header.replace(/^00/, "01"),
    `${header}-extra`,
    header.replace(/-[0-9a-f]{32}-/, `-${"0".repeat(32)}-`),
    header.replace(/-[0-9a-f]{16}-/, `-${"0".repeat(16)}-`)
  ])("%j names none", (value) => assert.isTrue(Option.isNone(Envelope.span(value))))

  it("gives the payload with every number as it was published, on request", () => {
    const json = (payload: string) => `{"backq":1,"id":"1","job":"a","payload":${payload}}`
    for (
      const payload of [`{"id":1234567890123456789,"big":1e400}`, `[-0,0.1000000000000000055]`, `9007199254740993`]
    ) {
      const body = bytes(json(payload))
      const envelope = Result.getOrThrow(Envelope.decode(body))
      assert.strictEqual(JSON.stringify(Envelope.exactPayload(body, envelope)), payload)
      assert.notStrictEqual(JSON.stringify(envelope.payload), payload)
    }
    const plain = bytes(json(`{"id":42}`))
    const envelope = Result.getOrThrow(Envelope.decode(plain))
    assert.strictEqual(Envelope.exactPayload(plain, envelope), envelope.payload)
  })
})
