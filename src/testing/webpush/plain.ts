/** A server with HTTP/1.1 only, for push services of one's own. */
// @effect-diagnostics nodeBuiltinImport:off
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { ServerResponse } from "node:http"
import * as Https from "node:https"
import type { Socket } from "node:net"
import { Connection, Server } from "../push/index.ts"
import type { Peer } from "./responder.ts"

/** The options of a server. */
export interface Options {
  readonly host: string
  readonly port: number
  readonly tls: Server.Tls
  readonly opened: () => void
  readonly reactions: {
    readonly react: (connection: Peer, request: Connection.Incoming) => Connection.Reacted
    readonly reacted: (connection: Peer) => void
  }
}

/** A running server. */
export interface Plain {
  readonly port: number
  readonly open: () => number
  readonly cut: () => void
}

const perform = (
  reaction: Connection.Reaction,
  response: ServerResponse,
  later: (millis: number, run: () => void) => void
): void => {
  if (reaction._tag === "Silence") return
  if (reaction._tag !== "Answer") return void response.socket?.destroy()
  const { ":status": status, ...headers } = reaction.headers
  const answer = () => {
    response.writeHead(Number(status), headers as Record<string, string>)
    response.end(reaction.body, () => reaction.cut && response.socket?.destroy())
  }
  if (reaction.delay > 0) later(reaction.delay, answer)
  else answer()
}

/** Starts a server. It stops when the scope closes. */
export const make = Effect.fnUntraced(function*(
  { host, opened, port, reactions, tls }: Options
): Effect.fn.Return<Plain, Server.ListenError, Scope.Scope> {
  const run = Effect.runForkWith(yield* Effect.context())
  const later = (millis: number, call: () => void) => void run(Effect.andThen(Effect.sleep(millis), Effect.sync(call)))
  const sockets = new Map<Socket, Peer>()
  let count = 0
  const server = Https.createServer({ cert: tls.cert, key: tls.key }, (request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const bytes = Buffer.concat(chunks)
      const peer = sockets.get(request.socket)
      if (peer === undefined) return
      const { reaction } = reactions.react(peer, {
        method: request.method ?? "",
        path: request.url ?? "",
        headers: request.headers as Connection.Incoming["headers"],
        rawHeaders: request.rawHeaders,
        body: bytes.toString(),
        bytes,
        size: bytes.length
      })
      perform(reaction, response, later)
      reactions.reacted(peer)
    })
  })
  server.on("secureConnection", (socket: Socket) => {
    sockets.set(socket, { number: ++count, pushes: 0, goaway: () => socket.end() })
    socket.on("error", () => {})
    socket.once("close", () => sockets.delete(socket))
    opened()
  })
  server.on("tlsClientError", (_, socket: Socket) => socket.destroy())
  const cut = () => {
    for (const socket of sockets.keys()) socket.destroy()
  }
  yield* Effect.addFinalizer(() =>
    Effect.callback<void>((resume) => {
      cut()
      server.close(() => resume(Effect.void))
    })
  )
  const bound = yield* Server.listen(server, { service: "Web Push", host, port })
  return { port: bound, open: () => sockets.size, cut }
})
