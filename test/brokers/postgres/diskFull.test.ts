/** A server whose disk is full: programs go on, and so does their work once there is room. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as PostgresBroker from "../../../src/brokers/postgres/PostgresBroker.ts"
import { Job, Publisher, Worker } from "../../../src/index.ts"
import { Inspector } from "../../../src/Inspector.ts"
import * as Disk from "../../support/disk.ts"
import { eventually } from "../../support/eventually.ts"
import { allow, withServers } from "../../support/limits.ts"
import { cluster, isMissing } from "../../support/postgres.ts"

allow(withServers)

const Count = Job.make("count", { payload: Schema.Int })

describe.skipIf(isMissing || Disk.isMissing)("a disk without room", () => {
  it.live("refuses jobs and ends no program, and nothing is lost or runs twice once there is room", () =>
    Effect.gen(function*() {
      const disk = yield* Disk.smallDisk(48)
      const { url } = yield* cluster({ disks: { data: disk.path } })
      const broker = Publisher.layer.pipe(Layer.provideMerge(PostgresBroker.layer({ url })))
      yield* Effect.gen(function*() {
        const ran: Array<number> = []
        const gate = Latch.makeUnsafe()
        const handler = Worker.handler(Count, (n) =>
          Effect.gen(function*() {
            ran.push(n)
            if (n === 0) yield* gate.await
          }))
        const worker = yield* Effect.forkChild(Worker.run({ concurrency: 4 }, handler))
        yield* Publisher.publish(Count, 0)
        yield* eventually("a handler runs", () => ran.length === 1)

        yield* disk.fill
        const published = [0]
        let isFull = false
        for (let n = 1; !isFull; n++) {
          const result = yield* Effect.result(Publisher.publish(Count, n))
          if (Result.isSuccess(result)) published.push(n)
          else {
            const { message, reason } = result.failure
            assert.strictEqual(reason._tag, "OutOfMemory")
            assert.include(message, "out of memory or disk space and did not carry this out: free space")
            isFull = true
          }
        }
        const { stats } = yield* Inspector
        assert.isAtLeast((yield* stats).reserved, 1)
        // The job that was running is settled, now or when there is room.
        yield* gate.open
        yield* Effect.sleep("300 millis")
        assert.isUndefined(worker.pollUnsafe(), "the worker ended")

        yield* disk.empty
        yield* eventually("there is room", Effect.map(Effect.result(Publisher.publish(Count, -1)), Result.isSuccess))
        published.push(-1)
        yield* eventually("every job is done", Effect.map(stats, ({ ready, reserved }) => ready + reserved === 0))
        assert.deepStrictEqual(ran.toSorted(), published.toSorted())
        yield* Fiber.interrupt(worker)
      }).pipe(Effect.provide(broker))
    }))
})
