/**
 * The page of scripts/examples/webpush in headless Chromium.
 *
 * A browser without a push service can't subscribe at one. So the page makes the keys of a
 * subscription with its own Web Crypto, the simulator gives the endpoint, the program pushes
 * to it, and the page decrypts what the simulator received. DevTools then hands the text
 * to the service worker, as the browser would, and the page sees the notification.
 */
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { spawn } from "node:child_process"
import { server } from "../../../scripts/examples/webpush/server.ts"
import { locate } from "../../../scripts/test/servers.ts"
import { VapidKey, WebPush } from "../../../src/push/webpush/index.ts"
import { WebPushSimulator } from "../../../src/testing/webpush/index.ts"
import { eventually } from "../../support/eventually.ts"
import { folder } from "../../support/folder.ts"
import { allow, withPrograms } from "../../support/limits.ts"
import { freePort } from "../../support/network.ts"

allow(withPrograms)

const chromium = locate("chromium")

/** A connection to Chromium's DevTools. */
class DevTools {
  private readonly socket: WebSocket
  private readonly answers = new Map<number, (answer: { result?: unknown; error?: unknown }) => void>()
  private readonly events: Array<{ readonly method: string; readonly params: Record<string, unknown> }> = []
  private count = 0

  constructor(socket: WebSocket) {
    this.socket = socket
    socket.addEventListener("message", ({ data }) => {
      const message = JSON.parse(String(data))
      if (message.id === undefined) this.events.push(message)
      else this.answers.get(message.id)?.(message)
    })
  }

  call(method: string, params: object = {}, sessionId?: string) {
    return Effect.callback<any>((resume) => {
      const id = ++this.count
      this.answers.set(
        id,
        ({ error, result }) =>
          resume(
            error === undefined ? Effect.succeed(result) : Effect.die(new Error(`${method}: ${JSON.stringify(error)}`))
          )
      )
      this.socket.send(JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) }))
    })
  }

  /** The last event of a name that has what is wanted. */
  find<A>(method: string, wanted: (params: any) => A | undefined): A | undefined {
    for (const event of this.events.toReversed()) {
      const found = event.method === method ? wanted(event.params) : undefined
      if (found !== undefined) return found
    }
    return undefined
  }
}

/** Starts Chromium with a profile of its own. */
const browser = Effect.gen(function*() {
  const profile = yield* folder
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(chromium!, [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--remote-debugging-port=0",
        `--user-data-dir=${profile}`,
        "about:blank"
      ], { stdio: ["ignore", "ignore", "pipe"] })
    ),
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null) return resume(Effect.void)
        child.once("close", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
  )
  let output = ""
  child.stderr.setEncoding("utf8").on("data", (text) => output += text)
  const url = () => /DevTools listening on (\S+)/.exec(output)?.[1]
  yield* eventually("Chromium listens", () => url() !== undefined)
  const socket = new WebSocket(url()!)
  yield* Effect.callback<void>((resume) => socket.addEventListener("open", () => resume(Effect.void)))
  return new DevTools(socket)
})

/** Makes the keys of a subscription in the page, and keeps the private one there. */
const makeKeys = `(async () => {
  const base64 = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\\+/g, "-").replace(/\\//g, "_").replace(/=/g, "")
  const pair = await crypto.subtle.generateKey({ name: "ECDH", namedCurve: "P-256" }, false, ["deriveBits"])
  const auth = crypto.getRandomValues(new Uint8Array(16))
  const point = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey))
  globalThis.own = { pair, auth, point }
  return { p256dh: base64(point), auth: base64(auth) }
})()`

/** Decrypts a message in the page: RFC 8291 with Web Crypto. */
const decrypt = (body: string) =>
  `(async () => {
  const { auth, pair, point } = globalThis.own
  const bytes = Uint8Array.from(atob(${JSON.stringify(body)}), (char) => char.charCodeAt(0))
  const utf8 = new TextEncoder()
  const [salt, sender, record] = [bytes.slice(0, 16), bytes.slice(21, 86), bytes.slice(86)]
  const hkdf = async (ikm, salt, info, length) => {
    const key = await crypto.subtle.importKey("raw", ikm, "HKDF", false, ["deriveBits"])
    return new Uint8Array(await crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt, info }, key, length * 8))
  }
  const theirs = await crypto.subtle.importKey("raw", sender, { name: "ECDH", namedCurve: "P-256" }, false, [])
  const secret = await crypto.subtle.deriveBits({ name: "ECDH", public: theirs }, pair.privateKey, 256)
  const ikm = await hkdf(secret, auth, new Uint8Array([...utf8.encode("WebPush: info\\0"), ...point, ...sender]), 32)
  const cek = await hkdf(ikm, salt, utf8.encode("Content-Encoding: aes128gcm\\0"), 16)
  const iv = await hkdf(ikm, salt, utf8.encode("Content-Encoding: nonce\\0"), 12)
  const key = await crypto.subtle.importKey("raw", cek, "AES-GCM", false, ["decrypt"])
  const plain = new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv }, key, record))
  return new TextDecoder().decode(plain.slice(0, plain.lastIndexOf(2)))
})()`

