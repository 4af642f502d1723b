/** A peer that breaks the rules (RFC 9113, sections 5.4 and 6). */
import { assert, describe, it } from "@effect/vitest"
import { Code, Flag, Setting, Type } from "../../src/http2/frame/frame.ts"
import * as Peer from "./peer.ts"
import { Play } from "./peer.ts"

describe("a violation of the connection", () => {
  const ack = Flag.ack
  const violations: ReadonlyArray<readonly [string, number, Buffer]> = [
    ["a frame that is too large", Code.frameSizeError, Peer.frame(Type.data, 0, 1, Buffer.alloc(16_385))],
    ["DATA without a stream", Code.protocolError, Peer.data(0, "x")],
    ["DATA of a stream that was never opened", Code.protocolError, Peer.data(5, "x")],
    ["DATA with more padding than bytes", Code.protocolError, Peer.data(1, Buffer.from([5, 1]), Flag.padded)],
    ["DATA without a length of padding", Code.frameSizeError, Peer.data(1, "", Flag.padded)],
    ["HEADERS without a stream", Code.protocolError, Peer.headers(0, [[":status", "200"]])],
    ["HEADERS of a stream of the server", Code.protocolError, Peer.headers(2, [[":status", "200"]])],
    ["HEADERS of a stream that was never opened", Code.protocolError, Peer.headers(5, [[":status", "200"]])],
    ["HEADERS with too much padding", Code.protocolError, Peer.frame(Type.headers, 0xc, 1, Buffer.from([9, 0x88]))],
    ["HEADERS without their priority", Code.frameSizeError, Peer.frame(Type.headers, 0x24, 1, Buffer.from([1, 2]))],
    ["a block that can't be decoded", Code.compressionError, Peer.frame(Type.headers, 4, 1, Buffer.from([0xff]))],
    ["CONTINUATION without HEADERS", Code.protocolError, Peer.frame(Type.continuation, 4, 1)],
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
    ["PRIORITY without a stream", Code.protocolError, Peer.frame(Type.priority, 0, 0, Buffer.alloc(5))],
    ["RST_STREAM without a stream", Code.protocolError, Peer.rst(0, 0)],
    ["RST_STREAM of a stream that was never opened", Code.protocolError, Peer.rst(9, 0)],
    ["RST_STREAM of a wrong length", Code.frameSizeError, Peer.frame(Type.rstStream, 0, 1, "abc")],
    ["SETTINGS of a stream", Code.protocolError, Peer.frame(Type.settings, 0, 1)],
    ["SETTINGS of a wrong length", Code.frameSizeError, Peer.frame(Type.settings, 0, 0, "abcde")],
    ["an acknowledgement of SETTINGS with a body", Code.frameSizeError, Peer.frame(Type.settings, ack, 0, "abcdef")],
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
    ["a connection window that is too large", Code.flowControlError, Peer.windowUpdate(0, 2 ** 31 - 1)],
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

  it("a WINDOW_UPDATE that violates one stream resets it", () => {
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

  it("a GOAWAY as first frame is HTTP/2", () => {
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
  ])("an answer in another protocol, %j, is transient: %s", (text, isTransient) => {
    const play = new Play()
    play.feed(Buffer.from(text))
    assert.deepInclude(play.ending, { violation: true, isTransient })
    assert.notMatch(play.ending!.detail, /\p{Cc}/u)
  })

  it.each<readonly [ReadonlyArray<string>, boolean]>([
    [["HTTP/1.1", " 503 Busy\r\n\r\n"], true],
    [["H", "T", "TP/1.0 5", "04 Gateway Time-out", "\r\n"], true],
    [["HTTP/1.1 ", "400 Bad Request\r\n"], false],
    [["HTTP/1.1 5030", " what\r\n"], false],
    [["HTTPS", "\r\n....."], false]
  ])("an answer in another protocol in pieces, %j, is transient: %s", (pieces, isTransient) => {
    const play = new Play()
    for (const piece of pieces.slice(0, -1)) play.feed(Buffer.from(piece))
    play.feed(Buffer.from(pieces.at(-1)!))
    assert.deepInclude(play.ending, { violation: true, isTransient })
  })

  it("bytes that start like another protocol are held back, but not forever", () => {
    const play = new Play()
    play.feed(Buffer.from("HTTP/1.1 503"))
    assert.isFalse(play.hasEnded)
    play.feed(Buffer.alloc(1000, "x"))
    assert.isTrue(play.ending?.violation)
  })

  it("endless informational responses reset their stream, by number and by bytes", () => {
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
    ["answers without a PING", Peer.ping(ack)],
    ["empty DATA", Peer.data(1, "", 0)],
    ["empty DATA of a closed stream", Peer.data(3, "")],
    ["RST_STREAM of a closed stream", Peer.rst(3, 0)],
    ["PRIORITY", Peer.frame(Type.priority, 0, 1, Buffer.alloc(5))],
    ["WINDOW_UPDATE", Peer.windowUpdate(0, 1)],
    ["GOAWAY", Peer.goaway(2 ** 31 - 1, 0)],
    ["frames of an unknown type", Peer.frame(0x42, 0, 1, "?")],
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

  it("the same frames over a longer time are not a flood", () => {
    const play = Play.ready()
    for (let i = 0; i < 20_000; i++) {
      play.now += 20
      play.feed(Peer.ping(0))
      play.sent()
    }
    assert.isFalse(play.hasEnded)
  })

  it("answers to abandoned requests are not a flood", () => {
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

  it("WINDOW_UPDATEs for a large body are not a flood", () => {
    const play = Play.ready()
    play.submit(1, { body: Buffer.alloc(50_000_000) })
    play.sent()
    for (let i = 0; i < 3000; i++) {
      play.feed(Peer.windowUpdate(0, 16_384), Peer.windowUpdate(1, 16_384))
      assert.strictEqual(play.words().length, 1)
    }
  })

  it("a flood after a quiet time is a flood", () => {
    const play = Play.ready()
    play.now += 3_600_000
    for (let i = 0; i < 2010; i++) play.feed(Peer.ping(0))
    assert.strictEqual(play.left(), Code.enhanceYourCalm)
  })

  it("an endless header block ends the connection", () => {
    const play = Play.ready()
    play.submit(1)
    play.sent()
    play.feed(Peer.frame(Type.headers, 0, 1, Buffer.from([0x88])))
    for (let i = 0; i < 64; i++) play.feed(Peer.frame(Type.continuation, 0, 1))
    assert.strictEqual(play.left(), Code.enhanceYourCalm)
  })

  it("a header block of 65,536 bytes resets its stream, a larger one ends the connection", () => {
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

  it("DATA for an abandoned stream counts for the window of all streams", () => {
    const play = Play.ready({ maxResponseSize: 1 })
    play.submit(1)
    play.sent()
    play.feed(Peer.headers(1, [[":status", "200"]]))
    for (let i = 0; i < 513; i++) play.feed(Peer.data(1, Buffer.alloc(16_384), 0))
    assert.deepStrictEqual(play.brief(), ["Unknown 8"])
    assert.deepStrictEqual(play.words(), ["rstStream 1", "windowUpdate"])
  })
})
