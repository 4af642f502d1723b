/** Answers of a session (RFC 9113, sections 8.1 and 8.3). */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { Flag, Setting, Type } from "../../src/http2/frame/frame.ts"
import * as Peer from "./peer.ts"
import { Play } from "./peer.ts"

const responseOf = (play: Play, i: number) => {
  const answer = play.answers[i]
  assert.isTrue(answer !== undefined && Result.isSuccess(answer), String(Peer.brief(answer)))
  return Result.getOrThrow(answer!)
}

describe("answers", () => {
  it("a response may have informational responses before it, padding, trailers and a body in pieces", () => {
    const play = Play.ready()
    play.submit(1)
    play.sent()
    const padded = Buffer.concat([Buffer.from([3]), Buffer.from("lo"), Buffer.alloc(3)])
    play.feed(
      Peer.headers(1, [[":status", "103"], ["link", "x"], ["content-length", "5"]]),
      Peer.headers(1, [[":status", "201"], ["content-length", "10"], ["apns-id", "7"]]),
      Peer.data(1, "hel", 0),
      Peer.data(1, padded, Flag.padded),
      Peer.data(1, " you", 0),
      Peer.data(1, "!", 0),
      Peer.headers(1, [["x-trailer", "y"]], Flag.endHeaders | Flag.endStream)
    )
    const { body, headers, status } = responseOf(play, 0)
    assert.strictEqual(status, 201)
    assert.deepStrictEqual(headers, [["content-length", "10"], ["apns-id", "7"]])
    assert.strictEqual(Buffer.from(body).toString(), "hello you!")
    assert.strictEqual(play.session.pending, 0)
  })

  it("headers may come in pieces, with padding and a priority", () => {
    const play = Play.ready()
    play.submit(1)
    play.sent()
    const block = Peer.block([[":status", "200"], ["x-a", "1"], ["x-b", "2"]])
    const first = Buffer.concat([Buffer.from([2]), Buffer.alloc(5), block.subarray(0, 3), Buffer.alloc(2)])
    play.feed(
      Peer.frame(Type.headers, Flag.padded | Flag.priority | Flag.endStream, 1, first),
      Peer.frame(Type.continuation, 0, 1, block.subarray(3, 3)),
      Peer.frame(Type.continuation, Flag.endHeaders, 1, block.subarray(3))
    )
    assert.deepStrictEqual(responseOf(play, 0).headers, [["x-a", "1"], ["x-b", "2"]])
  })

  it("a response before the whole request is sent stops the rest of the request", () => {
    const play = Play.ready({}, [Setting.initialWindowSize, 10])
    play.submit(1, { body: Buffer.alloc(100) })
    assert.deepStrictEqual(play.words(), ["headers 1", "data 1"])
    play.feed(Peer.answer(1, 413))
    assert.deepStrictEqual(play.brief(), ["413"])
    assert.deepStrictEqual(play.words(), ["rstStream 1"])
  })

  const field = (name: string, value: string) =>
    Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value)])

  const literal = (name: string, value: string) =>
    Peer.frame(Type.headers, Flag.endHeaders, 1, Buffer.concat([Buffer.from([0x88]), field(name, value)]))

  const trailer = (name: string, value: string) =>
    Buffer.concat([
      Peer.headers(1, [[":status", "200"]]),
      Peer.frame(Type.headers, Flag.endHeaders | Flag.endStream, 1, field(name, value))
    ])

  const malformed: ReadonlyArray<readonly [string, Buffer]> = [
    ["no status", Peer.headers(1, [["x", "y"]])],
    ["an invalid status", Peer.headers(1, [[":status", "2x0"]])],
    ["two statuses", Peer.headers(1, [[":status", "200"], [":status", "200"]])],
    ["a pseudo-header of a request", Peer.headers(1, [[":status", "200"], [":path", "/"]])],
    ["a pseudo-header after another", Peer.headers(1, [["x", "y"], [":status", "200"]])],
    ["a header of HTTP/1.1", Peer.headers(1, [[":status", "200"], ["transfer-encoding", "chunked"]])],
    ["an invalid content-length", Peer.headers(1, [[":status", "200"], ["content-length", "-1"]])],
    [
      "two lengths",
      Peer.headers(1, [[":status", "200"], ["content-length", "1"], ["content-length", "2"]])
    ],
    ["a change of protocol", Peer.headers(1, [[":status", "101"]])],
    ["an informational response only", Peer.headers(1, [[":status", "100"]], Flag.endHeaders | Flag.endStream)],
    ["a body before its headers", Peer.data(1, "body")],
    [
      "a body that is too short",
      Buffer.concat([Peer.headers(1, [[":status", "200"], ["content-length", "3"]]), Peer.data(1, "ab")])
    ],
    [
      "headers amid a body",
      Buffer.concat([Peer.headers(1, [[":status", "200"]]), Peer.data(1, "ab", 0), Peer.headers(1, [["x", "y"]])])
    ],
    [
      "a status in the trailers",
      Buffer.concat([
        Peer.headers(1, [[":status", "200"]]),
        Peer.headers(1, [[":status", "200"]], Flag.endHeaders | Flag.endStream)
      ])
    ],
    // No encoder of ours would write these: 88, then a literal name and its value.
    ["a name in upper case", literal("X", "1")],
    ["a name with a space", literal("x y", "1")],
    ["an empty name", literal("", "1")],
    ["a value of two lines", literal("x", "1\r\n2")],
    ["a value that begins with a space", literal("x", " 1")],
    ["a value that ends with a tab", literal("x", "1\t")],
    ["a name in upper case in the trailers", trailer("X", "1")],
    ["a header of HTTP/1.1 in the trailers", trailer("transfer-encoding", "chunked")],
    ["a value of two lines in the trailers", trailer("x", "1\r\n2")],
    ["a body of 204", Buffer.concat([Peer.headers(1, [[":status", "204"]]), Peer.data(1, "body")])],
    ["a body of 304", Buffer.concat([Peer.headers(1, [[":status", "304"]]), Peer.data(1, "body")])]
  ]

  it.each(malformed)("a malformed response resets only its stream: %s", (_, bytes) => {
    const play = Play.ready()
    play.submit(2)
    play.sent()
    play.feed(bytes, Peer.answer(3, 204))
    assert.deepStrictEqual(play.brief(), ["Unknown 1", "204"])
    assert.deepStrictEqual(play.words(), ["rstStream 1"])
    assert.isFalse(play.hasEnded)
  })

  it("errors quote names and values escaped and short", () => {
    // no encoder of ours would write them
    const string = (text: string) => {
      const bytes = Buffer.from(text)
      const rest = bytes.length - 127
      return Buffer.concat([Buffer.from([127, rest & 127 | 128, rest >> 7]), bytes])
    }
    const hostile = "\u001b[31m\u202e".repeat(1000)
    const length = Buffer.concat([Buffer.from([0x88, 0x0f, 0x0d]), string(hostile)])
    const blocks: ReadonlyArray<Buffer> = [
      Buffer.concat([Buffer.from([0x08]), string(hostile)]),
      Buffer.concat([Buffer.from([0x88, 0x00]), string(hostile), string(hostile)]),
      Buffer.concat([Buffer.from([0x88, 0x00]), string(`:${hostile}`), string(hostile)]),
      length
    ]
    for (const block of blocks) {
      const play = Play.ready()
      play.submit(1)
      play.sent()
      play.feed(Peer.frame(Type.headers, 0, 1, block.subarray(0, 10_000)))
      play.feed(Peer.frame(Type.continuation, Flag.endHeaders, 1, block.subarray(10_000)))
      const [answer] = play.answers
      const message = answer && Result.isFailure(answer) ? answer.failure.message : ""
      assert.include(message, "\\x1b[31m\\u{202e}")
      assert.notMatch(message, /[\p{Cc}\p{Cf}]/u)
      assert.isBelow(message.length, 1000)
    }
  })

  it("a response to HEAD has no body, for any content-length", () => {
    const play = Play.ready()
    play.submit(2, { method: "HEAD" })
    play.sent()
    const head = (id: number) => Peer.headers(id, [[":status", "200"], ["content-length", "4"]])
    play.feed(head(1), Peer.data(1, "body"), head(3), Peer.data(3, ""))
    assert.deepStrictEqual(play.brief(), ["Unknown 1", "200"])
  })

  it("PRIORITY with an invalid length resets its stream", () => {
    const play = Play.ready()
    play.submit(2)
    play.sent()
    play.feed(Peer.frame(Type.priority, 0, 1, Buffer.alloc(4)), Peer.answer(3))
    assert.deepStrictEqual(play.brief(), ["Unknown 6", "200"])
  })

  it("a response with too large headers or body resets its stream", () => {
    const play = Play.ready({ maxResponseSize: 10 })
    play.submit(3)
    play.sent()
    play.feed(
      Peer.headers(1, [[":status", "200"]]),
      Peer.data(1, "0123456789", 0),
      Peer.data(1, "0"),
      Peer.headers(3, [[":status", "200"]]),
      Peer.data(3, "0123456789"),
      Peer.frame(Type.headers, 0, 5, Buffer.concat([Peer.block([[":status", "200"]]), Buffer.alloc(2000, 0x90)])),
      Peer.frame(Type.continuation, Flag.endHeaders, 5)
    )
    assert.deepStrictEqual(play.brief(), ["Unknown 8", "200", "Unknown 8"])
    assert.isFalse(play.hasEnded)
  })

  it("frames for an abandoned request are ignored", () => {
    const play = Play.ready()
    const [given] = play.submit(2)
    play.sent()
    play.session.cancel(given!)
    play.session.cancel(given!)
    assert.deepStrictEqual(play.words(), ["rstStream 1"])
    play.feed(Peer.headers(1, [[":status", "200"]]), Peer.data(1, "late"), Peer.rst(1, 0), Peer.answer(3))
    assert.deepStrictEqual(play.brief(), ["open", "200"])
    assert.isTrue(given!.isSettled)
    assert.isFalse(play.hasEnded)
  })
})
