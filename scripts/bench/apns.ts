/**
 * Pushes per second, and what a push costs: backq's `Apns`, a bare loop over
 * `node:http2`, and the clients that people use now, in one run, to nghttpd.
 *
 *     npm run bench -- apns [--pushes 20000] [--rounds 3] [--window 1000]
 *     npm run bench -- apns --memory 1000000
 *
 * `--memory` shows the memory of one `Apns.sendAll` over that number of pushes instead.
 * Absolute figures say little on a shared machine: read the CPU and the ratios.
 */
import { Notification as ApnNotification, Provider } from "@parse/node-apn"
import { ApnsClient, Notification as Apns2Notification } from "apns2"
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { generateKeyPairSync } from "node:crypto"
import * as Http2 from "node:http2"
import { createRequire } from "node:module"
import { parseArgs } from "node:util"
import { Apns, Notification } from "../../src/push/apns/index.ts"
import { type Candidate, compare } from "./compare.ts"
import * as Nghttpd from "./nghttpd.ts"
import * as Server from "./server.ts"

const { values } = parseArgs({
  options: {
    pushes: { type: "string", default: "20000" },
    rounds: { type: "string", default: "3" },
    window: { type: "string", default: "1000" },
    memory: { type: "string", default: "0" }
  }
})
const window = Number(values.window)
const server = await Nghttpd.start(window)
const { ca, port } = server

// -- the pushes: all candidates send the same

const { token } = Nghttpd
const key = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({
  type: "pkcs8",
  format: "pem"
}) as string
const [keyId, teamId, topic] = ["ABC123DEFG", "DEF123GHIJ", "com.example.app"]
const alert = { title: "Your order", body: "It has been shipped and will arrive tomorrow between 10 and 12 o'clock." }
const custom = { order: { id: "8c1d6f0e-5f0b-4f3e-9f0a-2d6f0e5f0b4f", carrier: "post", items: 3 } }

const wrong = (what: unknown): never => {
  throw new Error(`not accepted: ${JSON.stringify(what)}`)
}

// -- candidates

const notification = Notification.alert({ ...alert, sound: "default", data: custom })
const runtime = ManagedRuntime.make(Apns.layer({
  credential: { key: Redacted.make(key), keyId, teamId, topic, ca: Redacted.make(ca) },
  host: "localhost",
  port,
  maxConnections: 1
}))

const sendAll = (n: number, each: (count: number) => void = () => {}) =>
  Stream.range(1, n).pipe(
    Stream.map(() => ({ notification, token })),
    (pushes) => Apns.sendAll(pushes, { inFlight: window }),
    Stream.runForEachArray((results) =>
      Effect.sync(() => {
        for (const { result } of results) if (Result.isFailure(result)) wrong(result.failure)
        each(results.length)
      })
    )
  )

const backq: Candidate = (n) => runtime.runPromise(sendAll(n))

const session = Http2.connect(`https://localhost:${port}`, { ca, peerMaxConcurrentStreams: window })
const bare: Candidate = (n) =>
  new Promise((resolve) => {
    const headers = {
      ":method": "POST",
      ":path": `/3/device/${token}`,
      authorization: `bearer ${"e".repeat(200)}`,
      "apns-topic": topic,
      "apns-push-type": "alert",
      "apns-priority": "10"
    }
    const body = JSON.stringify({ aps: { alert, sound: "default" }, ...custom })
    let sent = 0
    let answered = 0
    const next = () => {
      if (sent >= n) return
      const stream = session.request({
        ...headers,
        "apns-id": `00000000-0000-0000-0000-${String(sent++).padStart(12, "0")}`
      })
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

/** The candidates that take a list of pushes get as many as may be in flight. */
const inBatches = (send: (size: number) => Promise<unknown>): Candidate => async (n) => {
  for (let sent = 0; sent < n; sent += window) await send(Math.min(window, n - sent))
}

const provider = new Provider(
  { token: { key, keyId, teamId }, address: "localhost", port, ca, production: true } as never
)
const nodeApn = inBatches(async (size) => {
  const note = new ApnNotification({ aps: { alert, sound: "default" }, ...custom } as never)
  Object.assign(note, { topic, pushType: "alert", priority: 10 })
  const { failed } = await provider.send(note, Array.from({ length: size }, () => token))
  if (failed.length > 0) wrong(failed[0])
})

const apns2Client = new ApnsClient({ team: teamId, keyId, signingKey: key, defaultTopic: topic, host: "localhost" })
// its own pool supports only port 443: this is the same pool for our port
const { Pool } = createRequire(createRequire(import.meta.url).resolve("apns2"))("undici")
Object.assign(apns2Client, {
  client: new Pool(`https://localhost:${port}`, {
    connections: 32,
    pipelining: 1,
    allowH2: true,
    maxConcurrentStreams: 100,
    connect: { ca }
  })
})
const apns2 = inBatches(async (size) => {
  const notes = Array.from(
    { length: size },
    () => new Apns2Notification(token, { alert, sound: "default", data: custom })
  )
  for (const one of await apns2Client.sendMany(notes)) if ("error" in one) wrong(String(one.error))
})

// -- the measurements

const memory = async (pushes: number) => {
  const mebibytes = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1).padStart(6)} MiB`
  const report = (done: number) => {
    globalThis.gc?.()
    const { heapUsed, rss } = process.memoryUsage()
    console.log(`${String(done).padStart(9)} pushes  heap ${mebibytes(heapUsed)}  resident ${mebibytes(rss)}`)
  }
  const step = Math.ceil(pushes / 10)
  let done = 0
  let next = step
  await runtime.runPromise(sendAll(pushes, (count) => {
    done += count
    if (done < next) return
    next += step
    report(done)
  }))
}

if (Number(values.memory) > 0) await memory(Number(values.memory))
else {
  await compare(`pushes of ${JSON.stringify({ aps: { alert }, ...custom }).length} bytes, ${window} at once`, {
    "node:http2, bare": bare,
    "backq Apns.sendAll": backq,
    "@parse/node-apn": nodeApn,
    apns2
  }, {
    rounds: Number(values.rounds),
    n: () => Number(values.pushes),
    ratio: { title: "to bare", of: (rate, limit) => `${(rate / limit).toFixed(1)} x` },
    serverCpu: () => Server.cpuOf(server.pid)
  })
}

session.close()
await provider.shutdown()
await apns2Client.close()
await runtime.dispose()
server.stop()
