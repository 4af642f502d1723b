/**
 * What backq's pushes to Google and to browsers are measured beside: a bare loop over
 * `node:http2`, the bare steps of RFC 8291 by node:crypto, and the libraries firebase-admin
 * and web-push, which send to servers on this machine.
 */
import { initializeApp } from "firebase-admin/app"
import { getMessaging, type TokenMessage } from "firebase-admin/messaging"
import * as Crypto from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import * as Http2 from "node:http2"
import * as Https from "node:https"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Candidate } from "./compare.ts"
import * as Nghttpd from "./nghttpd.ts"
import * as Server from "./server.ts"

const require = createRequire(import.meta.url)

const wrong = (what: unknown): never => {
  throw new Error(`not accepted: ${JSON.stringify(what)}`)
}

// -----------------------------------------------------------------------------
// Google
// -----------------------------------------------------------------------------

/** A message to Google without its target, and the tokens that take turns. */
export interface ToGoogle {
  readonly server: { readonly port: number; readonly ca: string }
  readonly message: Omit<TokenMessage, "token">
  readonly tokens: ReadonlyArray<string>
  readonly accessToken: string
}

/** Sends the messages by `node:http2` over one connection, 100 at once, and reads no answer but its status. */
export const bareHttp2 = ({ accessToken, message, server: { ca, port }, tokens }: ToGoogle) => {
  const session = Http2.connect(`https://localhost:${port}`, { ca, peerMaxConcurrentStreams: 100 })
  const headers = {
    ":method": "POST",
    ":path": Nghttpd.fcmPath,
    authorization: `Bearer ${accessToken}`,
    "content-type": "application/json"
  }
  const send: Candidate = (n) =>
    new Promise((resolve) => {
      let sent = 0
      let answered = 0
      const next = () => {
        if (sent >= n) return
        const stream = session.request(headers)
        stream.on("response", (headers) => headers[":status"] === 200 || wrong(headers))
        stream.on("close", () => {
          if (++answered === n) resolve()
          else next()
        })
        stream.resume()
        stream.end(JSON.stringify({ message: { ...message, token: tokens[sent++ % tokens.length] } }))
      }
      for (let i = 0; i < 100; i++) next()
    })
  return { send, close: () => session.close() }
}

/** The most messages that firebase-admin takes in one call. */
const batchSize = 500

/**
 * Sends the messages by firebase-admin. It has no option for another server, so its
 * connections to Google are led to the given one. It also sends the scheme `https:`, which
 * Google takes and nghttpd refuses, so that is corrected.
 */
export const firebaseAdmin = ({ accessToken, message, server: { ca, port }, tokens }: ToGoogle) => {
  const http2: { connect: typeof Http2.connect } = require("node:http2")
  const { connect } = http2
  const open = (_: unknown, options: Http2.SecureClientSessionOptions) => {
    const session = connect(`https://localhost:${port}`, { ...options, ca })
    const request = session.request.bind(session)
    session.request = (headers, options) => {
      Object.assign(headers!, { ":scheme": "https" })
      return request(headers, options)
    }
    return session
  }
  http2.connect = open as typeof connect
  const app = initializeApp({
    projectId: Nghttpd.project,
    credential: { getAccessToken: async () => ({ access_token: accessToken, expires_in: 3600 }) }
  })
  const messaging = getMessaging(app)
  const send: Candidate = async (n) => {
    for (let sent = 0; sent < n; sent += batchSize) {
      const size = Math.min(batchSize, n - sent)
      const batch = Array.from({ length: size }, (_, i) => ({ ...message, token: tokens[(sent + i) % tokens.length]! }))
      const { failureCount, responses } = await messaging.sendEach(batch)
      if (failureCount > 0) wrong(responses.find(({ success }) => !success)?.error)
    }
  }
  return {
    send,
    close: () => {
      http2.connect = connect
    }
  }
}

// -----------------------------------------------------------------------------
// Browsers: the bare steps
// -----------------------------------------------------------------------------

/** A browser, as the steps see it. */
export interface Browser {
  readonly point: Buffer
  readonly auth: Buffer
}

