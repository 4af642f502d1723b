/** Limits that the peer sets, and time (RFC 9113, sections 5.1.2, 5.2 and 6.5). */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { Code, Flag, Setting, Type } from "../../src/http2/frame/frame.ts"
import * as Peer from "./peer.ts"
import { Play } from "./peer.ts"

const { maxConcurrentStreams } = Setting

const responseOf = (play: Play, i: number) => {
  const answer = play.answers[i]
  assert.isTrue(answer !== undefined && Result.isSuccess(answer), String(Peer.brief(answer)))
  return Result.getOrThrow(answer!)
}

describe("the peer's limits", () => {
  it("the number of streams follows the peer: more, fewer, none, and more again", () => {
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

  it("a request that is cancelled while it waits makes room for others", () => {
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

  it("requests that are cancelled while no stream is free are forgotten, and the others keep their order", () => {
    const play = Play.ready({}, [maxConcurrentStreams, 1])
    play.submit(1)
    play.sent()
    const kept = () => play.session["waiting"]["exchanges"].length
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

  it("maxStreams applies if the peer's limit is higher", () => {
    const play = Play.ready({ maxStreams: 2 }, [maxConcurrentStreams, 100])
    assert.strictEqual(play.session.room, 2)
    play.submit(5)
    assert.deepStrictEqual(play.words(), ["headers 1", "headers 3"])
  })

  it("bodies obey the window of all streams", () => {
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

  it("room follows the window of all streams, and the listener is called when it grows", () => {
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

  it("after a few small bodies the streams limit the room again", () => {
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

  it("a body larger than the window finds room", () => {
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

  it("bodies obey the window of their stream, which settings may change meanwhile", () => {
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

  it("bodies obey the peer's largest frame", () => {
    const play = Play.ready()
    play.submit(1, { body: Buffer.alloc(40_000) })
    assert.deepStrictEqual(play.sent().slice(1).map(({ payload }) => payload.length), [16_384, 16_384, 7232])
  })

  it("bodies are written at most a batch at a time, and an idle session frees its buffers", () => {
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

  it("bodies obey a largest frame that goes up and down", () => {
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

  it("the encoder's table follows the peer's setting", () => {
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

  it("the smallest table size counts, also within one SETTINGS frame", () => {
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

  it("the peer has no table once it acknowledges the settings", () => {
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

  it("a WINDOW_UPDATE follows when half of the window is used", () => {
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

  it("padding does not use up a stream's window, and is not returned byte by byte", () => {
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

describe("time", () => {
  it("a missing answer and a missing stream time out", () => {
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

  it("a timeout names the limit of the peer", () => {
    const cases: ReadonlyArray<readonly [ReadonlyArray<readonly [number, number]>, string, string]> = [
      [[[maxConcurrentStreams, 0]], "Timeout waiting", "it allows no streams"],
      [[[Setting.initialWindowSize, 0]], "Timeout sent", "it accepted 0 of the 100 bytes of the body"],
      [[[Setting.initialWindowSize, 60]], "Timeout sent", "it accepted 60 of the 100 bytes of the body"],
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

  it.each([0, -1, NaN])("a timeout of %d makes its request invalid and does not harm the others", (timeout) => {
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

  it("an infinite timeout never ends", () => {
    const play = Play.ready()
    play.submit(1, {}, Infinity)
    play.sent()
    play.now += 1e12
    play.session.tick()
    play.feed(Peer.answer(1))
    assert.deepStrictEqual(play.brief(), ["200"])
  })

  it("a deadline counts from its own request on", () => {
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

  it("a silent peer gets a PING, and the session ends without an answer to it", () => {
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

  it("a peer that is silent while requests wait for answers gets its PING sooner", () => {
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

  it("a silent peer gets no PING while no request is open", () => {
    const play = Play.ready({ idlePing: 60_000, pingTimeout: 1000 }, [maxConcurrentStreams, 0])
    play.submit(1)
    play.now += 10_000
    play.session.tick()
    assert.deepStrictEqual(play.words(), [])
  })

  it("a PING of the peer is answered with its data", () => {
    const play = Play.ready()
    play.feed(Peer.ping(0, Buffer.from("12345678")))
    const [pong] = play.sent()
    assert.strictEqual(pong!.flags, Flag.ack)
    assert.strictEqual(pong!.payload.toString(), "12345678")
  })
})