describe.skipIf(chromium === undefined)("a page in Chromium", () => {
  it.live("decrypts the message with its own key, and its service worker shows it", () =>
    Effect.gen(function*() {
      const simulator = yield* WebPushSimulator.make({ personality: "mozilla" })
      const keys = yield* VapidKey.generate
      const webPush = WebPush.layer({
        keys: { privateKey: keys.privateKey },
        subject: "mailto:ops@example.com",
        allow: [simulator.allow],
        ca: simulator.ca
      }).pipe(Layer.provide(WebPushSimulator.layerLoopback))
      const port = yield* freePort
      yield* Layer.build(server.pipe(
        Layer.provide(webPush),
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { PORT: String(port) } })))
      ))
      const origin = `http://localhost:${port}`

      const devTools = yield* browser
      yield* devTools.call("Browser.grantPermissions", { origin, permissions: ["notifications"] })
      const { targetId } = yield* devTools.call("Target.createTarget", { url: `${origin}/` })
      const { sessionId } = yield* devTools.call("Target.attachToTarget", { targetId, flatten: true })
      const inPage = (expression: string) =>
        Effect.map(
          devTools.call("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true }, sessionId),
          ({ exceptionDetails, result }) => {
            assert.isUndefined(exceptionDetails, JSON.stringify(exceptionDetails))
            return result.value
          }
        )
      // The target shows an empty page first, whose answer may never come.
      const title = Effect.catchCause(
        inPage(`document.readyState === "complete" ? document.title : ""`),
        () => Effect.succeed("")
      )
      yield* eventually("the page has loaded", Effect.map(title, (text) => text === "Web Push"))

      // The page has the server's key, and makes its own.
      const { publicKey } = yield* inPage(`fetch("/key").then((answer) => answer.json())`)
      assert.strictEqual(publicKey, keys.publicKey)
      const own = yield* inPage(makeKeys)
      const subscription = yield* simulator.subscribe({ applicationServerKey: publicKey, keys: own })
      const posted = yield* inPage(`fetch("/subscriptions", {
        method: "POST", headers: { "content-type": "application/json" }, body: ${
        JSON.stringify(JSON.stringify(subscription))
      }
      }).then((answer) => answer.json())`)
      assert.deepStrictEqual(posted, { status: 201 })

      // The simulator has no key of this browser; the page has.
      const [push] = yield* simulator.pushes
      assert.isUndefined(push!.text)
      const text = yield* inPage(decrypt(push!.body.toString("base64")))
      assert.deepStrictEqual(JSON.parse(text), { title: "Hello", body: "from backq" })

      yield* devTools.call("ServiceWorker.enable", {}, sessionId)
      yield* inPage(
        `navigator.serviceWorker.register("/worker.js").then(() => navigator.serviceWorker.ready).then(() => true)`
      )
      const registration = () =>
        devTools.find("ServiceWorker.workerRegistrationUpdated", ({ registrations }) =>
          registrations.find(({ scopeURL }: { scopeURL: string }) =>
            scopeURL === `${origin}/`
          )?.registrationId as string)
      yield* eventually("the service worker is registered", () =>
        registration() !== undefined)
      // A worker that is not active yet gets no message.
      const active = () =>
        devTools.find("ServiceWorker.workerVersionUpdated", ({ versions }) =>
          versions.find(({ status }: { status: string }) =>
            status === "activated"
          )?.targetId as string)
      yield* eventually("the service worker is active", () => active() !== undefined)
      const worker = yield* devTools.call("Target.attachToTarget", { targetId: active(), flatten: true })
      const inWorker = (expression: string) =>
        devTools.call("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true }, worker.sessionId)
      // Chromium forgets a notification that is asked for before it is shown, so the test waits for the worker.
      yield* inWorker(`globalThis.shown = new Promise((resolve) => {
        const show = registration.showNotification.bind(registration)
        registration.showNotification = (...all) => show(...all).then(() => resolve(true))
      }); 0`)
      yield* devTools.call("ServiceWorker.deliverPushMessage", {
        origin,
        registrationId: registration(),
        data: text
      }, sessionId)
      const seen = `navigator.serviceWorker.ready
        .then((registration) => registration.getNotifications())
        .then((all) => all.map(({ body, title }) => ({ body, title })))`
      assert.isTrue((yield* inWorker("globalThis.shown")).result.value)
      assert.deepStrictEqual(yield* inPage(seen), [{ title: "Hello", body: "from backq" }])
    }).pipe(Effect.scoped))
})
