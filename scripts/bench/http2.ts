/**
 * Requests per second over HTTP/2: a small POST with the headers of a push, to
 * nghttpd, by backq's connection and by `node:http2`, in one run.
 *
 *     npm run bench -- http2 [--requests 50000] [--rounds 3] [--window 1000] [--size 240]
 *
 * Absolute figures say little on a shared machine: read the CPU and the ratios.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Http2 from "node:http2"
import { parseArgs } from "node:util"
import * as Connection from "../../src/http2/Connection.ts"
import { type Candidate, compare } from "./compare.ts"
import * as Nghttpd from "./nghttpd.ts"
import * as Server from "./server.ts"

const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "50000" },
    rounds: { type: "string", default: "3" },
    window: { type: "string", default: "1000" },
    size: { type: "string", default: "240" }
  }
})
const requests = Number(values.requests)
const window = Number(values.window)

const server = await Nghttpd.start(window)
const { ca } = server

// -- the requests: all candidates send the same

const path = `/3/device/${Nghttpd.token}`
const body = Buffer.alloc(Number(values.size), "x")
const constant = {
  authorization: `bearer ${"e".repeat(200)}`,
  "apns-topic": "org.example.application",
  "apns-push-type": "alert",
  "apns-priority": "10"
}
const shared = Object.entries(constant).map(([name, value]) => ({ name, value, index: true }))
const id = (i: number) => `123e4567-e89b-12d3-a456-${String(i).padStart(12, "0")}`
const request = (i: number): Connection.Request => ({
  method: "POST",
  path,
  shared,
  headers: [{ name: "apns-id", value: id(i) }],
  body
})

// -- candidates

const scope = Scope.makeUnsafe()
const connection = await Effect.runPromise(
  Connection.make({ host: "localhost", port: server.port, tls: { ca } }).pipe(Scope.provide(scope))
)
const session = Http2.connect(`https://localhost:${server.port}`, { ca, peerMaxConcurrentStreams: window })

const wrong = (what: unknown): never => {
  throw new Error(`the server answered ${JSON.stringify(what)}`)
}

const check = (answer: Connection.Answer): void => {
  if (Result.isFailure(answer) || answer.success.status !== 200) wrong(answer)
}

const submit: Candidate = (n) =>
  new Promise((resolve) => {
    let sent = 0
    let answered = 0
    const next = () => {
      if (sent < n) connection.submit(request(sent++), settle)
    }
    const settle = (answer: Connection.Answer) => {
      check(answer)
      if (++answered === n) resolve()
      else next()
    }
    for (let i = 0; i < window; i++) next()
  })

const batches: Candidate = (n) =>
  Effect.runPromise(Effect.gen(function*() {
    for (let sent = 0; sent < n; sent += window) {
      const size = Math.min(window, n - sent)
      const answers = yield* connection.requestAll(Array.from({ length: size }, (_, i) => request(sent + i)))
      answers.forEach(check)
    }
  }))

const fibers: Candidate = (n) =>
  Effect.runPromise(Effect.forEach(
    Array.from({ length: n }, (_, i) => i),
    (i) => connection.request(request(i)),
    { concurrency: window, discard: true }
  ))

const nodeHttp2: Candidate = (n) =>
  new Promise((resolve) => {
    let sent = 0
    let answered = 0
    const next = () => {
      if (sent >= n) return
      const stream = session.request({ ":method": "POST", ":path": path, ...constant, "apns-id": id(sent++) })
      stream.on("response", (headers) => headers[":status"] === 200 || wrong(headers))
      stream.on("close", () => {
        if (++answered === n) resolve()
        else next()
      })
      stream.resume()
      stream.end(body)
    }
    for (let i = 0; i < window; i++) next()
  })

await compare(`POST of ${body.length} bytes, ${window} at once`, {
  "node:http2": nodeHttp2,
  "backq, submit": submit,
  "backq, requestAll": batches,
  "backq, request in fibers": fibers
}, {
  rounds: Number(values.rounds),
  n: () => requests,
  ratio: { title: "to node", of: (rate, limit) => `${(rate / limit).toFixed(1)} x` },
  serverCpu: () => Server.cpuOf(server.pid)
})

session.close()
await Effect.runPromise(Scope.close(scope, Exit.void))
server.stop()
