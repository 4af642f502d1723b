/** Ports, servers that follow a script, and networks that fail. Each ends with its scope. */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Net from "node:net"

/** A free port. */
export const freePort = Effect.callback<number>((resume) => {
  const server = Net.createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address() as Net.AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

/** Waits until a port takes connections. */
export const listening = (port: number) =>
  Effect.callback<void, Error>((resume) => {
    const socket = Net.connect(port, "127.0.0.1", () => {
      socket.destroy()
      resume(Effect.void)
    })
    socket.on("error", (error) => resume(Effect.fail(error)))
  }).pipe(Effect.retry(Schedule.max([Schedule.spaced("10 millis"), Schedule.recurs(500)])), Effect.orDie)

/** What a scripted server does with one connection. */
export type Script = (socket: Net.Socket) => void

/** A server that follows a script. Returns its port. */
export const scripted = Effect.fnUntraced(function*(script: Script) {
  const sockets = new Set<Net.Socket>()
  const server = Net.createServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
    socket.on("close", () => sockets.delete(socket))
    script(socket)
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.callback<void>((resume) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resume(Effect.void))
      })
  )
  return (server.address() as Net.AddressInfo).port
})

/** A relay in front of a server, whose traffic can be held up (as by a dead network) or cut. */
export const relay = Effect.fnUntraced(function*(target: number) {
  const pairs = new Set<readonly [Net.Socket, Net.Socket]>()
  let held = false
  let bytes = 0
  let connections = 0
  const port = yield* scripted((inner) => {
    connections++
    const outer = Net.connect(target, "127.0.0.1")
    outer.on("error", () => inner.destroy())
    const pair = [inner, outer] as const
    pairs.add(pair)
    inner.on("data", (data) => {
      bytes += data.length
      if (!held) outer.write(data)
    })
    outer.on("data", (data) => {
      if (!held) inner.write(data)
    })
    inner.on("close", () => outer.destroy())
    outer.on("close", () => {
      pairs.delete(pair)
      if (!held) inner.destroy()
    })
  })
  return {
    port,
    /** How much the client has said. */
    bytes: () => bytes,
    /** The number of connections so far. */
    connections: () => connections,
    hold: Effect.sync(() => {
      held = true
    }),
    /** Lets new data through. Held data is lost. */
    release: Effect.sync(() => {
      held = false
    }),
    /** Closes the connections in good order, as a proxy does with idle ones. Returns when the client has closed too. */
    close: Effect.suspend(() =>
      Effect.forEach(
        Array.from(pairs),
        ([inner]) =>
          Effect.callback<void>((resume) => {
            inner.once("close", () => resume(Effect.void)).end()
          }),
        { concurrency: "unbounded", discard: true }
      )
    ),
    cut: Effect.sync(() => {
      for (const [inner, outer] of pairs) {
        inner.resetAndDestroy()
        outer.destroy()
      }
    })
  }
})
