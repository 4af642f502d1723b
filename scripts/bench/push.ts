/**
 * CPU of a push to Google and of one to a browser: backq's `Fcm` and `WebPush`, the bare
 * steps, and the libraries that people use now, in one run, to servers on this machine.
 *
 *     npm run bench -- push [--messages 20000] [--rounds 3] [--only fcm,webpush]
 *     npm run bench -- push --memory 1000000
 *
 * The servers check nothing, so the figures are those of the clients. No access token is
 * asked for. `--memory` shows the memory of `sendAll` over that number of pushes instead.
 * Absolute figures say little on a shared machine: read the ratios.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Crypto from "node:crypto"
import { parseArgs } from "node:util"
import { Fcm } from "../../src/push/fcm/index.ts"
import { AddressGuard, VapidKey, WebPush } from "../../src/push/webpush/index.ts"
import { compare } from "./compare.ts"
import * as Nghttpd from "./nghttpd.ts"
import * as Peers from "./pushPeers.ts"
import { times } from "./record.ts"
import * as Server from "./server.ts"

const { values } = parseArgs({
  options: {
    messages: { type: "string", default: "20000" },
    rounds: { type: "string", default: "3" },
    only: { type: "string", default: "fcm,webpush" },
    memory: { type: "string", default: "0" }
  }
})
const messages = Number(values.messages)
const rounds = Number(values.rounds)
const isWanted = (part: string) => values.only.split(",").includes(part)

const server = await Nghttpd.start(100)
process.on("exit", server.stop)

/** Looks at the results of a part of a stream: every push must be accepted. */
type Watch = (results: ReadonlyArray<{ readonly result: Result.Result<unknown, unknown> }>) => void

const accept: Watch = (results) => {
  for (const { result } of results) if (Result.isFailure(result)) throw result.failure
}

/** A candidate whose results may also be watched. */
type Sender = (n: number, watch?: Watch) => Promise<void>

const run = <P, E, R>(
  results: Stream.Stream<{ readonly push: P; readonly result: Result.Result<unknown, unknown> }, E, R>,
  watch: Watch | undefined
) =>
  Stream.runForEachArray(results, (some) =>
    Effect.sync(() => {
      accept(some)
      watch?.(some)
    }))

// -----------------------------------------------------------------------------
// Google
// -----------------------------------------------------------------------------

const message = {
  notification: {
    title: "Your order",
    body: "It has been shipped and will arrive tomorrow between 10 and 12 o'clock."
  },
  data: { order: "8c1d6f0e-5f0b-4f3e-9f0a-2d6f0e5f0b4f", carrier: "post", items: "3" },
  android: { priority: "high" as const }
}
/** Registration tokens have this form and length. */
const tokens = Array.from(
  { length: 1000 },
  () => `${Crypto.randomBytes(16).toString("base64url")}:APA91b${Crypto.randomBytes(100).toString("base64url")}`
)
const accessToken = `ya29.${"c".repeat(200)}`

const fcm = ManagedRuntime.make(Fcm.layer({
  credential: {
    project: Nghttpd.project,
    accessToken: Effect.sync(() => ({ token: accessToken, expiresAt: Infinity }))
  },
  host: "localhost",
  port: server.port,
  ca: server.ca
}))

const toGoogle: Sender = (n, watch) =>
  Stream.range(1, n).pipe(
    Stream.map((i) => ({ message, target: tokens[i % tokens.length]! })),
    (pushes) => Fcm.sendAll(pushes),
    (results) => fcm.runPromise(run(results, watch))
  )

// -----------------------------------------------------------------------------
// Browsers
// -----------------------------------------------------------------------------

const subject = "mailto:ops@example.com"
const text = "x".repeat(300)
const { privateKey, publicKey } = await Effect.runPromise(VapidKey.generate)

const browsers = Array.from({ length: 200 }, () => {
  const pair = Crypto.createECDH("prime256v1")
  return { point: pair.generateKeys(), auth: Crypto.randomBytes(16) }
})

