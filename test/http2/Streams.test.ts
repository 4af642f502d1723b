/** The open streams of a connection, and the queue before them. */
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { Setting } from "../../src/http2/frame/frame.ts"
import { Exchange } from "../../src/http2/session/exchange.ts"
import { Streams } from "../../src/http2/session/streams.ts"
import { brief, Play } from "./peer.ts"

const opened = (id: number): Exchange => {
  const exchange = new Exchange({ method: "GET", path: "/" }, () => {}, 1000, 1000)
  exchange.id = id
  return exchange
}

/** Opens this many streams, or closes the n-th of the open ones. */
const Steps = Schema.Array(Schema.Union([
  Schema.Struct({ open: Schema.Literals([1, 2, 1000, 5000]) }),
  Schema.Struct({ close: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5000 })) })
]))

describe("open streams", () => {
  it.prop("are those of a Map", { steps: Steps }, ({ steps }) => {
    const streams = new Streams()
    const model = new Map<number, Exchange>()
    let nextId = 1
    for (const step of steps) {
      const count = "open" in step ? step.open : 0
      for (let left = count; left > 0; left--, nextId += 2) {
        const exchange = opened(nextId)
        streams.add(exchange)
        model.set(nextId, exchange)
        if (left > 3) {
          streams.delete(nextId)
          model.delete(nextId)
        }
      }
      if ("close" in step && model.size > 0) {
        const id = [...model.keys()][step.close % model.size]!
        streams.delete(id)
        streams.delete(id)
        model.delete(id)
      }
      assert.strictEqual(streams.size, model.size)
      assert.deepStrictEqual(streams.all().map(({ id }) => id), [...model.keys()])
      for (const [id, exchange] of model) assert.strictEqual(streams.get(id), exchange)
      assert.isFalse(streams.has(nextId))
    }
  })

  it("are found when more are open than the ring has slots", () => {
    const streams = new Streams()
    for (let id = 1; id < 20_000; id += 2) streams.add(opened(id))
    for (let id = 1; id < 20_000; id += 2) assert.strictEqual(streams.get(id)?.id, id)
    for (let id = 1; id < 20_000; id += 4) streams.delete(id)
    assert.strictEqual(streams.size, 5000)
    assert.deepStrictEqual(streams.all().map(({ id }) => id), Array.from({ length: 5000 }, (_, i) => 4 * i + 3))
  })
})

describe("the queue", () => {
  it("may be refused by the first request that timed out in it", () => {
    const play = Play.ready({}, [Setting.maxConcurrentStreams, 0])
    const ends: Array<string> = []
    for (const name of ["a", "b", "c"]) {
      play.session.submit({ method: "GET", path: "/" }, (answer) => {
        ends.push(`${name} ${brief(answer)}`)
        play.session.retire("it timed out")
      }, 500)
    }
    play.now += 1000
    play.session.tick()
    assert.deepStrictEqual(ends, ["a Timeout waiting", "b NotSent", "c NotSent"])
  })

  it("is checked once in a tick, also when each timeout submits the next request", () => {
    const play = Play.ready({}, [Setting.maxConcurrentStreams, 0])
    let timeouts = 0
    const submit = (timeout: number) =>
      play.session.submit({ method: "GET", path: "/" }, () => {
        timeouts++
        submit(0)
      }, timeout)
    submit(500)
    play.now += 500
    play.session.tick()
    assert.strictEqual(timeouts, 1)
    play.session.tick()
    assert.strictEqual(timeouts, 2)
  })
})
