/** Opening, requests and bytes of a session (RFC 9113, sections 3 and 8.2). */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Request } from "../../src/http2/Connection.ts"
import { Flag, Setting } from "../../src/http2/frame/frame.ts"
import * as Peer from "./peer.ts"
import { Play } from "./peer.ts"

const { maxConcurrentStreams } = Setting

describe("opening", () => {
  it("sends its settings, and opens one stream until the peer's settings arrive", () => {
    const play = new Play()
    play.submit(3)
    const [settings, window, ...others] = play.sent()
    assert.strictEqual(settings!.type, "settings")
    assert.strictEqual(window!.type, "windowUpdate")
    assert.deepStrictEqual(others.map(({ stream, type }) => [type, stream]), [["headers", 1]])
    assert.strictEqual(play.session.room, 0)
    play.feed(Peer.settings([maxConcurrentStreams, 2]))
    assert.deepStrictEqual(play.words(), ["settings", "headers 3"])
  })

  it("a request has the form of RFC 9113 on the wire", () => {
    const play = Play.ready()
    const shared = [{ name: "apns-topic", value: "org.example", index: true }]
    play.submit(1, {
      path: "/3/device/ab",
      shared,
      headers: [{ name: "apns-id", value: "1" }],
      body: Buffer.from("{}")
    })
    const [headers, data] = play.sent()
    assert.deepStrictEqual(play.fields(headers!), [
      [":method", "POST"],
      [":scheme", "https"],
      [":authority", "test"],
      [":path", "/3/device/ab"],
      ["apns-topic", "org.example"],
      ["apns-id", "1"]
    ])
    assert.strictEqual(headers!.flags, Flag.endHeaders)
    assert.strictEqual(data!.flags, Flag.endStream)
    assert.strictEqual(data!.payload.toString(), "{}")
    // The second time, each constant header takes one byte.
    play.feed(Peer.answer(1))
    play.submit(1, { path: "/3/device/ab", shared })
    const [second] = play.sent()
    assert.strictEqual(second!.flags, Flag.endHeaders | Flag.endStream)
    assert.strictEqual(second!.payload.length, 4 + 1 + 1 + "/3/device/ab".length)
  })

  it("a header block larger than a frame continues in CONTINUATION", () => {
    const play = Play.ready()
    const value = "v".repeat(40_000)
    play.submit(1, { headers: [{ name: "x-large", value }] })
    const frames = play.sent()
    assert.deepStrictEqual(frames.map(({ type }) => type), ["headers", "continuation", "continuation"])
    assert.deepStrictEqual(frames.map(({ flags }) => flags), [Flag.endStream, 0, Flag.endHeaders])
    const payload = Buffer.concat(frames.map(({ payload }) => payload))
    assert.deepStrictEqual(play.fields({ ...frames[0]!, payload }).at(-1), ["x-large", value])
  })

  it("an invalid request does not harm the others", () => {
    const play = Play.ready()
    play.submit(1, { shared: [{ name: "x-first", value: "1", index: true }], headers: [{ name: "Bad", value: "" }] })
    play.submit(1, { path: "" })
    play.submit(1, { headers: [{ name: "x", value: "a\r\nb" }] })
    play.submit(1, { headers: [{ name: "x-first", value: "1", index: true }] })
    const [headers, ...none] = play.sent()
    assert.deepStrictEqual(none, [])
    assert.strictEqual(headers!.stream, 1)
    assert.deepStrictEqual(play.fields(headers!).at(-1), ["x-first", "1"])
    assert.deepStrictEqual(play.brief(), ["RequestInvalid", "RequestInvalid", "RequestInvalid", "open"])
  })

  it("an invalid request calls the listener, since its slot is free", () => {
    const play = Play.ready()
    let told = 0
    play.session.onRoom = () => told++
    play.submit(1, { path: "" })
    play.sent()
    play.sent()
    assert.isAbove(told, 0)
  })
})

