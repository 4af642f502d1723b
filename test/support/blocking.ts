/** Sockets that take no more. */
import { vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Net from "node:net"

/**
 * Waits until the one other socket that is written to takes no more: what its peer does not read has filled all buffers
 * between them. Call it before the test opens sockets.
 */
export const blocking = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => vi.spyOn(Net.Socket.prototype, "write")),
    (spy) => Effect.sync(() => spy.mockRestore())
  ),
  (spy) => (peer: () => Net.Socket | undefined) => {
    let [calm, before] = [0, 0]
    const look = Effect.sync(() => {
      const sockets = new Set(spy.mock.contexts as ReadonlyArray<Net.Socket>)
      const [client, ...others] = Array.from(sockets).filter((socket) => socket !== peer())
      const waiting = peer() === undefined || others.length > 0 ? 0 : client?.writableLength ?? 0
      calm = waiting > 0 && waiting === before ? calm + 1 : 0
      before = waiting
      return calm
    })
    return Effect.repeat(look, { until: (calm) => calm === 5, schedule: Schedule.spaced("10 millis") })
  }
)
