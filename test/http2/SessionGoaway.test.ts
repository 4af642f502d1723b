/** GOAWAY and RST_STREAM (RFC 9113, sections 6.4 and 6.8). */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import type { Goaway } from "../../src/http2/Connection.ts"
import { Code, Setting } from "../../src/http2/frame/frame.ts"
import * as Peer from "./peer.ts"
import { Play } from "./peer.ts"

const { maxConcurrentStreams } = Setting

describe("GOAWAY and resets", () => {
  for (const code of [Code.noError, Code.protocolError, Code.enhanceYourCalm]) {
    it(`code ${code}: requests above are refused, requests below answered, waiting requests not sent`, () => {
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

  it("a warning and then a GOAWAY with the last stream are merged", () => {
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

  it("the end of the socket makes the requests below unknown", () => {
    const play = Play.ready()
    play.submit(2)
    play.sent()
    play.feed(Peer.goaway(1, 2, "debug"))
    play.session.close("it closed the connection")
    assert.deepStrictEqual(play.brief(), ["Unknown 2", "Refused 2"])
    assert.include(play.ending?.detail, "GOAWAY INTERNAL_ERROR, debug")
  })

  it("the second GOAWAY's text explains the end of the socket", () => {
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

  it.each(words)("the reason stays after later frames: %s", (_, frames, expected) => {
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

  it("the reason is in later failures too: resets, deadlines and malformed responses", () => {
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

  it("many GOAWAYs take no more memory than a few", () => {
    const play = Play.ready()
    play.submit(1)
    play.sent()
    for (let i = 0; i < 900; i++) play.feed(Peer.goaway(1, 0, `${i}`.padEnd(1000, "x")))
    const { earlier } = play.session.goaway!
    assert.isDefined(earlier)
    assert.isAtMost(earlier!.length, 4)
    play.session.close("cut")
    assert.isDefined(play.ending)
    assert.isBelow(play.ending!.detail.length, 2500)
  })

  it("messages escape the text, and the value keeps it raw", () => {
    const debug = "\u001b]0;forged\u0007\r\nERROR\u202e\u009b31m"
    const play = Play.ready()
    play.submit(2)
    play.sent()
    play.feed(Peer.goaway(1, 0, debug))
    play.session.close("cut")
    assert.strictEqual(play.ending?.goaway?.debug, debug)
    assert.strictEqual(play.answers.length, 2)
    for (const answer of play.answers) {
      const message = answer && Result.isFailure(answer) ? answer.failure.message : ""
      assert.include(message, "\\x1b]0;forged\\x07\\r\\nERROR\\u{202e}\\x9b31m")
      assert.notMatch(message, /[\p{Cc}\p{Cf}]/u)
    }
  })

  it("a request whose response has begun is unknown, even if the peer says that it did not process it", () => {
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

  it("the end of the socket without a GOAWAY makes sent requests unknown", () => {
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

  it("a reset makes a request refused or unknown", () => {
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

  it("after the last stream id the session retires, and ends when all are answered", () => {
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

  it("retire waits for the answers to sent requests, then ends", () => {
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