describe("a malformed request", () => {
  const header = (name: string, value: string, index = false) => ({ headers: [{ name, value, index }] })
  const bad: ReadonlyArray<readonly [string, Partial<Request>]> = [
    ["a value that begins with a space", header("x", " a")],
    ["a value that ends with a space", header("x", "a ")],
    ["a value that begins with a tab", header("x", "\ta")],
    ["a value that ends with a tab", header("x", "a\t")],
    ["a value that is blank", header("x", " ")],
    ["a value that ends with a space, indexed", header("x", "a ", true)],
    ["a value that ends with a space, not in ASCII", header("x", "ä ")],
    ["a control character", header("x", "a\u007fb")],
    ["no method", { method: "" }],
    ["a method with a space", { method: "GE T" }],
    ["CONNECT", { method: "CONNECT" }],
    ["a path without a slash", { path: "3/device" }],
    ["a star in another method than OPTIONS", { path: "*" }],
    ["a path with a space", { path: "/a b" }],
    ["a path of two lines", { path: "/a\r\nb" }],
    ["a path with a tab", { path: "/a\tb" }],
    ["a content-length of another body", { ...header("content-length", "7"), body: Buffer.from("{}") }],
    ["a content-length without a body", header("content-length", "1")],
    ["a shared content-length", { shared: header("content-length", "1", true).headers }]
  ]

  it.each(bad)("%s", (_, request) => {
    const play = Play.ready()
    play.submit(1, request)
    play.submit(1)
    assert.deepStrictEqual(play.words(), ["headers 1"])
    assert.deepStrictEqual(play.brief(), ["RequestInvalid", "open"])
  })

  it("valid requests are sent", () => {
    const play = Play.ready()
    const shared = header("content-length", "2", true).headers
    play.submit(2, { shared, body: Buffer.from("{}") })
    play.submit(1, { shared, body: Buffer.from("{ }") })
    play.submit(1, { ...header("content-length", "0"), method: "OPTIONS", path: "*" })
    play.submit(1, header("x", "a b\tc"))
    play.submit(1, header("x", ""))
    play.sent()
    assert.deepStrictEqual(play.brief(), ["open", "open", "RequestInvalid", "open", "open", "open"])
  })
})

describe("bytes", () => {
  const dialogue = Buffer.concat(Peer.dialogue)

  const play = (cuts: ReadonlyArray<number>) => {
    const play = Play.ready({}, [maxConcurrentStreams, 20])
    play.submit(7)
    play.sent()
    let from = 0
    for (const cut of [...cuts, dialogue.length]) {
      play.feed(dialogue.subarray(from, cut))
      from = cut
    }
    return { answers: play.answers, brief: play.brief(), words: play.words(), detail: play.ending?.detail }
  }

  const whole = play([])

  it("are handled in one piece", () => {
    assert.deepStrictEqual(whole.brief, ["200", "200", "200", "200", "Refused 7", "410", "Refused 2"])
    const responses = [0, 2, 5].map((i) => Result.getOrThrow(whole.answers[i]!))
    assert.deepStrictEqual(responses[0]!.headers, [["apns-id", "x"]])
    assert.deepStrictEqual(responses[1]!.headers, [["x", "1"]])
    const text = (i: number) => Buffer.from(responses[i]!.body).toString()
    assert.strictEqual(text(0), "hello world")
    assert.strictEqual(text(2), `{"reason":"Unregistered"}`)
    assert.deepStrictEqual(whole.words, ["settings", "ping", "goaway"])
  })

  it("are handled cut at every byte, at pairs of bytes, and into single bytes", () => {
    for (let cut = 1; cut < dialogue.length; cut++) {
      assert.deepStrictEqual(play([cut, Math.min(cut + (cut % 23), dialogue.length)]), whole)
    }
    assert.deepStrictEqual(play(Array.from({ length: dialogue.length - 1 }, (_, i) => i + 1)), whole)
  })

  it("that end at any byte answer the requests with a complete response", () => {
    const first = Buffer.concat([
      Peer.headers(1, [[":status", "200"], ["content-length", "2"]]),
      Peer.data(1, "{}")
    ])
    const answers = Buffer.concat([first, Peer.answer(3)])
    for (let at = 0; at <= answers.length; at++) {
      const play = Play.ready({}, [maxConcurrentStreams, 2])
      play.submit(3)
      play.sent()
      play.feed(answers.subarray(0, at))
      play.session.close("cut")
      assert.deepStrictEqual(play.brief(), [
        at >= first.length ? "200" : "Unknown",
        at >= answers.length ? "200" : "Unknown",
        "NotSent"
      ])
    }
  })

  const Cut = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: dialogue.length }))

  it.prop("are handled cut anywhere", { cuts: Schema.Array(Cut) }, ({ cuts }) => {
    assert.deepStrictEqual(play(cuts.toSorted((a, b) => a - b)), whole)
  })

  it.prop("of any content end each request once, and end the session or go on", {
    bytes: Schema.Uint8Array,
    frames: Schema.Array(Schema.Struct({
      type: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 10 })),
      flags: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 })),
      stream: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 8 })),
      payload: Schema.Uint8Array
    }))
  }, ({ bytes, frames }) => {
    const play = Play.ready()
    play.submit(3)
    play.sent()
    for (const { flags, payload, stream, type } of frames) play.feed(Peer.frame(type, flags, stream, payload))
    play.feed(bytes)
    play.session.flush()
    play.session.close("the end")
    assert.notInclude(play.brief(), "open")
    assert.strictEqual(play.session.pending, 0)
  })
})
