/** The pool with a service that nobody has, over a real server: it knows no service of its own. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Http2Error } from "../../../src/http2/index.ts"
import { Pool, type Provider } from "../../../src/push/pool/index.ts"
import { allow, withServers } from "../../support/limits.ts"
import { flight, type No, type PigeonError, provider, type Reply, rings, say, serve } from "./pigeon.ts"

allow(withServers)

type Outcome = Pool.Reply<No, PigeonError>

/** A pool to a server that replies so, and what it logs. */
const pigeons = Effect.fnUntraced(
  function*(reply: Reply, options: Partial<Pool.Options> & { readonly isTrusted?: boolean } = {}) {
    const { open, openUntrusted } = yield* serve(reply)
    const logged: Array<string> = []
    const pool = yield* Pool.make(provider, {
      open: options.isTrusted === false ? openUntrusted : open,
      authorizer: rings(),
      maxConnections: 2,
      queueTimeout: Duration.seconds(3),
      idleTimeout: Duration.minutes(1),
      drainTimeout: Duration.seconds(1),
      ...options
    }).pipe(Effect.provide(Logger.layer([Logger.make(({ message }) => logged.push(String(message)))])))
    const send = (request: Provider.Request) =>
      Effect.callback<Outcome>((resume) => {
        const cancel = pool.submit(request, (outcome) => resume(Effect.succeed(outcome)))
        return Effect.sync(cancel)
      })
    return { send, logged }
  }
)

const word = (outcome: Outcome): string =>
  Result.match(outcome, {
    onSuccess: ({ refusal, response }) => refusal?.reason ?? String(response.status),
    onFailure: ({ message }) => message
  })

describe("a pool for any service", () => {
  it.live("returns the answer and its judgement", () =>
    Effect.gen(function*() {
      const { send } = yield* pigeons((stream, path) =>
        (path.startsWith("/rome") ? say(204) : say(410, "no such roost"))(stream, path, "")
      )
      const flown = Result.getOrThrow(yield* send(flight("rome")))
      assert.deepInclude(flown, { refusal: undefined, attempts: 1 })
      const refused = Result.getOrThrow(yield* send(flight("oslo")))
      assert.deepStrictEqual(refused.refusal, { status: 410, reason: "no such roost" })
    }))

  it.live("signs with the authorizer's value, and with the next one when that has expired", () =>
    Effect.gen(function*() {
      const seen: Array<string | undefined> = []
      const { send } = yield* pigeons((stream, path, ring) => {
        seen.push(ring)
        return (ring === "ring 1" ? say(401, "old ring") : say(204))(stream, path, ring)
      })
      assert.strictEqual(Result.getOrThrow(yield* send(flight("rome"))).attempts, 2)
      assert.deepStrictEqual(seen, ["ring 1", "ring 2"])
    }))

  it.live("uses another connection if the service asks for it", () =>
    Effect.gen(function*() {
      let asked = 0
      const { send } = yield* pigeons((stream, path, ring) =>
        (++asked === 1 ? say(421, "another roof") : say(204))(stream, path, ring)
      )
      assert.strictEqual(Result.getOrThrow(yield* send(flight("rome"))).attempts, 2)
    }))

  it.live("a fault of one scope fails that scope only, with the service's error", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const { logged, send } = yield* pigeons((stream, path, ring) => {
        seen.push(path)
        return (path.startsWith("/oslo") ? say(400, "wrong loft") : say(204))(stream, path, ring)
      })
      assert.strictEqual(word(yield* send(flight("oslo"))), "wrong loft")
      assert.strictEqual(word(yield* send(flight("oslo"))), "pigeon refused: wrong loft")
      assert.strictEqual(word(yield* send(flight("rome"))), "204")
      assert.deepStrictEqual(seen, ["/oslo/roost", "/rome/roost"])
      assert.deepStrictEqual(logged, ["pigeon refused: wrong loft"])
    }))

  it.live("a fault of all requests fails all requests", () =>
    Effect.gen(function*() {
      const { send } = yield* pigeons(say(403, "who are you"))
      assert.strictEqual(word(yield* send(flight("oslo"))), "who are you")
      assert.strictEqual(word(yield* send(flight("rome"))), "pigeon refused: who are you")
    }))

  it.live("a GOAWAY with a fault opens the circuit", () =>
    Effect.gen(function*() {
      const { send } = yield* pigeons((stream) => {
        stream.session!.goaway(0, 0, Buffer.from("the loft burnt down"))
        stream.close(7)
      })
      assert.strictEqual(word(yield* send(flight("rome"))), "pigeon homeless: the loft burnt down")
    }))

  it.live("an untrusted server opens the circuit", () =>
    Effect.gen(function*() {
      const { send } = yield* pigeons(say(204), { isTrusted: false })
      assert.match(word(yield* send(flight("rome"))), /^pigeon caught: the TLS connection/)
    }))

  it.live("an unreachable service is logged by name and fails the waiting requests with its error", () =>
    Effect.gen(function*() {
      const { logged, send } = yield* pigeons(say(204), {
        open: Effect.fail(Http2Error.make(new Http2Error.Unreachable({ server: "the loft", detail: "fog" }))),
        queueTimeout: Duration.millis(100)
      })
      assert.strictEqual(word(yield* send(flight("rome"))), "pigeon grounded: the loft can't be reached: fog")
      assert.deepStrictEqual(logged, ["can't connect to Pigeon: the loft can't be reached: fog"])
    }))

  it.live("an expired request is not sent", () =>
    Effect.gen(function*() {
      let asked = 0
      const { send } = yield* pigeons((stream, path, ring) => {
        asked++
        say(204)(stream, path, ring)
      })
      assert.strictEqual(word(yield* send(flight("rome", 1000))), "pigeon late: 1000")
      assert.strictEqual(asked, 0)
    }))
})

describe("the rooms of every push service", () => {
  it.each(["pool", "job"])("push/%s names no service", (room) => {
    const folder = join(import.meta.dirname, "..", "..", "..", "src", "push", room)
    for (const file of readdirSync(folder)) {
      assert.notMatch(readFileSync(join(folder, file), "utf8"), /apns|apple|fcm|firebase|google/i, file)
    }
  })
})
