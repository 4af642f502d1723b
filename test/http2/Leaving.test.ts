/** When a request counts as sent, for any behaviour of `settle`. */
import { afterEach, assert, describe, it, vi } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Tls from "node:tls"
import type * as Connection from "../../src/http2/Connection.ts"
import { Flag, Setting, Type } from "../../src/http2/frame/frame.ts"
import type { Exchange } from "../../src/http2/session/exchange.ts"
import { blocking } from "../support/blocking.ts"
import * as Servers from "../support/http2Servers.ts"
import { allow, withServers } from "../support/limits.ts"
import * as Peer from "./peer.ts"
import { Play } from "./peer.ts"

allow(withServers)

const { maxConcurrentStreams } = Setting

/** A turn of the event loop. */
const turn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

const get = (path: string): Connection.Request => ({ method: "GET", path })

describe("during a write", () => {
  const blocked = (options: Parameters<typeof Play.ready>[0] = {}) => {
    const play = Play.ready(options, [maxConcurrentStreams, 100])
    play.submit(5)
    // As `Wire` does then: without `take`.
    play.session.flush()
    return play
  }

  it("requests that the socket has not taken count as not sent", () => {
    const play = blocked()
    play.session.close("cut")
    assert.deepStrictEqual(play.brief(), Array.from({ length: 5 }, () => "NotSent"))
  })

  it("a deadline reports such a request as not sent", () => {
    const play = blocked({ requestTimeout: 100 })
    play.now += 100
    play.session.tick()
    assert.deepStrictEqual([...new Set(play.brief())], ["Timeout waiting"])
    assert.deepStrictEqual(play.words(), [])
  })

  it("a lower limit of streams applies at once", () => {
    const play = blocked()
    play.feed(Peer.settings([maxConcurrentStreams, 1]))
    assert.deepStrictEqual(play.words(), ["settings", "headers 1"])
  })

  it.live("on a socket", () =>
    Effect.gen(function*() {
      let peer: Tls.TLSSocket | undefined
      const blocked = yield* blocking
      const connection = yield* Servers.connect((socket) => {
        peer = socket
        socket.write(Buffer.concat([Peer.settings([4, 2 ** 25]), Peer.windowUpdate(0, 2 ** 30)]))
        socket.pause()
      })
      const ends: Array<string> = []
      const post = (size: number) =>
        connection.submit({ method: "POST", path: "/", body: new Uint8Array(size) }, (answer) => {
          ends.push(Peer.brief(answer))
        })
      // More than the kernel takes; then small ones behind it.
      post(16_000_000)
      yield* blocked(() => peer)
      for (let i = 0; i < 500; i++) post(100)
      yield* turn
      peer!.destroy()
      yield* connection.closed
      yield* Servers.eventually(() => ends.length === 501)
      assert.strictEqual(ends.filter((end) => end === "Unknown").length, 1)
      assert.strictEqual(ends.filter((end) => end === "NotSent").length, 500)
    }))
})

describe("from inside a settle", () => {
  /** A request that can't be written: this is found only when it is sent. */
  const spoil = (play: Play, then: () => void) => play.session.submit(get(""), then)

  it("the session may be closed, and later requests fail", () => {
    const play = Play.ready()
    const { session } = play
    let again = "open"
    session.submit(get("/open"), () => session.submit(get("/again"), (answer) => again = Peer.brief(answer)))
    play.sent()
    spoil(play, () => session.close("enough"))
    play.submit(1)
    play.sent()
    play.sent()
    assert.strictEqual(again, "NotSent")
    assert.deepStrictEqual(play.brief(), ["NotSent"])
    assert.strictEqual(session.pending, 0)
  })

  it("the session may be retired, and opens no more streams", () => {
    const play = Play.ready()
    const { session } = play
    play.submit(1)
    play.sent()
    spoil(play, () => {
      session.retire("enough")
      play.submit(1)
    })
    assert.deepStrictEqual(play.words(), [])
    assert.deepStrictEqual(play.words(), [])
    assert.deepStrictEqual(play.brief(), ["open", "NotSent"])
  })

  it("the session may be closed after a GOAWAY, which has retired it already: all requests above are refused", () => {
    const play = Play.ready()
    const { session } = play
    let seen: unknown
    session.submit(get("/"), () => {
      seen = [session.isOpen, session.room, session.pending]
      session.close("enough")
    })
    const [, cancelled] = play.submit(3)
    session.submit(get("/"), () => session.cancel(cancelled!))
    play.sent()
    play.feed(Peer.goaway(0, 0))
    assert.deepStrictEqual(seen, [false, 0, 0])
    assert.deepStrictEqual(play.brief(), ["Refused 0", "Refused 0", "Refused 0"])
  })

  it("requests that end at the same time may be cancelled", () => {
    const endings: ReadonlyArray<readonly [(play: Play) => void, string]> = [
      [(play) => play.feed(Peer.goaway(0, 0)), "open"],
      [(play) => play.session.close("cut"), "NotSent"]
    ]
    for (const [end, waiting] of endings) {
      const play = Play.ready({}, [maxConcurrentStreams, 2])
      const submitted: Array<Connection.Submitted> = []
      const cancelAll = () => submitted.forEach((one) => play.session.cancel(one as Exchange))
      submitted.push(play.session.submit(get("/"), cancelAll))
      submitted.push(...play.submit(3))
      play.sent()
      end(play)
      play.sent()
      assert.deepStrictEqual(play.brief(), ["open", waiting, waiting])
      assert.deepStrictEqual(submitted.map(({ isSettled }) => isSettled), [true, true, true, true])
      assert.strictEqual(play.session.pending, 0)
    }
  })

  it.live.each(["retired", "ended"])(
    "endless submits on a connection that is %s do not block the process",
    (state) =>
      Effect.gen(function*() {
        const connection = yield* Servers.connect((socket) => {
          socket.write(Peer.settings())
        })
        if (state === "retired") {
          connection.submit(get("/open"), () => {})
          yield* Effect.forkChild(connection.retire)
          yield* Effect.yieldNow
        } else yield* connection.retire
        let refused = 0
        let isEnough = false
        const again = () => {
          refused++
          if (!isEnough) connection.submit(get("/"), again)
        }
        again()
        // a timer between them: it would never be over
        yield* Effect.sleep(1)
        yield* Servers.eventually(() => refused > 2)
        isEnough = true
      })
  )

  it.live("a connection whose scope closes fails the requests that are submitted meanwhile", () =>
    Effect.gen(function*() {
      const ends: Array<string> = []
      yield* Effect.exit(Effect.scoped(Effect.gen(function*() {
        const left = yield* Deferred.make<void>()
        const connection = yield* Servers.connect((socket) => {
          socket.write(Peer.settings())
          Servers.frames(socket, (type) => {
            if (type === Type.headers) Deferred.doneUnsafe(left, Effect.void)
          })
        })
        const end = (answer: Connection.Answer) => ends.push(Peer.brief(answer))
        connection.submit(get("/"), (answer) => {
          end(answer)
          connection.submit(get("/again"), end)
        })
        yield* Deferred.await(left)
        yield* connection.request(get(""))
      })))
      yield* Servers.eventually(() => ends.length === 2)
      assert.deepStrictEqual(ends, ["Unknown", "NotSent"])
    }))
})

