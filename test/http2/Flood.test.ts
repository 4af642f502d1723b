/** Which frames are a flood, and which an honest peer sends. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { Code, Flag, Setting, Type } from "../../src/http2/frame/frame.ts"
import { allow, withMuchData } from "../support/limits.ts"
import * as Peer from "./peer.ts"
import { Play } from "./peer.ts"

allow(withMuchData)

const post = (size: number) => ({ body: Buffer.alloc(size, "x") })

/** A session that has sent a number of requests with bodies of a given size. */
const busy = (count: number, size: number) => {
  const play = Play.ready({ maxStreams: 10_000 }, [Setting.maxConcurrentStreams, 10_000])
  play.feed(Peer.windowUpdate(0, 2 ** 30))
  play.submit(count, post(size))
  while (play.sent().length > 0);
  return play
}

describe("an honest peer", () => {
  it("may update windows before it answers, a frame per request", () => {
    // haproxy does so for the connection, others for the stream too.
    const play = busy(2000, 200)
    for (let i = 0; i < 2000; i++) play.feed(Peer.windowUpdate(0, 200), Peer.windowUpdate(2 * i + 1, 200))
    for (let i = 0; i < 2000; i++) play.feed(Peer.answer(2 * i + 1))
    assert.deepStrictEqual([...new Set(play.brief())], ["200"])
  })

  it("may update the window of a large body in small pieces", () => {
    const play = busy(100, 50_000)
    for (let i = 0; i < 100; i++) {
      for (let piece = 0; piece < 100; piece++) {
        play.feed(Peer.windowUpdate(0, 500), Peer.windowUpdate(2 * i + 1, 500))
      }
    }
    assert.isFalse(play.hasEnded, play.ending?.detail)
  })

  it("may send informational responses and window updates", () => {
    const play = busy(2000, 60)
    for (let i = 0; i < 2000; i++) play.feed(Peer.headers(2 * i + 1, [[":status", "103"]]), Peer.windowUpdate(0, 60))
    assert.isFalse(play.hasEnded, play.ending?.detail)
  })
})

describe("a hostile peer", () => {
  it("can't save up credit for a flood, however many requests it answers", () => {
    const play = Play.ready({}, [Setting.maxConcurrentStreams, 1000])
    for (let round = 0; round < 12; round++) {
      const first = 2000 * round + 1
      play.submit(1000)
      play.sent()
      for (let i = 0; i < 1000; i++) play.feed(Peer.answer(first + 2 * i))
    }
    for (let i = 0; i < 102_000 && !play.hasEnded; i++) play.feed(Peer.frame(Type.priority, 0, 1, Buffer.alloc(5)))
    assert.strictEqual(play.left(), Code.enhanceYourCalm)
  })

  it("gets no credit for PINGs", () => {
    const play = Play.ready()
    for (let i = 0; i < 1001; i++) {
      play.feed(Peer.ping(0))
      if (!play.hasEnded) play.sent()
    }
    assert.strictEqual(play.left(), Code.enhanceYourCalm)
  })

  it("may not send a byte at a time, to an open or a closed stream", () => {
    for (const isOpen of [true, false]) {
      const play = Play.ready()
      play.submit(1)
      play.sent()
      play.feed(isOpen ? Peer.headers(1, [[":status", "200"]]) : Peer.answer(1))
      for (let i = 0; i < 1050; i++) play.feed(Peer.data(1, "x", 0))
      assert.strictEqual(play.left(), Code.enhanceYourCalm)
    }
  })

  it("may not update the window of a closed stream, however large", () => {
    const play = Play.ready()
    play.submit(1)
    play.sent()
    play.feed(Peer.answer(1))
    let count = 0
    for (; !play.hasEnded && count < 100_000; count++) play.feed(Peer.windowUpdate(1, 2 ** 30))
    assert.strictEqual(play.left(), Code.enhanceYourCalm)
    assert.isBelow(count, 2000)
  })

  it("must read the replies to its frames", () => {
    const play = Play.ready({ maxStreams: 100_000 }, [Setting.maxConcurrentStreams, 100_000])
    play.submit(20_000, { method: "GET" })
    while (play.sent().length > 0);
    let owed = 0
    for (; !play.hasEnded && owed < 200_000; owed++) play.feed(Peer.ping(0))
    assert.include(play.ending?.detail, "reads")
    assert.isBelow(owed, 70_000)
  })

  it("makes a response in small pieces take no more memory than a whole one", () => {
    const play = Play.ready({ maxResponseSize: 1_000_000 })
    play.submit(1)
    play.sent()
    play.feed(Peer.headers(1, [[":status", "200"]]))
    const piece = Peer.data(1, Buffer.alloc(40, "x"), 0)
    const before = process.memoryUsage().arrayBuffers
    for (let i = 0; i < 25_000; i++) play.feed(piece)
    assert.isBelow(process.memoryUsage().arrayBuffers - before, 10_000_000)
    play.feed(Peer.data(1, ""))
    const [answer] = play.answers
    assert.isTrue(answer !== undefined && Result.isSuccess(answer) && answer.success.body.length === 1_000_000)
  })

  it("that resets every stream at once ends each request and leaves nothing in memory", () => {
    const play = Play.ready()
    for (let i = 0; i < 20_000; i++) {
      play.submit(1)
      play.sent()
      play.feed(Peer.rst(2 * i + 1, i % 2 === 0 ? Code.refusedStream : Code.cancel))
    }
    assert.deepStrictEqual([...new Set(play.brief())], ["Refused 7", "Unknown 8"])
    assert.strictEqual(play.session.pending, 0)
    play.submit(1)
    play.sent()
    play.feed(Peer.headers(40_001, [[":status", "200"]], Flag.endHeaders | Flag.endStream))
    assert.strictEqual(play.brief().at(-1), "200")
  })
})