/** What the sender and a browser share. */
interface Secret {
  readonly point: Buffer
  readonly ikm: Buffer
}

const hmac = (key: Buffer, data: Buffer) =>
  Crypto.createHmac("sha256", Crypto.createSecretKey(key)).update(data).digest()

const ecdh = Crypto.createECDH("prime256v1")
const keyLabel = Buffer.from("WebPush: info\0")
const contentLabel = Buffer.from("Content-Encoding: aes128gcm\0\x01")
const nonceLabel = Buffer.from("Content-Encoding: nonce\0\x01")
const one = Buffer.from([1])
const two = Buffer.from([2])

/** Agrees on a secret with a browser, by a new key pair. */
const agree = ({ auth, point }: Browser): Secret => {
  const own = ecdh.generateKeys()
  const prk = hmac(auth, ecdh.computeSecret(point))
  return { point: own, ikm: hmac(prk, Buffer.concat([keyLabel, point, own, one])) }
}

let salts = Buffer.alloc(0)

const nextSalt = (): Buffer => {
  if (salts.length === 0) salts = Crypto.randomBytes(4096)
  const salt = salts.subarray(0, 16)
  salts = salts.subarray(16)
  return salt
}

const encrypt = ({ ikm, point }: Secret, text: string): Buffer => {
  const salt = nextSalt()
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

/** Encrypts a text for each browser in turn, with a new key pair for each message, and sends nothing. */
export const bareSteps = (browsers: ReadonlyArray<Browser>, text: string): Candidate => async (n) => {
  for (let i = 0; i < n; i++) encrypt(agree(browsers[i % browsers.length]!), text)
}

/** The same with one key pair for each browser. */
export const bareCachedSteps = (browsers: ReadonlyArray<Browser>, text: string): Candidate => {
  const secrets = browsers.map(agree)
  return async (n) => {
    for (let i = 0; i < n; i++) encrypt(secrets[i % secrets.length]!, text)
  }
}

// -----------------------------------------------------------------------------
// Browsers: web-push
// -----------------------------------------------------------------------------

/** The part of the library that is measured. It has no types of its own. */
interface Library {
  readonly sendNotification: (subscription: object, payload: string, options: object) => Promise<unknown>
}

/** An nginx that takes everything over HTTP/1.1 and answers 201, as a push service does. */
export const startHttp1 = async () => {
  const folder = mkdtempSync(join(tmpdir(), "backq-bench-"))
  const at = (name: string) => join(folder, name)
  Nghttpd.certify(folder)
  const { pid, port, stop } = await Server.start("nginx", (port) => {
    writeFileSync(
      at("nginx.conf"),
      `daemon off; master_process off; pid nginx.pid; error_log error.log; events { worker_connections 256; }
      http {
        access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
        client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
        server {
          listen 127.0.0.1:${port} ssl; ssl_certificate cert; ssl_certificate_key key;
          location / { return 201; }
        }
      }`
    )
    return ["-p", folder, "-c", at("nginx.conf"), "-e", at("error.log")]
  })
  return {
    port,
    pid,
    ca: readFileSync(at("cert"), "utf8"),
    stop: () => {
      stop()
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

/** Sends a text to each subscription in turn by web-push, over HTTP/1.1 connections that stay open. */
export const webPush = (options: {
  readonly ca: string
  readonly subscriptions: ReadonlyArray<object>
  readonly text: string
  readonly vapidDetails: { readonly subject: string; readonly publicKey: string; readonly privateKey: string }
}) => {
  const { ca, subscriptions, text, vapidDetails } = options
  const library: Library = require("web-push")
  const connections = 50
  const agent = new Https.Agent({ ca, keepAlive: true, maxSockets: connections })
  const send: Candidate = async (n) => {
    let sent = 0
    const sendSome = async () => {
      while (sent < n) {
        await library.sendNotification(subscriptions[sent++ % subscriptions.length]!, text, {
          TTL: 60,
          contentEncoding: "aes128gcm",
          vapidDetails,
          agent
        })
      }
    }
    await Promise.all(Array.from({ length: connections }, sendSome))
  }
  return { send, close: () => agent.destroy() }
}
