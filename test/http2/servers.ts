/** Real HTTP/2 servers for the tests. Each ends with its scope. */
import * as Effect from "effect/Effect"
import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import type * as Net from "node:net"
import { dirname, join } from "node:path"
import * as Tls from "node:tls"
import { find } from "../../scripts/servers.ts"
import { FrameReader, preface } from "../../src/http2/Frame.ts"
import { certificates } from "../beanstalk/certificates.ts"
import { freePort, listening } from "../beanstalk/servers.ts"

/** Is a program missing, where its absence is allowed? */
export const isMissing = (program: string): boolean => find(program) === undefined && process.env["CI"] !== "true"

const exited = (child: ChildProcess) =>
  Effect.callback<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) resume(Effect.void)
    else child.once("exit", () => resume(Effect.void))
  })

/** Runs a program until the scope ends. */
export const run = Effect.fnUntraced(function*(program: string, args: ReadonlyArray<string>, port: number) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(find(program) ?? program, args, { stdio: ["ignore", "ignore", "pipe"] })
      child.on("error", () => {})
      return child
    }),
    (child) => {
      child.kill("SIGKILL")
      return exited(child)
    }
  )
  yield* listening(port)
  return child
})

/** Writes files into a folder. */
export const write = (folder: string, files: Record<string, string>): void => {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), content)
  }
}

/** nghttpd, which serves files: 200 for those that are there, 404 for all others. */
export const nghttpd = Effect.fnUntraced(function*(files: Record<string, string>, ...options: ReadonlyArray<string>) {
  const certs = yield* certificates
  const port = yield* freePort
  write(certs.path("htdocs"), files)
  const own = [certs.path("server.key"), certs.path("server.crt")]
  yield* run("nghttpd", ["-a", "127.0.0.1", "-d", certs.path("htdocs"), ...options, String(port), ...own], port)
  return { port, certs }
})

/** A TLS server that follows a script for each connection. Returns its port. */
export const scriptedTls = Effect.fnUntraced(function*(
  options: Tls.TlsOptions,
  script: (socket: Tls.TLSSocket, number: number) => void
) {
  const sockets = new Set<Net.Socket>()
  let number = 0
  const server = Tls.createServer({ ALPNProtocols: ["h2"], ...options }, (socket) => {
    socket.on("error", () => {})
    script(socket, ++number)
  })
  server.on("connection", (socket) => {
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket)).on("error", () => {})
  })
  server.on("tlsClientError", (_, socket) => socket.destroy())
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

/** Calls `take` with each frame that a client sends, after its preface. */
export const frames = (
  socket: Net.Socket,
  take: (type: number, flags: number, stream: number, payload: Buffer) => void
): void => {
  let missing = preface.length
  const reader = new FrameReader((type, flags, stream, bytes, start, end) => {
    take(type, flags, stream, Buffer.from(bytes.subarray(start, end)))
    return undefined
  })
  socket.on("data", (chunk: Buffer) => {
    const skipped = Math.min(missing, chunk.length)
    missing -= skipped
    reader.feed(chunk.subarray(skipped))
  })
}
