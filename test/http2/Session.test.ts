/** What a session makes of what its peer does. RFC 9113. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Goaway, Request } from "../../src/http2/Connection.ts"
import { Code, Flag, Setting, Type } from "../../src/http2/frame/frame.ts"
import * as Peer from "./peer.ts"
import { Play } from "./peer.ts"

const { maxConcurrentStreams } = Setting

const responseOf = (play: Play, i: number) => {
  const answer = play.answers[i]
  assert.isTrue(answer !== undefined && Result.isSuccess(answer), String(Peer.brief(answer)))
  return Result.getOrThrow(answer!)
}

describe("opening", () => {
  it("says its settings, and opens one stream until the peer has said its own", () => {
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

  it("a request on the wire", () => {
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
    // The second time, what is constant takes a byte each.
    play.feed(Peer.answer(1))
    play.submit(1, { path: "/3/device/ab", shared })
    const [second] = play.sent()
    assert.strictEqual(second!.flags, Flag.endHeaders | Flag.endStream)
    assert.strictEqual(second!.payload.length, 4 + 1 + 1 + "/3/device/ab".length)
  })

  it("a header block that is larger than a frame", () => {
    const play = Play.ready()
    const value = "v".repeat(40_000)
    play.submit(1, { headers: [{ name: "x-large", value }] })
    const frames = play.sent()
    assert.deepStrictEqual(frames.map(({ type }) => type), ["headers", "continuation", "continuation"])
    assert.deepStrictEqual(frames.map(({ flags }) => flags), [Flag.endStream, 0, Flag.endHeaders])
    const payload = Buffer.concat(frames.map(({ payload }) => payload))
    assert.deepStrictEqual(play.fields({ ...frames[0]!, payload }).at(-1), ["x-large", value])
  })

  it("a request that can't be written does no harm to the others", () => {
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

  it("a request that can't be written tells whoever waits that its place is free", () => {
    const play = Play.ready()
    let told = 0
    play.session.onRoom = () => told++
    play.submit(1, { path: "" })
    play.sent()
    play.sent()
    assert.isAbove(told, 0)
  })
})

describe("a request that the peer would call malformed is not sent", () => {
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
    ["a star that is not of OPTIONS", { path: "*" }],
    ["a path with a space", { path: "/a b" }],
    ["a path of two lines", { path: "/a\r\nb" }],
    ["a path with a tab", { path: "/a\tb" }],
    ["a content-length that is not the body's", { ...header("content-length", "7"), body: Buffer.from("{}") }],
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

  it("what is allowed", () => {
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

describe("answers", () => {
  it("status, headers, body in pieces, padding, trailers, information before", () => {
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

  it("headers in pieces, with padding and a priority", () => {
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

  it("an answer before the request is sent in whole: the rest stays here", () => {
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
    ["a status that is none", Peer.headers(1, [[":status", "2x0"]])],
    ["two statuses", Peer.headers(1, [[":status", "200"], [":status", "200"]])],
    ["a pseudo-header of a request", Peer.headers(1, [[":status", "200"], [":path", "/"]])],
    ["a pseudo-header after another", Peer.headers(1, [["x", "y"], [":status", "200"]])],
    ["a header of HTTP/1.1", Peer.headers(1, [[":status", "200"], ["transfer-encoding", "chunked"]])],
    ["a content-length that is none", Peer.headers(1, [[":status", "200"], ["content-length", "-1"]])],
    [
      "two lengths",
      Peer.headers(1, [[":status", "200"], ["content-length", "1"], ["content-length", "2"]])
    ],
    ["a change of protocol", Peer.headers(1, [[":status", "101"]])],
    ["information and nothing else", Peer.headers(1, [[":status", "100"]], Flag.endHeaders | Flag.endStream)],
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
    ["a body of no content", Buffer.concat([Peer.headers(1, [[":status", "204"]]), Peer.data(1, "body")])],
    ["a body of what has not changed", Buffer.concat([Peer.headers(1, [[":status", "304"]]), Peer.data(1, "body")])]
  ]

  it.each(malformed)("malformed, only its stream is reset: %s", (_, bytes) => {
    const play = Play.ready()
    play.submit(2)
    play.sent()
    play.feed(bytes, Peer.answer(3, 204))
    assert.deepStrictEqual(play.brief(), ["Unknown 1", "204"])
    assert.deepStrictEqual(play.words(), ["rstStream 1"])
    assert.isFalse(play.hasEnded)
  })

  it("names and values are quoted escaped and short", () => {
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

  it("an answer to HEAD has no body, whatever length it tells", () => {
    const play = Play.ready()
    play.submit(2, { method: "HEAD" })
    play.sent()
    const head = (id: number) => Peer.headers(id, [[":status", "200"], ["content-length", "4"]])
    play.feed(head(1), Peer.data(1, "body"), head(3), Peer.data(3, ""))
    assert.deepStrictEqual(play.brief(), ["Unknown 1", "200"])
  })

  it("PRIORITY of a wrong length resets its stream", () => {
    const play = Play.ready()
    play.submit(2)
    play.sent()
    play.feed(Peer.frame(Type.priority, 0, 1, Buffer.alloc(4)), Peer.answer(3))
    assert.deepStrictEqual(play.brief(), ["Unknown 6", "200"])
  })

  it("an answer that is too long, in headers or body", () => {
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

  it("what comes for a request that was given up is let pass", () => {
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

describe("what the peer allows", () => {
  it("streams: more, fewer, none, and more again", () => {
    const play = Play.ready({}, [maxConcurrentStreams, 3])
    play.submit(10)
    assert.deepStrictEqual(play.words(), ["headers 1", "headers 3", "headers 5"])
    play.feed(Peer.settings([maxConcurrentStreams, 1]), Peer.answer(1), Peer.answer(3))
    assert.deepStrictEqual(play.words(), ["settings"])
    play.feed(Peer.answer(5))
    assert.deepStrictEqual(play.words(), ["headers 7"])
    play.feed(Peer.settings([maxConcurrentStreams, 0]), Peer.answer(7))
    assert.deepStrictEqual(play.words(), ["settings"])
    assert.strictEqual(play.session.room, 0)
    play.feed(Peer.settings([maxConcurrentStreams, 1000]))
    assert.strictEqual(play.words().length, 1 + 6)
    assert.strictEqual(play.session.room, 994)
  })

  it("a request that is given up while it waits makes room for others", () => {
    const play = Play.ready({}, [maxConcurrentStreams, 2])
    const submitted = play.submit(4)
    play.sent()
    play.session.cancel(submitted[2]!)
    play.session.cancel(submitted[0]!)
    assert.strictEqual(play.session.pending, 2)
    assert.deepStrictEqual(play.words(), ["rstStream 1", "headers 5"])
    play.feed(Peer.answer(3), Peer.answer(5))
    assert.deepStrictEqual(play.brief(), ["open", "200", "open", "200"])
    assert.strictEqual(play.session.room, 2)
  })

  it("requests that are given up while no stream is free are forgotten, and the others keep their order", () => {
    const play = Play.ready({}, [maxConcurrentStreams, 1])
    play.submit(1)
    play.sent()
    const kept = () => play.session["waiting"]["streams"].length
    for (let i = 0; i < 1000; i++) {
      const [first, second] = play.submit(3)
      play.session.cancel(second!)
      if (i >= 10) play.session.cancel(first!)
    }
    assert.strictEqual(play.session.pending, 1 + 1000 + 10)
    assert.isAtMost(kept(), 2 * 1010 + 64)
    const order: Array<number> = []
    for (let id = 1; play.session.pending > 0; id += 2) {
      play.feed(Peer.answer(id))
      order.push(play.answers.findLastIndex((answer) => answer !== undefined))
      play.sent()
    }
    assert.deepStrictEqual(order, order.toSorted((a, b) => a - b))
    for (let i = 0; i < 1000; i++) play.session.cancel(play.submit(1)[0]!)
    assert.isAtMost(kept(), 64)
  })

  it("our own limit holds where the peer's is higher", () => {
    const play = Play.ready({ maxStreams: 2 }, [maxConcurrentStreams, 100])
    assert.strictEqual(play.session.room, 2)
    play.submit(5)
    assert.deepStrictEqual(play.words(), ["headers 1", "headers 3"])
  })

  it("bodies: the window of all streams", () => {
    const play = Play.ready()
    play.submit(20, { body: Buffer.alloc(16_384) })
    const sent = play.sent().filter(({ type }) => type === "data").reduce((sum, { payload }) => sum + payload.length, 0)
    assert.strictEqual(sent, 65_535)
    assert.strictEqual(play.session.room, 0)
    // Nothing is opened that could not send its body.
    assert.strictEqual(play.session.streams.size, 4)
    const rooms = play.rooms
    play.feed(Peer.windowUpdate(0, 16_385))
    assert.deepStrictEqual(play.words(), ["data 7", "headers 9", "data 9"])
    assert.strictEqual(play.rooms, rooms + 1)
    play.feed(Peer.windowUpdate(0, 1_000_000))
    play.sent()
    assert.strictEqual(play.session.streams.size, 20)
  })

  it("room is what the window of all streams carries, and those who wait are told when it grows", () => {
    const play = Play.ready({}, [maxConcurrentStreams, 1000])
    const { session } = play
    const fill = () => {
      let count = 0
      for (; session.room > 0; count++) play.submit(1, { body: Buffer.alloc(4096) })
      return count
    }
    assert.strictEqual(session.room, 1000)
    // 16 fit into 65,535 bytes; the mean size is learnt from the first ones.
    const first = fill()
    assert.isAtLeast(first, 16)
    assert.isAtMost(first, 24)
    play.sent()
    assert.strictEqual(session.streams.size, 16)
    assert.strictEqual(session.room, 0)
    play.feed(Peer.windowUpdate(0, 65_536))
    const { rooms } = play
    play.sent()
    assert.strictEqual(play.rooms, rooms + 1)
    play.feed(Peer.windowUpdate(0, 160 * 4096))
    assert.approximately(fill(), 170, 8)
    assert.strictEqual(play.rooms, rooms + 1)
    play.sent()
    assert.strictEqual(play.rooms, rooms + 2)
  })

  it("room for small bodies is that of the streams again, after a few of them", () => {
    const play = Play.ready({}, [maxConcurrentStreams, 100])
    play.submit(20, { body: Buffer.alloc(3000) })
    play.sent()
    for (let i = 0; i < 20; i++) play.feed(Peer.answer(2 * i + 1))
    assert.isBelow(play.session.room, 5)
    play.feed(Peer.windowUpdate(0, 60_000))
    for (let i = 0; i < 64; i++) {
      play.submit(1, { body: Buffer.alloc(100) })
      play.sent()
      play.feed(Peer.answer(41 + 2 * i))
    }
    assert.strictEqual(play.session.room, 100)
  })

  it("a body that is larger than the window finds room", () => {
    const play = Play.ready()
    for (let i = 0; i < 100; i++) {
      assert.isAbove(play.session.room, 0)
      play.submit(1, { body: Buffer.alloc(1_000_000) })
      play.sent()
      play.feed(Peer.windowUpdate(0, 1_000_000), Peer.windowUpdate(2 * i + 1, 1_000_000))
      play.sent()
      play.feed(Peer.answer(2 * i + 1))
    }
    assert.notInclude(play.brief(), "open")
  })

  it("bodies: the window of a stream, which settings change under way", () => {
    const play = Play.ready({}, [Setting.initialWindowSize, 10])
    play.submit(1, { body: Buffer.from("0123456789abcdefghij") })
    assert.strictEqual(play.sent()[1]!.payload.toString(), "0123456789")
    // 10 were sent, so that 4 leaves a debt of 6.
    play.feed(Peer.settings([Setting.initialWindowSize, 4]), Peer.windowUpdate(1, 6))
    assert.deepStrictEqual(play.words(), ["settings"])
    play.feed(Peer.windowUpdate(1, 1))
    assert.strictEqual(play.sent()[0]!.payload.toString(), "a")
    play.feed(Peer.settings([Setting.initialWindowSize, 100]))
    const last = play.sent()[1]!
    assert.strictEqual(last.payload.toString(), "bcdefghij")
    assert.strictEqual(last.flags, Flag.endStream)
  })

  it("bodies: the size of a frame", () => {
    const play = Play.ready()
    play.submit(1, { body: Buffer.alloc(40_000) })
    assert.deepStrictEqual(play.sent().slice(1).map(({ payload }) => payload.length), [16_384, 16_384, 7232])
  })

  it("bodies: no more than a batch is written at a time, and an idle session gives its buffers back", () => {
    const play = Play.ready({}, [Setting.initialWindowSize, 10], [Setting.maxFrameSize, 0xffffff])
    play.feed(Peer.windowUpdate(0, 2 ** 30))
    play.submit(20, { body: Buffer.alloc(500_000) })
    play.sent()
    play.feed(Peer.settings([Setting.initialWindowSize, 2 ** 24]))
    let total = 0
    for (let sent = play.sent(); sent.length > 0; sent = play.sent()) {
      const size = sent.reduce((sum, { payload }) => sum + payload.length, 0)
      assert.isAtMost(size, 400_000)
      total += size
    }
    assert.isAtLeast(total, 20 * 499_990)
    for (let i = 0; i < 20; i++) play.feed(Peer.answer(2 * i + 1))
    play.sent()
    play.session.tick()
    assert.isAtMost(play.session["outbox"].held, 2 * 16_384)
  })

  it("bodies: the size of a frame goes up and down", () => {
    const play = Play.ready({}, [Setting.maxFrameSize, 20_000], [Setting.initialWindowSize, 1_000_000])
    play.feed(Peer.windowUpdate(0, 1_000_000))
    const sizes = () => {
      play.submit(1, { body: Buffer.alloc(50_000), headers: [{ name: "x", value: "v".repeat(30_000) }] })
      return play.sent().filter(({ stream }) => stream > 0).map(({ payload }) => payload.length)
    }
    assert.deepStrictEqual(sizes().map((size) => size > 19_000), [true, false, true, true, false])
    play.feed(Peer.settings([Setting.maxFrameSize, 16_384]))
    assert.deepStrictEqual(sizes().slice(-4), [16_384, 16_384, 16_384, 848])
    play.feed(Peer.settings([Setting.maxFrameSize, 0xffffff]))
    assert.deepStrictEqual(sizes().slice(-1), [50_000])
  })

  it("our table of headers follows the peer's", () => {
    const play = Play.ready({}, [Setting.headerTableSize, 0])
    const shared = [{ name: "x-topic", value: "one", index: true }]
    play.submit(2, { shared })
    const [first, second] = play.sent()
    assert.deepStrictEqual(play.fields(first!).at(-1), ["x-topic", "one"])
    assert.strictEqual(first!.payload[0], 0x20)
    assert.strictEqual(second!.payload.length, first!.payload.length - 1)
    play.fields(second!)
    play.feed(Peer.settings([Setting.headerTableSize, 1_000_000]), Peer.answer(1), Peer.answer(3))
    play.submit(2, { shared })
    const [, third, fourth] = play.sent()
    play.fields(third!)
    assert.deepStrictEqual(play.fields(fourth!).at(-1), ["x-topic", "one"])
    assert.isBelow(fourth!.payload.length, 10)
  })

  it("the smallest table of headers counts, also of those that are named together", () => {
    const play = Play.ready()
    const shared = [{ name: "x-topic", value: "one", index: true }]
    play.submit(1, { shared })
    play.fields(play.sent()[0]!)
    play.feed(Peer.settings([Setting.headerTableSize, 0], [Setting.headerTableSize, 4096]))
    play.submit(1, { shared })
    const [, headers] = play.sent()
    // Size updates to 0 and to 4096.
    assert.strictEqual(headers!.payload.toString("hex", 0, 4), "203fe11f")
    assert.deepStrictEqual(play.fields(headers!).at(-1), ["x-topic", "one"])
  })

  it("a request without a body does not wait for the window of all streams", () => {
    const play = Play.ready()
    play.submit(1, { body: Buffer.alloc(65_535) })
    play.sent()
    play.submit(1, { method: "GET" })
    play.submit(1, { body: Buffer.alloc(1) })
    play.submit(1, { method: "GET" })
    assert.deepStrictEqual(play.words(), ["headers 3"])
    play.feed(Peer.windowUpdate(0, 1))
    assert.deepStrictEqual(play.words(), ["headers 5", "data 5", "headers 7"])
  })

  it("the peer's table of headers: none, once it has taken note of ours", () => {
    const indexed = Buffer.from([0x88, 0x40, 1, 0x78, 1, 0x31])
    const play = Play.ready()
    play.submit(3)
    play.sent()
    play.feed(Peer.frame(Type.headers, Flag.endHeaders | Flag.endStream, 1, indexed))
    play.feed(Peer.frame(Type.headers, Flag.endHeaders | Flag.endStream, 3, Buffer.from([0x88, 0xbe])))
    assert.deepStrictEqual(responseOf(play, 1).headers, [["x", "1"]])
    play.feed(Peer.frame(Type.settings, Flag.ack, 0))
    play.feed(Peer.frame(Type.headers, Flag.endHeaders | Flag.endStream, 5, Buffer.from([0x88, 0xbe])))
    assert.strictEqual(play.left(), Code.compressionError)
  })

  it("answers: we take more when half of the window is used", () => {
    const play = Play.ready({ maxResponseSize: 20_000_000 })
    play.submit(1)
    play.sent()
    play.feed(Peer.headers(1, [[":status", "200"]]))
    let given = 0
    for (let i = 0; i < 1100; i++) {
      play.feed(Peer.data(1, Buffer.alloc(16_384), 0))
      given += play.sent().filter(({ stream }) => stream === 0).reduce(
        (sum, one) => sum + one.payload.readUInt32BE(),
        0
      )
    }
    assert.strictEqual(given, 16 * 1024 * 1024)
    assert.isFalse(play.hasEnded)
  })

  it("padding does not use up the window of a stream, and is not given back byte by byte", () => {
    const play = Play.ready({ maxResponseSize: 1000 })
    play.submit(1)
    play.sent()
    play.feed(Peer.headers(1, [[":status", "200"]]))
    const padded = Peer.data(1, Buffer.concat([Buffer.from([200, 120]), Buffer.alloc(200)]), Flag.padded)
    let window = 1001 + 16_384
    let updates = 0
    for (let i = 0; i < 1000; i++) {
      window -= 202
      assert.isAtLeast(window, 0)
      play.feed(padded)
      for (const { payload, stream } of play.sent()) {
        if (stream !== 1) continue
        window += payload.readUInt32BE()
        updates++
      }
    }
    play.feed(Peer.data(1, ""))
    assert.strictEqual(responseOf(play, 0).body.length, 1000)
    assert.strictEqual(updates, 12)
  })
})

describe("GOAWAY and resets", () => {
  for (const code of [Code.noError, Code.protocolError, Code.enhanceYourCalm]) {
    it(`code ${code}: those above are refused, those below still answered, those that wait not sent`, () => {
      const play = Play.ready({}, [maxConcurrentStreams, 4])
      play.submit(6)
      play.sent()
      play.feed(Peer.answer(1), Peer.goaway(5, code, `{"reason":"Shutdown"}`))
      assert.deepStrictEqual(play.brief(), ["200", "open", "open", `Refused ${code}`, "NotSent", "NotSent"])
      assert.isFalse(play.session.isOpen)
      assert.strictEqual(play.session.room, 0)
      assert.deepStrictEqual(play.session.goaway, { lastStreamId: 5, code, debug: `{"reason":"Shutdown"}` })
      play.submit(1)
      assert.deepStrictEqual(play.words(), [])
      assert.strictEqual(play.brief().at(-1), "NotSent")
      play.feed(Peer.answer(3))
      assert.isFalse(play.hasEnded)
      play.sent()
      assert.isFalse(play.hasEnded)
      play.feed(Peer.answer(5, 410))
      assert.strictEqual(play.left(), Code.noError)
      assert.deepStrictEqual(play.brief().slice(0, 3), ["200", "200", "410"])
      assert.strictEqual(play.ending?.goaway?.code, code)
    })
  }

  it("two of them: first a warning, then the number", () => {
    const play = Play.ready()
    play.submit(3)
    play.sent()
    play.feed(Peer.goaway(2 ** 31 - 1, 0))
    assert.deepStrictEqual(play.brief(), ["open", "open", "open"])
    play.feed(Peer.goaway(3, 0))
    assert.deepStrictEqual(play.brief(), ["open", "open", "Refused 0"])
    // It can't take a promise back.
    play.feed(Peer.goaway(5, 0))
    assert.strictEqual(play.session.goaway?.lastStreamId, 3)
  })

  it("then the end of the socket: unknown what was below", () => {
    const play = Play.ready()
    play.submit(2)
    play.sent()
    play.feed(Peer.goaway(1, 2, "debug"))
    play.session.close("it closed the connection")
    assert.deepStrictEqual(play.brief(), ["Unknown 2", "Refused 2"])
    assert.include(play.ending?.detail, "GOAWAY INTERNAL_ERROR, debug")
  })

  it("two of them and the end: the last one's words", () => {
    const play = Play.ready()
    play.submit(1)
    play.sent()
    play.feed(Peer.goaway(2 ** 31 - 1, 0), Peer.goaway(1, Code.enhanceYourCalm, "ExpiredProviderToken"))
    play.session.close("it closed the connection")
    assert.include(play.ending?.detail, "ENHANCE_YOUR_CALM, ExpiredProviderToken")
    assert.strictEqual(play.ending?.goaway?.code, Code.enhanceYourCalm)
    assert.deepStrictEqual(play.brief(), [`Unknown ${Code.enhanceYourCalm}`])
  })

  const reason = `{"reason":"BadCertificate"}`
  const words: ReadonlyArray<readonly [string, ReadonlyArray<Buffer>, Partial<Goaway>]> = [
    ["a reason, then silence", [Peer.goaway(9, 0, reason), Peer.goaway(1, 0)], { code: 0, debug: reason }],
    ["silence, then a reason", [Peer.goaway(9, 0), Peer.goaway(1, 0, reason)], { code: 0, debug: reason }],
    [
      "an error, then none",
      [Peer.goaway(9, Code.enhanceYourCalm, reason), Peer.goaway(1, 0)],
      { code: Code.enhanceYourCalm, debug: reason }
    ],
    [
      "a reason, then an error",
      [Peer.goaway(9, 0, reason), Peer.goaway(1, Code.internalError)],
      { code: Code.internalError, debug: reason }
    ],
    [
      "two reasons",
      [Peer.goaway(9, 0, reason), Peer.goaway(1, 0, "Shutdown")],
      { debug: "Shutdown", earlier: [reason] }
    ],
    [
      "a reason twice, and others around it",
      ["a", reason, reason, "b", ""].map((text) => Peer.goaway(1, 0, text)),
      { debug: "b", earlier: ["a", reason] }
    ]
  ]

  it.each(words)("the reason counts, whatever is said later: %s", (_, frames, expected) => {
    for (const together of [true, false]) {
      const play = Play.ready()
      play.submit(2)
      play.sent()
      play.feed(...together ? [Buffer.concat(frames)] : frames)
      assert.deepInclude(play.session.goaway, expected)
      assert.strictEqual(play.session.goaway?.lastStreamId, 1)
      play.session.close("it closed the connection")
      const [answer] = play.answers
      assert.include(answer && Result.isFailure(answer) ? answer.failure.message : "", "BadCertificate")
      assert.include(play.ending?.detail, "BadCertificate")
    }
  })

  it("the reason counts for what ends one by one after it: by resets, at deadlines, with what can't be read", () => {
    const play = Play.ready({ requestTimeout: 100 })
    play.submit(4)
    play.sent()
    play.feed(Peer.goaway(2 ** 31 - 1, 0, reason), Peer.goaway(2 ** 31 - 1, 0))
    play.feed(Peer.rst(1, Code.cancel), Peer.rst(3, Code.refusedStream), Peer.headers(5, [["x", "y"]]))
    play.now += 100
    play.session.tick()
    assert.deepStrictEqual(play.brief(), ["Unknown 8", "Refused 7", "Unknown 1", "Timeout sent"])
    for (const answer of play.answers) {
      const error = answer && Result.isFailure(answer) ? answer.failure : undefined
      assert.include(error?.message, "BadCertificate")
    }
  })

  it("many of them take no more memory than a few", () => {
    const play = Play.ready()
    play.submit(1)
    play.sent()
    for (let i = 0; i < 900; i++) play.feed(Peer.goaway(1, 0, `${i}`.padEnd(1000, "x")))
    assert.isAtMost(play.session.goaway?.earlier?.length ?? 0, 4)
    play.session.close("cut")
    assert.isBelow(play.ending?.detail.length ?? 0, 2500)
  })

  it("their text is shown escaped, and kept as it came", () => {
    const debug = "\u001b]0;forged\u0007\r\nERROR\u202e\u009b31m"
    const play = Play.ready()
    play.submit(2)
    play.sent()
    play.feed(Peer.goaway(1, 0, debug))
    play.session.close("cut")
    assert.strictEqual(play.ending?.goaway?.debug, debug)
    for (const answer of play.answers) {
      const message = answer && Result.isFailure(answer) ? answer.failure.message : ""
      assert.include(message, "\\x1b]0;forged\\x07\\r\\nERROR\\u{202e}\\x9b31m")
      assert.notMatch(message, /[\p{Cc}\p{Cf}]/u)
    }
  })

  it("an answer that had begun: the peer can have processed the request, whatever it says then", () => {
    const play = Play.ready()
    play.submit(3)
    play.sent()
    play.feed(
      Peer.headers(1, [[":status", "200"]]),
      Peer.headers(3, [[":status", "200"]]),
      Peer.rst(1, Code.refusedStream),
      Peer.goaway(1, 0)
    )
    assert.deepStrictEqual(play.brief(), ["Unknown 7", "Unknown 0", "Refused 0"])
  })

  it("the end of the socket without one", () => {
    const play = Play.ready({}, [maxConcurrentStreams, 2])
    play.submit(4)
    play.sent()
    play.feed(Peer.headers(1, [[":status", "200"]]), Peer.data(1, "half", 0))
    play.session.close("the connection was cut", new Error("ECONNRESET"))
    assert.deepStrictEqual(play.brief(), ["Unknown", "Unknown", "NotSent", "NotSent"])
    play.submit(1)
    play.sent()
    assert.strictEqual(play.brief()[4], "NotSent")
  })

  it("resets: refused or unknown", () => {
    const play = Play.ready()
    play.submit(4)
    play.sent()
    play.feed(
      Peer.rst(1, Code.refusedStream),
      Peer.rst(3, Code.noError),
      Peer.headers(5, [[":status", "200"]]),
      Peer.rst(5, Code.internalError),
      Peer.answer(7),
      Peer.rst(7, Code.noError)
    )
    assert.deepStrictEqual(play.brief(), ["Refused 7", "Unknown 0", "Unknown 2", "200"])
    assert.isFalse(play.hasEnded)
  })

  it("the last stream numbers: then it is retired, and ends when they are answered", () => {
    const play = Play.ready({}, [maxConcurrentStreams, 10])
    play.session["nextId"] = 2 ** 31 - 3
    play.submit(4)
    assert.deepStrictEqual(play.words(), ["headers 2147483645", "headers 2147483647"])
    assert.deepStrictEqual(play.brief(), ["open", "open", "NotSent", "NotSent"])
    assert.isFalse(play.session.isOpen)
    play.feed(Peer.answer(2 ** 31 - 3), Peer.answer(2 ** 31 - 1))
    assert.strictEqual(play.left(), Code.noError)
    assert.deepStrictEqual(play.brief(), ["200", "200", "NotSent", "NotSent"])
  })

  it("retire: those that have left are answered, then it ends", () => {
    const play = Play.ready({}, [maxConcurrentStreams, 1])
    play.submit(2)
    play.sent()
    play.session.retire("enough")
    assert.deepStrictEqual(play.brief(), ["open", "NotSent"])
    play.sent()
    assert.isFalse(play.hasEnded)
    play.feed(Peer.answer(1))
    assert.strictEqual(play.left(), Code.noError)
    assert.deepStrictEqual(play.brief(), ["200", "NotSent"])
    assert.isTrue(play.hasEnded)
  })
})

describe("time", () => {
  it("an answer that does not come, and a stream that does not become free", () => {
    const play = Play.ready({ requestTimeout: 100 }, [maxConcurrentStreams, 1])
    play.submit(2)
    play.submit(1, {}, 1000)
    play.sent()
    play.now += 99
    play.session.tick()
    assert.deepStrictEqual(play.brief(), ["open", "open", "open"])
    play.now += 1
    play.session.tick()
    assert.deepStrictEqual(play.brief(), ["Timeout sent", "Timeout waiting", "open"])
    assert.deepStrictEqual(play.words(), ["rstStream 1", "headers 3"])
    play.feed(Peer.answer(1), Peer.answer(3))
    assert.deepStrictEqual(play.brief(), ["Timeout sent", "Timeout waiting", "200"])
  })

  it("a deadline says what the peer did not allow", () => {
    const cases: ReadonlyArray<readonly [ReadonlyArray<readonly [number, number]>, string, string]> = [
      [[[maxConcurrentStreams, 0]], "Timeout waiting", "it allows no stream at all"],
      [[[Setting.initialWindowSize, 0]], "Timeout sent", "it took 0 of the 100 bytes of the body"],
      [[[Setting.initialWindowSize, 60]], "Timeout sent", "it took 60 of the 100 bytes of the body"],
      [[], "Timeout sent", "did not answer within 100 ms. "]
    ]
    for (const [settings, expected, what] of cases) {
      const play = Play.ready({ requestTimeout: 100 }, ...settings)
      play.submit(1, { body: Buffer.alloc(100) })
      play.sent()
      play.now += 100
      play.session.tick()
      const [answer] = play.answers
      assert.strictEqual(Peer.brief(answer), expected)
      const message = answer && Result.isFailure(answer) ? answer.failure.message : ""
      assert.include(message, what)
      const { reason } = Result.getOrThrow(Result.flip(answer!))
      assert.strictEqual(reason._tag === "Timeout" && reason.isPartial === true, what.includes("bytes of the body"))
      assert.notInclude(expected === "Timeout waiting" ? message : "", "open more")
    }
  })

  it.each([0, -1, NaN])("a timeout of %d makes its request invalid, and does no harm to others", (timeout) => {
    const play = Play.ready({ requestTimeout: 100 }, [maxConcurrentStreams, 1])
    play.submit(1, {}, timeout)
    play.submit(1)
    play.submit(1, {}, timeout)
    assert.deepStrictEqual(play.words(), ["headers 1"])
    play.session.tick()
    assert.deepStrictEqual(play.brief(), ["RequestInvalid", "open", "RequestInvalid"])
    play.now += 100
    play.session.tick()
    assert.deepStrictEqual(play.brief(), ["RequestInvalid", "Timeout sent", "RequestInvalid"])
    assert.strictEqual(play.session.pending, 0)
  })

  it("a timeout without an end", () => {
    const play = Play.ready()
    play.submit(1, {}, Infinity)
    play.sent()
    play.now += 1e12
    play.session.tick()
    play.feed(Peer.answer(1))
    assert.deepStrictEqual(play.brief(), ["200"])
  })

  it("a deadline counts from the request on, not from an earlier one", () => {
    const play = Play.ready({ requestTimeout: 100 })
    play.submit(1)
    play.sent()
    play.now += 60
    play.submit(1)
    play.sent()
    play.now += 60
    play.session.tick()
    assert.deepStrictEqual(play.brief(), ["Timeout sent", "open"])
  })

  it("a peer that is silent gets a PING, and is given up without an answer to it", () => {
    const play = Play.ready({ idlePing: 1000, pingTimeout: 50 })
    play.now += 1000
    play.session.tick()
    const [ping] = play.sent()
    assert.strictEqual(ping!.type, "ping")
    play.now += 49
    play.session.tick()
    play.feed(Peer.ping(Flag.ack, ping!.payload))
    play.now += 500
    play.session.tick()
    assert.isFalse(play.hasEnded)
    play.now += 500
    play.session.tick()
    play.submit(1)
    assert.deepStrictEqual(play.words(), ["ping", "headers 1"])
    play.now += 50
    play.session.tick()
    assert.deepStrictEqual(play.brief(), ["Unknown"])
    assert.include(play.ending?.detail, "PING")
  })

  it("a peer that is silent while requests wait for answers gets a PING sooner", () => {
    const play = Play.ready({ idlePing: 60_000, pingTimeout: 1000 })
    play.submit(2)
    play.sent()
    play.now += 499
    play.session.tick()
    assert.deepStrictEqual(play.words(), [])
    play.feed(Peer.answer(1))
    play.now += 500
    play.session.tick()
    assert.deepStrictEqual(play.words(), ["ping"])
    play.now += 999
    play.session.tick()
    assert.isFalse(play.hasEnded)
    play.now += 1
    play.session.tick()
    assert.deepStrictEqual(play.brief(), ["200", "Unknown"])
    assert.include(play.ending?.detail, "PING")
  })

  it("a peer that has nothing to say, or none to say it to, is left in peace", () => {
    const play = Play.ready({ idlePing: 60_000, pingTimeout: 1000 }, [maxConcurrentStreams, 0])
    play.submit(1)
    play.now += 10_000
    play.session.tick()
    assert.deepStrictEqual(play.words(), [])
  })

  it("a PING of the peer comes back with what was in it", () => {
    const play = Play.ready()
    play.feed(Peer.ping(0, Buffer.from("12345678")))
    const [pong] = play.sent()
    assert.strictEqual(pong!.flags, Flag.ack)
    assert.strictEqual(pong!.payload.toString(), "12345678")
  })
})

describe("a peer that breaks the rules of the connection", () => {
  const ack = Flag.ack
  const violations: ReadonlyArray<readonly [string, number, Buffer]> = [
    ["a frame that is too large", Code.frameSizeError, Peer.frame(Type.data, 0, 1, Buffer.alloc(16_385))],
    ["DATA of no stream", Code.protocolError, Peer.data(0, "x")],
    ["DATA of a stream that was never opened", Code.protocolError, Peer.data(5, "x")],
    ["DATA with more padding than bytes", Code.protocolError, Peer.data(1, Buffer.from([5, 1]), Flag.padded)],
    ["DATA without a length of padding", Code.frameSizeError, Peer.data(1, "", Flag.padded)],
    ["HEADERS of no stream", Code.protocolError, Peer.headers(0, [[":status", "200"]])],
    ["HEADERS of a stream of its own", Code.protocolError, Peer.headers(2, [[":status", "200"]])],
    ["HEADERS of a stream that was never opened", Code.protocolError, Peer.headers(5, [[":status", "200"]])],
    ["HEADERS with too much padding", Code.protocolError, Peer.frame(Type.headers, 0xc, 1, Buffer.from([9, 0x88]))],
    ["HEADERS without their priority", Code.frameSizeError, Peer.frame(Type.headers, 0x24, 1, Buffer.from([1, 2]))],
    ["a block that can't be decoded", Code.compressionError, Peer.frame(Type.headers, 4, 1, Buffer.from([0xff]))],
    ["CONTINUATION of nothing", Code.protocolError, Peer.frame(Type.continuation, 4, 1)],
    [
      "a frame amid a header block",
      Code.protocolError,
      Buffer.concat([Peer.frame(Type.headers, 0, 1, Buffer.from([0x88])), Peer.ping(0)])
    ],
    [
      "CONTINUATION of another stream",
      Code.protocolError,
      Buffer.concat([Peer.frame(Type.headers, 0, 1, Buffer.from([0x88])), Peer.frame(Type.continuation, 4, 3)])
    ],
    ["PUSH_PROMISE", Code.protocolError, Peer.frame(Type.pushPromise, 4, 1, Buffer.from([0, 0, 0, 2, 0x82]))],
    ["PRIORITY of no stream", Code.protocolError, Peer.frame(Type.priority, 0, 0, Buffer.alloc(5))],
    ["RST_STREAM of no stream", Code.protocolError, Peer.rst(0, 0)],
    ["RST_STREAM of a stream that was never opened", Code.protocolError, Peer.rst(9, 0)],
    ["RST_STREAM of a wrong length", Code.frameSizeError, Peer.frame(Type.rstStream, 0, 1, "abc")],
    ["SETTINGS of a stream", Code.protocolError, Peer.frame(Type.settings, 0, 1)],
    ["SETTINGS of a wrong length", Code.frameSizeError, Peer.frame(Type.settings, 0, 0, "abcde")],
    ["SETTINGS that are acknowledged with something", Code.frameSizeError, Peer.frame(Type.settings, ack, 0, "abcdef")],
    ["ENABLE_PUSH", Code.protocolError, Peer.settings([Setting.enablePush, 1])],
    ["an initial window that is too large", Code.flowControlError, Peer.settings([Setting.initialWindowSize, 2 ** 31])],
    ["a frame size that is too small", Code.protocolError, Peer.settings([Setting.maxFrameSize, 16_383])],
    ["a frame size that is too large", Code.protocolError, Peer.settings([Setting.maxFrameSize, 2 ** 24])],
    ["PING of a stream", Code.protocolError, Peer.frame(Type.ping, 0, 1, "12345678")],
    ["PING of a wrong length", Code.frameSizeError, Peer.frame(Type.ping, 0, 0, "1234567")],
    ["GOAWAY of a stream", Code.protocolError, Peer.frame(Type.goaway, 0, 1, "12345678")],
    ["GOAWAY of a wrong length", Code.frameSizeError, Peer.frame(Type.goaway, 0, 0, "1234567")],
    ["WINDOW_UPDATE of a wrong length", Code.frameSizeError, Peer.frame(Type.windowUpdate, 0, 0, "123")],
    ["WINDOW_UPDATE by 0", Code.protocolError, Peer.windowUpdate(0, 0)],
    ["WINDOW_UPDATE of a stream that was never opened", Code.protocolError, Peer.windowUpdate(9, 1)],
    ["a window of all that is too large", Code.flowControlError, Peer.windowUpdate(0, 2 ** 31 - 1)],
    [
      "a window of a stream that settings make too large",
      Code.flowControlError,
      Buffer.concat([Peer.windowUpdate(1, 2 ** 30), Peer.settings([Setting.initialWindowSize, 2 ** 31 - 1])])
    ]
  ]

  it.each(violations)("%s", (_, code, bytes) => {
    const play = Play.ready()
    play.submit(2)
    play.sent()
    play.feed(bytes)
    assert.strictEqual(play.left(), code)
    assert.isTrue(play.ending?.violation)
    assert.deepStrictEqual(play.brief(), [`Unknown ${code}`, `Unknown ${code}`])
  })

  it("WINDOW_UPDATE that breaks those of one stream", () => {
    const play = Play.ready()
    play.submit(2)
    play.sent()
    play.feed(Peer.windowUpdate(1, 0), Peer.windowUpdate(3, 2 ** 31 - 1))
    assert.deepStrictEqual(play.brief(), ["Unknown 1", "Unknown 3"])
    assert.isFalse(play.hasEnded)
  })

  it.each([
    ["something else", Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")],
    ["PING", Peer.ping(0)],
    ["an acknowledgement", Peer.frame(Type.settings, ack, 0)]
  ])("a first frame that is %s", (_, bytes) => {
    const play = new Play()
    play.feed(bytes)
    assert.isTrue(play.ending?.violation)
  })

  it("a first frame that is GOAWAY is a good-bye in HTTP/2", () => {
    const play = new Play()
    play.submit(1)
    play.feed(Peer.goaway(0, 0, `{"reason":"Shutdown"}`))
    play.sent()
    assert.isFalse(play.ending?.violation)
    assert.include(play.ending?.detail, "Shutdown")
    assert.deepStrictEqual(play.brief(), ["NotSent"])
  })

  it.each([
    ["HTTP/1.1 503 Service Unavailable\r\n\r\n", true],
    ["HTTP/1.1 408 Request Time-out\r\n\r\n", true],
    ["HTTP/1.0 429 \u001b[31m\r\n\r\n", true],
    ["HTTP/1.1 400 Bad Request\r\n\r\n", false],
    ["HTTP/1.1 200 OK\r\n\r\n", false],
    ["SSH-2.0-OpenSSH\r\n", false]
  ])("an answer of another protocol, %j, may pass: %s", (text, isPassing) => {
    const play = new Play()
    play.feed(Buffer.from(text))
    assert.deepInclude(play.ending, { violation: true, isPassing })
    assert.notMatch(play.ending!.detail, /\p{Cc}/u)
  })

  it.each<readonly [ReadonlyArray<string>, boolean]>([
    [["HTTP/1.1", " 503 Busy\r\n\r\n"], true],
    [["H", "T", "TP/1.0 5", "04 Gateway Time-out", "\r\n"], true],
    [["HTTP/1.1 ", "400 Bad Request\r\n"], false],
    [["HTTP/1.1 5030", " what\r\n"], false],
    [["HTTPS", "\r\n....."], false]
  ])("an answer of another protocol that comes in pieces, %j, may pass: %s", (pieces, isPassing) => {
    const play = new Play()
    for (const piece of pieces.slice(0, -1)) play.feed(Buffer.from(piece))
    play.feed(Buffer.from(pieces.at(-1)!))
    assert.deepInclude(play.ending, { violation: true, isPassing })
  })

  it("one that begins as another protocol and goes on no further is held back, but not for long", () => {
    const play = new Play()
    play.feed(Buffer.from("HTTP/1.1 503"))
    assert.isFalse(play.hasEnded)
    play.feed(Buffer.alloc(1000, "x"))
    assert.isTrue(play.ending?.violation)
  })

  it("information without an end costs its stream, in number and in bytes", () => {
    const info = (id: number, size: number) => Peer.headers(id, [[":status", "103"], ["link", "x".repeat(size)]])
    const play = Play.ready()
    play.submit(4)
    play.sent()
    for (let i = 0; i < 16; i++) play.feed(info(1, 1), info(3, 1))
    play.feed(Peer.answer(1), info(3, 1))
    for (let i = 0; i < 6; i++) play.feed(info(5, 10_000))
    play.feed(Peer.answer(5))
    for (let i = 0; i < 7; i++) play.feed(info(7, 10_000))
    assert.deepStrictEqual(play.brief(), ["200", "Unknown 1", "200", "Unknown 1"])
    assert.isFalse(play.hasEnded)
  })

  const floods: ReadonlyArray<readonly [string, Buffer]> = [
    ["SETTINGS", Peer.settings()],
    ["acknowledgements", Peer.frame(Type.settings, ack, 0)],
    ["PING", Peer.ping(0)],
    ["answers to no PING", Peer.ping(ack)],
    ["empty DATA", Peer.data(1, "", 0)],
    ["empty DATA of a closed stream", Peer.data(3, "")],
    ["RST_STREAM of a closed stream", Peer.rst(3, 0)],
    ["PRIORITY", Peer.frame(Type.priority, 0, 1, Buffer.alloc(5))],
    ["WINDOW_UPDATE", Peer.windowUpdate(0, 1)],
    ["GOAWAY", Peer.goaway(2 ** 31 - 1, 0)],
    ["frames of no known type", Peer.frame(0x42, 0, 1, "?")],
    ["HEADERS of a closed stream", Peer.answer(3)],
    ["information", Peer.headers(5, [[":status", "103"]])]
  ]

  it.each(floods)("a flood of %s", (_, bytes) => {
    const play = Play.ready()
    play.submit(3)
    play.sent()
    play.feed(Peer.headers(1, [[":status", "200"]]), Peer.answer(3))
    for (let i = 0; i < 1000; i++) play.feed(bytes)
    assert.isFalse(play.hasEnded)
    for (let i = 0; i < 50; i++) play.feed(bytes)
    assert.strictEqual(play.left(), Code.enhanceYourCalm)
  })

  it("the same over a longer time is none", () => {
    const play = Play.ready()
    for (let i = 0; i < 20_000; i++) {
      play.now += 20
      play.feed(Peer.ping(0))
      play.sent()
    }
    assert.isFalse(play.hasEnded)
  })

  it("answers that come too late are none, however many they are", () => {
    const play = Play.ready({ requestTimeout: 100, maxStreams: 3000 })
    play.submit(3000)
    play.sent()
    play.now += 100
    play.session.tick()
    assert.strictEqual(play.words().length, 3000)
    for (let i = 0; i < 3000; i++) {
      play.feed(
        Peer.headers(2 * i + 1, [[":status", "200"]]),
        Peer.data(2 * i + 1, "late", 0),
        Peer.data(2 * i + 1, "")
      )
    }
    assert.isFalse(play.hasEnded)
  })

  it("WINDOW_UPDATEs that let a large body through are none", () => {
    const play = Play.ready()
    play.submit(1, { body: Buffer.alloc(50_000_000) })
    play.sent()
    for (let i = 0; i < 3000; i++) {
      play.feed(Peer.windowUpdate(0, 16_384), Peer.windowUpdate(1, 16_384))
      assert.strictEqual(play.words().length, 1)
    }
  })

  it("a flood after a long peace", () => {
    const play = Play.ready()
    play.now += 3_600_000
    for (let i = 0; i < 2010; i++) play.feed(Peer.ping(0))
    assert.strictEqual(play.left(), Code.enhanceYourCalm)
  })

  it("a header block without an end", () => {
    const play = Play.ready()
    play.submit(1)
    play.sent()
    play.feed(Peer.frame(Type.headers, 0, 1, Buffer.from([0x88])))
    for (let i = 0; i < 64; i++) play.feed(Peer.frame(Type.continuation, 0, 1))
    assert.strictEqual(play.left(), Code.enhanceYourCalm)
  })

  it("a header block of 65,536 bytes costs its stream, one of more the connection", () => {
    // A field that never enters a table, with a value of a length in two bytes more.
    const block = (size: number) => {
      const bytes = Buffer.alloc(size, "v")
      const length = size - 1 - 4 - 127 - 3
      Buffer.from([0x88, 0, 1, 0x78, 0x7f, (length & 127) | 128, (length >> 7 & 127) | 128, length >> 14]).copy(bytes)
      return bytes.subarray(0, 8 + 127 + length)
    }
    for (const size of [65_536, 65_537]) {
      const play = Play.ready()
      play.submit(1)
      play.sent()
      const bytes = block(size)
      assert.strictEqual(bytes.length, size)
      for (let at = 0; at < size; at += 16_384) {
        const isLast = at + 16_384 >= size
        play.feed(
          Peer.frame(
            at === 0 ? Type.headers : Type.continuation,
            (at === 0 ? Flag.endStream : 0) | (isLast ? Flag.endHeaders : 0),
            1,
            bytes.subarray(at, at + 16_384)
          )
        )
      }
      assert.deepStrictEqual(play.brief(), [size === 65_536 ? "Unknown 8" : "Unknown 11"])
      assert.strictEqual(play.left(), size === 65_536 ? undefined : Code.enhanceYourCalm)
    }
  })

  it("DATA for a stream that was given up counts for the window of all", () => {
    const play = Play.ready({ maxResponseSize: 1 })
    play.submit(1)
    play.sent()
    play.feed(Peer.headers(1, [[":status", "200"]]))
    for (let i = 0; i < 513; i++) play.feed(Peer.data(1, Buffer.alloc(16_384), 0))
    assert.deepStrictEqual(play.brief(), ["Unknown 8"])
    assert.deepStrictEqual(play.words(), ["rstStream 1", "windowUpdate"])
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

  it("in one piece", () => {
    assert.deepStrictEqual(whole.brief, ["200", "200", "200", "200", "Refused 7", "410", "Refused 2"])
    const responses = [0, 2, 5].map((i) => Result.getOrThrow(whole.answers[i]!))
    assert.deepStrictEqual(responses[0]!.headers, [["apns-id", "x"]])
    assert.deepStrictEqual(responses[1]!.headers, [["x", "1"]])
    const text = (i: number) => Buffer.from(responses[i]!.body).toString()
    assert.strictEqual(text(0), "hello world")
    assert.strictEqual(text(2), `{"reason":"Unregistered"}`)
    assert.deepStrictEqual(whole.words, ["settings", "ping", "goaway"])
  })

  it("cut at every byte, at pairs of them, and into single bytes", () => {
    for (let cut = 1; cut < dialogue.length; cut++) {
      assert.deepStrictEqual(play([cut, Math.min(cut + (cut % 23), dialogue.length)]), whole)
    }
    assert.deepStrictEqual(play(Array.from({ length: dialogue.length - 1 }, (_, i) => i + 1)), whole)
  })

  it("closed at each byte of its answers: answered is what was whole", () => {
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

  it.prop("cut anywhere", { cuts: Schema.Array(Cut) }, ({ cuts }) => {
    assert.deepStrictEqual(play(cuts.toSorted((a, b) => a - b)), whole)
  })

  it.prop("any bytes at all: each request ends once, and the session ends or goes on", {
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