describe("a callback that throws does not harm others, and its exception surfaces", () => {
  const real = queueMicrotask
  afterEach(() => void vi.restoreAllMocks())

  /** What surfaces, from here on. */
  const surfacing = (): Array<unknown> => {
    const surfaced: Array<unknown> = []
    vi.spyOn(globalThis, "queueMicrotask").mockImplementation((task) =>
      real(() => {
        try {
          task()
        } catch (error) {
          surfaced.push(error)
        }
      })
    )
    return surfaced
  }

  const bug = new Error("a bug of the user's")
  const throws = () => {
    throw bug
  }

  /** Three requests have left; the first one's `settle` throws. */
  const three = () => {
    const play = Play.ready({ requestTimeout: 100 })
    play.session.submit(get("/"), throws)
    play.submit(2)
    play.sent()
    return play
  }

  const endings: ReadonlyArray<readonly [string, (play: Play) => void, string]> = [
    ["answers", (play) => play.feed(Buffer.concat([1, 3, 5].map((id) => Peer.answer(id)))), "200"],
    ["the end", (play) => play.session.close("cut"), "Unknown"],
    ["a GOAWAY", (play) => play.feed(Peer.goaway(0, 0)), "Refused 0"],
    ["resets", (play) => play.feed(Buffer.concat([1, 3, 5].map((id) => Peer.rst(id, 7)))), "Refused 7"],
    ["deadlines", (play) => {
      play.now += 100
      play.session.tick()
    }, "Timeout sent"]
  ]

  it.live.each(endings)("at %s", ([, end, expected]) =>
    Effect.gen(function*() {
      const surfaced = surfacing()
      const play = three()
      end(play)
      play.sent()
      assert.deepStrictEqual(play.brief(), [expected, expected])
      assert.strictEqual(play.session.pending, 0)
      yield* Effect.yieldNow
      assert.deepStrictEqual(surfaced, [bug])
    }))

  it.live("in onRoom and after a PING", () =>
    Effect.gen(function*() {
      const surfaced = surfacing()
      const play = Play.ready()
      play.session.onRoom = throws
      play.session.ping(throws)
      play.session.ping(throws)
      const [ping] = play.sent()
      play.submit(1)
      play.feed(Peer.ping(Flag.ack, ping!.payload))
      assert.deepStrictEqual(play.words(), ["headers 1"])
      play.feed(Peer.answer(1))
      play.session.close("enough")
      play.session.ping(throws)
      play.sent()
      assert.deepStrictEqual(play.brief(), ["200"])
      assert.isTrue(play.hasEnded)
      yield* Effect.yieldNow
      assert.deepStrictEqual([...new Set(surfaced)], [bug])
    }))

  it.live("on a connection, which still writes and keeps its deadlines", () =>
    Effect.gen(function*() {
      const surfaced = surfacing()
      const connection = yield* Servers.connect((socket) => {
        socket.write(Peer.settings())
        Servers.frames(socket, (type, _, stream) => {
          if (type === Type.headers && stream < 4) socket.write(Peer.answer(stream))
        })
      }, { requestTimeout: "200 millis" })
      connection.submit(get("/answered"), throws)
      yield* Servers.eventually(() => surfaced.length === 1)
      assert.strictEqual((yield* connection.request(get("/answered"))).status, 200)
      connection.submit(get("/late"), throws)
      yield* Servers.eventually(() => surfaced.length === 2)
      assert.strictEqual((yield* Effect.flip(connection.request(get("/late")))).reason._tag, "Timeout")
    }))
})
