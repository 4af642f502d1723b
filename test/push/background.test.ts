/** What the push services do in the background uses the loggers, the tracer and the log level of the program. */
import { describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Apns from "../../src/push/apns/Apns.ts"
import * as Credential from "../../src/push/apns/credential/Credential.ts"
import * as Notification from "../../src/push/apns/notification/Notification.ts"
import * as Fcm from "../../src/push/fcm/Fcm.ts"
import { VapidKey, WebPush } from "../../src/push/webpush/index.ts"
import * as Key from "../../src/testing/apns/Key.ts"
import * as Account from "../../src/testing/fcm/Account.ts"
import * as FcmSimulator from "../../src/testing/fcm/FcmSimulator.ts"
import { Browser, WebPushSimulator } from "../../src/testing/webpush/index.ts"
import { eventually } from "../support/eventually.ts"
import { folder } from "../support/folder.ts"
import { allow, withServers } from "../support/limits.ts"
import { freePort } from "../support/network.ts"

allow(withServers)

/** What a program provides, and the messages that it saw with all of it. */
const program = () => {
  const tracer = Tracer.make({ span: (options) => new Tracer.NativeSpan(options) })
  const seen: Array<string> = []
  const logger = Logger.make(({ fiber, message }) => {
    const isWhole = fiber.getRef(Tracer.Tracer) === tracer && fiber.getRef(References.MinimumLogLevel) === "Trace"
    seen.push(`${isWhole ? "" : "without the tracer or the level: "}${String(message)}`)
  })
  const layer = Layer.mergeAll(
    Logger.layer([logger]),
    Layer.succeed(Tracer.Tracer, tracer),
    Layer.succeed(References.MinimumLogLevel, "Trace")
  )
  return { seen, layer }
}

const atNoServer = Effect.map(freePort, (port) => ({ host: "127.0.0.1", port }))

const connectionOfApns = Effect.gen(function*() {
  const { key, keyId, teamId } = yield* Key.makeKey()
  const credential = { key, keyId, teamId, topic: "com.example.app" }
  return {
    layer: Apns.layer({ credential, environment: "sandbox", ...yield* atNoServer }),
    use: Apns.send(Notification.alert({ body: "Hello" }), "0".repeat(64)),
    warning: "can't connect to APNs"
  }
})

const keyOfApns = Effect.gen(function*() {
  const { key, keyId, teamId } = yield* Key.makeKey()
  const file = join(yield* folder, "key.p8")
  writeFileSync(file, Redacted.value(key))
  const watched = Context.Service<"watched", unknown>("watched")
  return {
    layer: Layer.effect(watched, Credential.watch({ key: { file }, keyId, teamId }, { every: "10 millis" })),
    use: Effect.andThen(watched, Effect.sync(() => writeFileSync(file, "no key"))),
    warning: "the APNs credential has changed, but the old one stays in use"
  }
})

const connectionOfFcm = Effect.gen(function*() {
  const accessToken = Effect.succeed({ token: Redacted.make("any"), expiresAt: Number.MAX_SAFE_INTEGER })
  return {
    layer: Fcm.layer({ credential: { project: "test-project", accessToken }, ...yield* atNoServer }),
    use: Fcm.send({ data: { a: "1" } }, "device:APA91b"),
    warning: "can't connect to FCM"
  }
})

const clockOfFcm = Effect.gen(function*() {
  const { ca, host, port, serviceAccount } = yield* FcmSimulator.make({
    accounts: [yield* Account.makeAccount()],
    script: { tokens: { clockAhead: Duration.hours(3) } }
  })
  return {
    layer: Fcm.layer({ credential: { serviceAccount: serviceAccount() }, ca, host, port }),
    use: Fcm.send({ data: { a: "1" } }, "device:APA91b"),
    warning: "this machine's clock is"
  }
})

const connectionOfWebPush = Effect.gen(function*() {
  const { host, port } = yield* atNoServer
  const { privateKey } = yield* VapidKey.generate
  const { auth, p256dh } = yield* Browser.make
  const layer = WebPush.layer({
    keys: { privateKey: Redacted.make(Redacted.value(privateKey)) },
    subject: "mailto:ops@example.com",
    allow: [`${host}:${port}`]
  })
  return {
    layer: Layer.provide(layer, WebPushSimulator.layerLoopback),
    use: WebPush.send({ body: "Hello", ttl: 60 }, { endpoint: `https://${host}:${port}/a`, keys: { auth, p256dh } }),
    warning: "can't connect to"
  }
})

/** A layer, a use of it, and how the warning begins that follows. */
interface Case<I> {
  readonly layer: Layer.Layer<I, unknown>
  readonly use: Effect.Effect<unknown, unknown, I>
  readonly warning: string
}

/** Runs the use until the warning is seen. */
const runUntilSeen = <I>({ layer, use, warning }: Case<I>, seen: ReadonlyArray<string>) =>
  Effect.raceFirst(
    Effect.andThen(use, Effect.never),
    eventually(`the warning "${warning}"`, () => seen.some((line) => line.startsWith(warning)))
  ).pipe(Effect.provide(layer))

const assertSeen = Effect.fnUntraced(function*<I, E, R>(make: Effect.Effect<Case<I>, E, R>) {
  const around = program()
  yield* Effect.provide(runUntilSeen(yield* make, around.seen), around.layer)
  const below = program()
  const { layer, ...one } = yield* make
  yield* runUntilSeen({ ...one, layer: Layer.provide(layer, below.layer) }, below.seen)
})

describe("a warning from the background reaches what the program provides around it, or to the layer", () => {
  it.live("from the pool of APNs", () => assertSeen(connectionOfApns))
  it.live("from the watch of an APNs key", () => assertSeen(keyOfApns))
  it.live("from the pool of FCM", () => assertSeen(connectionOfFcm))
  it.live("from the clock of an FCM account", () => assertSeen(clockOfFcm))
  it.live("from the pools of Web Push", () => assertSeen(connectionOfWebPush))
})
