/** Jobs and workers whose file is moved: no accepted job is lost. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { existsSync, readdirSync, unlinkSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { Broker } from "../../../src/Broker.ts"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { Job, Publisher, Worker } from "../../../src/index.ts"
import { allow, withFiles } from "../../support/limits.ts"
import { file, request } from "./harness.ts"
import { bodiesIn, logs, moveAll, putElsewhere, waiting } from "./moves.ts"

allow(withFiles)

describe("no accepted job is lost", () => {
  for (
    const [name, disturb] of [
      ["moved and created again", (path: string, i: number) => moveAll(path, join(dirname(path), `away-${i}`))],
      ["log removed", (path: string) => unlinkSync(`${path}-wal`)],
      ["shared memory removed", (path: string) => unlinkSync(`${path}-shm`)],
      ["moved and put back", (path: string, i: number) => {
        const away = join(dirname(path), `away-${i}`)
        moveAll(path, away)
        moveAll(join(away, basename(path)), dirname(path))
      }]
    ] as const
  ) {
    it.live(`while jobs are put without a pause: ${name}`, () =>
      Effect.gen(function*() {
        const path = yield* file
        const accepted: Array<string> = []
        yield* Effect.scoped(Effect.gen(function*() {
          const { broker } = yield* SqliteBroker.make({ path, durability: "normal" })
          let next = 0
          const put = Effect.suspend(() => {
            const body = String(next++)
            return Effect.matchEffect(broker.put("q", request(body)), {
              onFailure: () => Effect.sleep(1),
              onSuccess: () => Effect.sync(() => accepted.push(body))
            })
          })
          const publishers = yield* Effect.forkChild(
            Effect.all([Effect.forever(put), Effect.forever(put), Effect.forever(put)], { concurrency: 3 })
          )
          for (let i = 0; i < 8; i++) {
            const before = accepted.length
            yield* Effect.repeat(Effect.sleep(5), { while: () => accepted.length < before + 20 })
            disturb(path, i)
            if (!existsSync(path)) yield* putElsewhere(path, "made")
          }
          const before = accepted.length
          yield* Effect.repeat(Effect.sleep(5), { while: () => accepted.length < before + 20 })
          yield* Fiber.interrupt(publishers)
        }))
        const files = [
          path,
          ...readdirSync(dirname(path)).filter((name) => name.startsWith("away")).map((name) =>
            join(dirname(path), name, basename(path))
          )
        ]
        const found = files.filter((path) => existsSync(path)).flatMap(bodiesIn)
        const kept = new Set(found)
        assert.deepStrictEqual(accepted.filter((body) => !kept.has(body)), [])
        assert.strictEqual(
          found.filter((body) => body !== "made").length,
          new Set(found.filter((body) => body !== "made")).size
        )
      }), { retry: 0 })
  }
})

const One = Job.make("one", { payload: Schema.Struct({ n: Schema.Int }), queue: "q", ttr: "1 hour" })

describe("a worker whose file is moved", () => {
  it.live("works on the jobs of the next file, as a layer, and interrupts its running handlers", () =>
    Effect.gen(function*() {
      const path = yield* file
      const { layer, lines } = logs()
      const ran: Array<number> = []
      const [begun, interrupted, second] = [
        yield* Deferred.make<void>(),
        yield* Deferred.make<void>(),
        yield* Deferred.make<void>()
      ]
      const handler = Worker.handler(One, ({ n }) => {
        ran.push(n)
        return n === 1
          ? Effect.andThen(Deferred.succeed(begun, undefined), Effect.never).pipe(
            Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
          )
          : Deferred.succeed(second, undefined)
      })
      const service = Worker.layer({ concurrency: 4 }, handler).pipe(
        Layer.provideMerge(Layer.fresh(Publisher.layer)),
        Layer.provideMerge(SqliteBroker.layer({ path, reconnectFor: "1 minute" })),
        Layer.provideMerge(layer)
      )
      yield* Effect.gen(function*() {
        yield* Publisher.publish(One, { n: 1 })
        yield* Deferred.await(begun)
        moveAll(path, join(dirname(path), "away"))
        yield* Publisher.publish(One, { n: 2 }).pipe(
          Effect.provide(Publisher.layer.pipe(Layer.fresh, Layer.provide(Layer.fresh(SqliteBroker.layer({ path })))))
        )
        yield* Effect.timeout(Deferred.await(second), "5 seconds")
        yield* Effect.timeout(Deferred.await(interrupted), "5 seconds")
        assert.deepStrictEqual(ran, [1, 2])
        assert.isTrue(lines.some((line) => line.startsWith("Warn") && line.includes("removed or replaced")))
      }).pipe(Effect.provide(service))
    }))

  it.live("ends if the file does not come back", () =>
    Effect.gen(function*() {
      const path = yield* file
      const exit = yield* Effect.gen(function*() {
        const worker = yield* Effect.forkChild(Worker.run({}, Worker.handler(One, () => Effect.void)))
        yield* waiting(yield* Broker)
        moveAll(path, join(dirname(path), "away"))
        return yield* Effect.timeout(Fiber.await(worker), "10 seconds")
      }).pipe(Effect.provide(SqliteBroker.layer({ path, reconnectFor: "300 millis" })))
      assert.isTrue(Exit.isFailure(exit))
    }))
})
