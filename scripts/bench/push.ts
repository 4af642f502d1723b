/**
 * CPU of messages to browsers: the bare steps of RFC 8291 by node:crypto, `WebPush.sendAll`
 * to a local nghttpd, with a fresh key pair for each message and with reused ones, and the
 * library `web-push`, which makes the same requests without sending them. The server
 * checks nothing, so the figures are those of the client.
 *
 *     npm run bench -- push [--messages 6000] [--rounds 5]
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Crypto from "node:crypto"
import { createRequire } from "node:module"
import { parseArgs } from "node:util"
import { AddressGuard, VapidKey, WebPush } from "../../src/push/webpush/index.ts"
import { type Candidate, compare } from "./compare.ts"
import * as Nghttpd from "./nghttpd.ts"
import { times } from "./record.ts"

const { values } = parseArgs({
  options: { messages: { type: "string", default: "6000" }, rounds: { type: "string", default: "5" } }
})
const messages = Number(values.messages)
const rounds = Number(values.rounds)

/** The part of the library that is measured. It has no types of its own. */
interface Library {
  readonly generateRequestDetails: (subscription: object, payload: string, options: object) => unknown
}

const library = createRequire(import.meta.url)("web-push") as Library

const subject = "mailto:ops@example.com"
const text = "x".repeat(300)
const browserCount = 200

// -----------------------------------------------------------------------------
// The browsers
// -----------------------------------------------------------------------------

const server = await Nghttpd.start(100)
const { privateKey, publicKey } = await Effect.runPromise(VapidKey.generate)

const browsers = Array.from({ length: browserCount }, () => {
  const pair = Crypto.createECDH("prime256v1")
  return { point: pair.generateKeys(), auth: Crypto.randomBytes(16) }
})

const subscriptions = browsers.map(({ auth, point }) => ({
  endpoint: `https://localhost:${server.port}/3/device/${Nghttpd.token}`,
  keys: { p256dh: point.toString("base64url"), auth: auth.toString("base64url") }
}))

// -----------------------------------------------------------------------------
// The bare steps
// -----------------------------------------------------------------------------

const hmac = (key: Uint8Array, data: Uint8Array) => Crypto.createHmac("sha256", key).update(data).digest()

const ecdh = Crypto.createECDH("prime256v1")
const keyLabel = Buffer.from("WebPush: info\0")
const contentLabel = Buffer.from("Content-Encoding: aes128gcm\0\x01")
const nonceLabel = Buffer.from("Content-Encoding: nonce\0\x01")
const one = Buffer.from([1])
const two = Buffer.from([2])

interface Secret {
  readonly point: Buffer
  readonly ikm: Buffer
}

const agree = ({ auth, point }: typeof browsers[number]): Secret => {
  const own = ecdh.generateKeys()
  const prk = hmac(auth, ecdh.computeSecret(point))
  return { point: own, ikm: hmac(prk, Buffer.concat([keyLabel, point, own, one])) }
}

const encrypt = ({ ikm, point }: Secret): Buffer => {
  const salt = Crypto.randomBytes(16)
  const prk = hmac(salt, ikm)
  const cipher = Crypto.createCipheriv(
    "aes-128-gcm",
    hmac(prk, contentLabel).subarray(0, 16),
    hmac(prk, nonceLabel).subarray(0, 12)
  )
  const head = Buffer.alloc(21)
  salt.copy(head)
  head.writeUInt32BE(4096, 16)
  head[20] = point.length
  return Buffer.concat([head, point, cipher.update(text), cipher.update(two), cipher.final(), cipher.getAuthTag()])
}

const bare: Candidate = async (n) => {
  for (let i = 0; i < n; i++) encrypt(agree(browsers[i % browserCount]!))
}

const secrets = browsers.map(agree)

const bareCached: Candidate = async (n) => {
  for (let i = 0; i < n; i++) encrypt(secrets[i % browserCount]!)
}

// -----------------------------------------------------------------------------
// backq, and the library
// -----------------------------------------------------------------------------

const sender = (options: WebPush.ConnectionOptions): Candidate => {
  const layer = WebPush.layer({
    keys: { privateKey },
    subject,
    allow: [`localhost:${server.port}`],
    ca: server.ca,
    maxConnections: 1,
    ...options
  })
  const runtime = ManagedRuntime.make(Layer.provide(layer, AddressGuard.layer(() => true)))
  const message = { body: text, ttl: 60 }
  return (n) =>
    Stream.range(1, n).pipe(
      Stream.map((i) => ({ message, subscription: subscriptions[i % browserCount]! })),
      (pushes) => WebPush.sendAll(pushes, { inFlight: 500 }),
      Stream.runForEachArray((some) =>
        Effect.forEach(some, ({ result }) => Result.isFailure(result) ? Effect.die(result.failure) : Effect.void, {
          discard: true
        })
      ),
      (all) => runtime.runPromise(all)
    )
}

const vapidDetails = { subject, publicKey, privateKey: Redacted.value(privateKey) }

const webPush: Candidate = async (n) => {
  for (let i = 0; i < n; i++) {
    library.generateRequestDetails(subscriptions[i % browserCount]!, text, {
      TTL: 60,
      contentEncoding: "aes128gcm",
      vapidDetails
    })
  }
}

// -----------------------------------------------------------------------------
// The comparison
// -----------------------------------------------------------------------------

const options = { rounds, n: () => messages, ratio: { title: "to bare", of: times } }

await compare("a message to a browser, with a key pair of its own", {
  "bare node:crypto": bare,
  "backq": sender({}),
  "web-push, without sending": webPush
}, { ...options, n: (name) => name.startsWith("web-push") ? Math.ceil(messages / 5) : messages })

await compare("a message to a browser, with a reused key pair", {
  "bare node:crypto": bareCached,
  "backq, reuseKeys": sender({ reuseKeys: "30 minutes" })
}, options)

server.stop()
process.exit(0)
