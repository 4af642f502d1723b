/** A client for the simulator on node:http2. */
import * as Effect from "effect/Effect"
import * as Http2 from "node:http2"
import * as Simulator from "../../../src/testing/apns/ApnsSimulator.ts"
import * as Key from "../../../src/testing/apns/Key.ts"
import type { Identity } from "../../../src/testing/push/Certificate.ts"

export interface Response {
  readonly status: number
  readonly headers: Http2.IncomingHttpHeaders
  readonly body: any
}

/** How a request ended without a response. */
export class NoResponse {
  readonly _tag = "NoResponse"
  readonly code: number
  constructor(code: number) {
    this.code = code
  }
}

export interface Client {
  readonly session: Http2.ClientHttp2Session
  readonly request: (
    headers: Http2.OutgoingHttpHeaders,
    body?: string | Uint8Array
  ) => Effect.Effect<Response, NoResponse>
  /** The GOAWAY frames so far. */
  readonly goaways: Array<{ readonly code: number; readonly last: number; readonly debug: string }>
  /** Each SETTINGS_MAX_CONCURRENT_STREAMS that was announced. */
  readonly limits: Array<number>
  readonly closed: Effect.Effect<void>
  /** A PING and its answer: everything sent before has then arrived. Does nothing on an ended session. */
  readonly ping: Effect.Effect<void>
}

/** Connects to the simulator, until the scope ends. */
export const connect = Effect.fnUntraced(function*(identity?: Identity) {
  const { ca, port } = yield* Simulator.ApnsSimulator
  const limits: Array<number> = []
  const session = yield* Effect.acquireRelease(
    Effect.callback<Http2.ClientHttp2Session, Error>((resume) => {
      const session = Http2.connect(`https://localhost:${port}`, { ca, ...identity })
      session.on("error", (error) => resume(Effect.fail(error)))
      session.on("remoteSettings", (settings) => limits.push(settings.maxConcurrentStreams!))
      session.once("remoteSettings", () => resume(Effect.succeed(session)))
    }),
    (session) => Effect.sync(() => session.destroy())
  )
  const goaways: Array<Client["goaways"][number]> = []
  session.on("goaway", (code, last, debug) => goaways.push({ code, last, debug: debug?.toString() ?? "" }))
  const client: Client = {
    session,
    goaways,
    limits,
    closed: Effect.callback((resume) => {
      if (session.destroyed) resume(Effect.void)
      else session.once("close", () => resume(Effect.void))
    }),
    ping: Effect.callback((resume) => {
      const done = () => resume(Effect.void)
      if (session.destroyed || !session.ping(done)) done()
    }),
    request: (headers, body) =>
      Effect.callback((resume) => {
        const stream = session.request(headers, { endStream: body === undefined })
        let head: Http2.IncomingHttpHeaders | undefined
        let text = ""
        stream.setEncoding("utf8")
        stream.on("response", (headers) => head = headers)
        stream.on("data", (chunk) => text += chunk)
        stream.on("error", () => {})
        stream.once("close", () =>
          resume(
            head === undefined
              ? Effect.fail(new NoResponse(stream.rstCode))
              : Effect.succeed({
                status: Number(head[":status"]),
                headers: head,
                body: text === "" ? undefined : JSON.parse(text)
              })
          ))
        if (body !== undefined) stream.end(body)
      })
  }
  return client
})

/** A device token: 64 digits that begin with these. */
export const token = (start: string): string => start.padEnd(64, "0")

export const topic = "com.example.app"

export const payload = JSON.stringify({ aps: { alert: "hello" } })

/** The headers of a good push, without its provider token. */
export const push = (to = token("a1"), more: Http2.OutgoingHttpHeaders = {}): Http2.OutgoingHttpHeaders => ({
  ":method": "POST",
  ":path": `/3/device/${to}`,
  "apns-topic": topic,
  "apns-push-type": "alert",
  ...more
})

/** The header of a key's provider token. */
export const authorization = (key: Key.Key, issuedAt?: number) =>
  Effect.map(Key.signToken(key, issuedAt), (jwt) => ({ authorization: `bearer ${jwt}` }))

/** A simulator that knows one key, a client, and the header of the key's provider token. */
export const setUp = Effect.fnUntraced(function*(options: Omit<Simulator.Options, "keys"> = {}) {
  const key = yield* Key.makeKey({ bundleIds: [topic] })
  const simulator = yield* Simulator.make({ ...options, keys: [key] })
  const client = yield* Effect.provideService(connect(), Simulator.ApnsSimulator, simulator)
  const auth = yield* authorization(key)
  const send = (to?: string, more: Http2.OutgoingHttpHeaders = {}, body: string = payload) =>
    client.request(push(to, { ...auth, ...more }), body)
  return { simulator, key, client, auth, send }
})

/** What a client of a simulator sees of a push. */
export const outcome = (sent: ReturnType<Client["request"]>) =>
  Effect.match(sent, {
    onSuccess: ({ body, status }) => body === undefined ? `${status}` : `${status} ${body.reason}`,
    onFailure: ({ code }) => `reset ${code}`
  })