const subscriptionsAt = (port: number) =>
  browsers.map(({ auth, point }) => ({
    endpoint: `https://localhost:${port}/3/device/${Nghttpd.token}`,
    keys: { p256dh: point.toString("base64url"), auth: auth.toString("base64url") }
  }))

const subscriptions = subscriptionsAt(server.port)

const toBrowsers = (options: WebPush.ConnectionOptions): Sender => {
  const layer = WebPush.layer({
    keys: { privateKey },
    subject,
    allow: [`localhost:${server.port}`],
    ca: server.ca,
    ...options
  })
  const runtime = ManagedRuntime.make(Layer.provide(layer, AddressGuard.layer(() => true)))
  const message = { body: text, ttl: 60 }
  return (n, watch) =>
    Stream.range(1, n).pipe(
      Stream.map((i) => ({ message, subscription: subscriptions[i % subscriptions.length]! })),
      (pushes) => WebPush.sendAll(pushes),
      (results) => runtime.runPromise(run(results, watch))
    )
}

const fresh = toBrowsers({})
const reused = toBrowsers({ reuseKeys: "30 minutes" })

// -----------------------------------------------------------------------------
// The measurements
// -----------------------------------------------------------------------------

const memory = async (title: string, send: Sender, pushes: number) => {
  const mebibytes = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1).padStart(6)} MiB`
  const step = Math.ceil(pushes / 10)
  let done = 0
  let next = step
  console.log(`\n${title}`)
  await send(pushes, (results) => {
    done += results.length
    if (done < next) return
    next += step
    globalThis.gc?.()
    const { heapUsed, rss } = process.memoryUsage()
    console.log(`${String(done).padStart(9)} pushes  heap ${mebibytes(heapUsed)}  resident ${mebibytes(rss)}`)
  })
}

/** How many messages each candidate sends: fewer if a message takes longer. */
const parts: Readonly<Record<string, number>> = {
  "node:http2, bare": 1,
  "backq Fcm.sendAll": 1,
  "firebase-admin sendEach": 1 / 4,
  "web-push sendNotification": 1 / 20
}

const options = {
  rounds,
  n: (name: string) => Math.ceil(messages * (parts[name] ?? 1 / 4)),
  ratio: { title: "to bare", of: times }
}

const compareGoogle = async () => {
  const given: Peers.ToGoogle = { server, message, tokens, accessToken }
  const bare = Peers.bareHttp2(given)
  const admin = Peers.firebaseAdmin(given)
  await compare("a message to a device through FCM", {
    "node:http2, bare": bare.send,
    "backq Fcm.sendAll": (n) => toGoogle(n),
    "firebase-admin sendEach": admin.send
  }, { ...options, serverCpu: () => Server.cpuOf(server.pid) })
  admin.close()
  bare.close()
}

const compareBrowsers = async () => {
  const http1 = await Peers.startHttp1()
  process.on("exit", http1.stop)
  const library = Peers.webPush({
    ca: http1.ca,
    subscriptions: subscriptionsAt(http1.port),
    text,
    vapidDetails: { subject, publicKey, privateKey: Redacted.value(privateKey) }
  })
  await compare("a message to a browser, with a key pair of its own", {
    "node:crypto, bare steps": Peers.bareSteps(browsers, text),
    "backq WebPush.sendAll": (n) => fresh(n),
    "web-push sendNotification": library.send
  }, options)
  library.close()
  await compare("a message to a browser, with a reused key pair", {
    "node:crypto, bare steps": Peers.bareCachedSteps(browsers, text),
    "backq WebPush.sendAll, reuseKeys": (n) => reused(n)
  }, options)
}

if (Number(values.memory) > 0) {
  const pushes = Number(values.memory)
  if (isWanted("fcm")) await memory("Fcm.sendAll", toGoogle, pushes)
  if (isWanted("webpush")) {
    await memory("WebPush.sendAll", fresh, pushes)
    await memory("WebPush.sendAll, reuseKeys", reused, pushes)
  }
} else {
  if (isWanted("fcm")) await compareGoogle()
  if (isWanted("webpush")) await compareBrowsers()
}

process.exit(0)
