/** The programs of scripts/examples run, each on a file of its own, and do what their first lines say. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { spawn } from "node:child_process"
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as BrokerUrl from "../src/brokers/url.ts"
import { Job, Operator, Publisher, Worker } from "../src/index.ts"
import { ApnsJob, Notification } from "../src/push/apns/index.ts"
import { FcmJob } from "../src/push/fcm/index.ts"
import { VapidKey, WebPushJob } from "../src/push/webpush/index.ts"
import { ApnsSimulator, Key } from "../src/testing/apns/index.ts"
import { FcmSimulator } from "../src/testing/fcm/index.ts"
import { WebPushSimulator } from "../src/testing/webpush/index.ts"
import { eventually } from "./support/eventually.ts"
import { folder } from "./support/folder.ts"
import { allow, withPrograms } from "./support/limits.ts"
import { freePort } from "./support/network.ts"
import { cluster, real } from "./support/postgres.ts"

allow(withPrograms)

const examples = join(import.meta.dirname, "..", "scripts", "examples")

// each case starts programs, which takes seconds on a busy machine
/** A folder in which examples run: its queue is the file that they take where nobody names a broker. */
const place = Effect.map(folder, (cwd) => {
  const start = (name: string, args: ReadonlyArray<string> = [], env: Record<string, string> = {}) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const { BACKQ_BROKER: _, ...rest } = process.env
        const child = spawn(process.execPath, [join(examples, name), ...args], {
          cwd,
          stdio: ["ignore", "pipe", "pipe"],
          env: { ...rest, ...env }
        })
        let output = ""
        for (const stream of [child.stdout, child.stderr]) {
          stream.setEncoding("utf8").on("data", (text) => output += text)
        }
        const closed = new Promise<number | null>((resolve) => child.once("close", resolve))
        return {
          output: () => output,
          /** Waits for a text in the output. */
          says: (text: string) => eventually(`${name} says ${text}`, () => output.includes(text)),
          /** Sends SIGTERM and waits for the end. */
          stop: Effect.andThen(Effect.sync(() => child.kill("SIGTERM")), Effect.promise(() => closed)),
          /** Waits for the end, kills what does not end. */
          ended: Effect.map(Effect.promise(() => closed), (code) => ({ code, output })),
          kill: Effect.andThen(Effect.sync(() => child.kill("SIGKILL")), Effect.promise(() => closed))
        }
      }),
      ({ kill }) => kill
    )
  const run = (...args: Parameters<typeof start>) =>
    Effect.scoped(Effect.gen(function*() {
      const { code, output } = yield* (yield* start(...args)).ended
      assert.strictEqual(code, 0, output)
      return output
    }))
  return { start, run, broker: BrokerUrl.layer(`sqlite:${join(cwd, "backq.db")}`) }
})

describe.concurrent("examples", () => {
  it.live("retries.ts: prints the outcome of each job, and the reason", () =>
    Effect.gen(function*() {
      const { run } = yield* place
      const output = yield* run("retries.ts")
      const of = (id: string) => output.split("\n").filter((line) => line.startsWith(`${id}: `))
      const retried = "retried in 100ms: BankError: the bank"
      assert.deepStrictEqual(of("plain"), ["plain: done"])
      assert.deepStrictEqual(of("flaky").map((line) => line.slice(7)), [
        `${retried} does not answer`,
        `${retried} does not answer`,
        "done"
      ])
      assert.deepStrictEqual(of("busy"), ["busy: retried in 200ms: the bank asks us to wait", "busy: done"])
      assert.deepStrictEqual(of("unknown"), ["unknown: buried: there is no such order"])
      assert.deepStrictEqual(of("cancelled"), ["cancelled: discarded: the order was cancelled"])
      assert.strictEqual(of("broken").length, 4)
      assert.include(of("broken").at(-1), "buried: attempt 4 was the last")
      assert.deepStrictEqual(of("later"), ["later: done"])
    }))

  it.live("operator.ts: shows the reasons of buried jobs, and kicks those of one reason", () =>
    Effect.gen(function*() {
      const { broker, run } = yield* place
      const Charge = Job.make("charge", { payload: Schema.String })
      yield* Effect.gen(function*() {
        yield* Publisher.publishAll(Charge, ["no such order", "no such order", "no such customer"])
        yield* Worker.run({ maxJobs: 3 }, Worker.handler(Charge, (reason) => Job.bury(reason)))
      }).pipe(Effect.provide(Publisher.layer.pipe(Layer.provideMerge(broker), Layer.merge(Logger.layer([])))))
      assert.strictEqual(
        yield* run("operator.ts", ["charge"]),
        "2 buried: no such order\n1 buried: no such customer\n"
      )
      assert.include(yield* run("operator.ts", ["charge", "no such order"]), "2 kicked: no such order\n")
      assert.strictEqual(yield* run("operator.ts", ["charge"]), "1 buried: no such customer\n")
    }))

  it.live("schema-evolution.ts: jobs of both versions run, and a job that can't be upgraded is buried", () =>
    Effect.gen(function*() {
      const output = yield* (yield* place).run("schema-evolution.ts")
      assert.include(output, "old.png: 200 by 100, quality 80")
      assert.include(output, "new.png: 300 by 150, quality 90")
      assert.match(output, /buried: the payload is not what job "resize" expects/)
      assert.include(output, "worker stopped: 2 done, 1 buried")
    }))

  it.live("fallback.ts: no worker, and no broker", () =>
    Effect.gen(function*() {
      const { run } = yield* place
      assert.include(yield* run("fallback.ts"), "a.png is resized here")
      const BACKQ_BROKER = `beanstalk://127.0.0.1:${yield* freePort}`
      const output = yield* run("fallback.ts", [], { BACKQ_BROKER })
      assert.include(output, "fate: NotSent")
      assert.include(output, "a.png is saved")
    }))

  it.live("without-effect.ts: publishes and works by promises, and ends", () =>
    Effect.gen(function*() {
      const output = yield* (yield* place).run("without-effect.ts")
      assert.match(output, /published job 1\n[^]*welcome, user 42\n[^]*done: 1\n$/)
    }))

  it.live("web-service.ts: a request becomes a job, and the job runs", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const service = yield* (yield* place).start("web-service.ts", [], { PORT: String(port) })
      yield* service.says("Listening on")
      const ask = (path: string, body?: string) =>
        Effect.promise(async () => {
          const response = await fetch(
            `http://127.0.0.1:${port}${path}`,
            body === undefined ? {} : { method: "POST", body }
          )
          return [response.status, await response.text()]
        })
      assert.deepStrictEqual(yield* ask("/health"), [200, "ok"])
      assert.deepStrictEqual(yield* ask("/sign-ups", `{"userId":"42"}`), [202, `{"job":"1"}`])
      assert.strictEqual((yield* ask("/sign-ups", `{"userId":42}`))[0], 400)
      yield* service.says("welcome, user 42")
      assert.strictEqual(yield* service.stop, 130, service.output())
      assert.include(service.output(), "worker stopped: 1 done")
    }))

  it.live("graceful-shutdown.ts: a short job finishes, a long one is requeued, a third does not begin", () =>
    Effect.gen(function*() {
      const { start } = yield* place
      const worker = yield* start("graceful-shutdown.ts")
      yield* worker.says("a report of 2 s begins")
      yield* worker.says("a report of 3600 s begins")
      assert.strictEqual(yield* worker.stop, 130, worker.output())
      assert.include(worker.output(), "a report of 2 s is written")
      assert.include(worker.output(), "a report of 3600 s is interrupted")
      assert.notInclude(worker.output(), "a report of 1 s begins")
      assert.match(worker.output(), /worker stopped: 1 done, 1 \w+/)
    }))

  it.live("process-publisher.ts and process-worker.ts: two programs on one queue", () =>
    Effect.gen(function*() {
      const { broker, run, start } = yield* place
      const worker = yield* start("process-worker.ts")
      yield* worker.says("worker started")
      assert.match(yield* run("process-publisher.ts"), /published 1\npublished 2, to run in 4 seconds/)
      const left = Operator.stats.pipe(
        Effect.map(({ delayed, ready, reserved }) => delayed + ready + reserved),
        Effect.provide(broker)
      )
      yield* eventually("both have run", Effect.map(left, (count) => count === 0))
      assert.strictEqual(yield* worker.stop, 130)
      assert.include(worker.output(), "worker stopped: 2 done")
    }))

  it.live("process-policy.ts: listed programs run, all others are buried with the rule", () =>
    Effect.gen(function*() {
      const output = yield* (yield* place).run("process-policy.ts")
      assert.match(output, /^Done: \d{4}$/m)
      for (const rule of ["programs", "shellLines", "environment"]) {
        assert.match(output, new RegExp(`^buried: refused \\(${rule}\\)`, "m"))
      }
    }))

  real("transactions.ts: an order and its job, or neither; charged once", () =>
    Effect.gen(function*() {
      const { url } = yield* cluster()
      const output = yield* (yield* place).run("transactions.ts", [], { DATABASE_URL: url })
      assert.include(output, "order 1 is placed\norder 2 is rolled back, and its job with it\n")
      assert.include(output, "order 1 is charged by attempt 2")
      assert.include(output, "order 1 was charged 1 time(s)")
      assert.include(output, "worker stopped: 1 done, 1 retried")
    }))

  it.live("apns-publisher.ts and apns-worker.ts: a push arrives, a dead token is reported", () =>
    Effect.gen(function*() {
      const { run, start } = yield* place
      const [alive, gone] = ["a1".repeat(32), "b2".repeat(32)]
      const key = yield* Key.makeKey()
      const apple = yield* ApnsSimulator.make({
        keys: [key],
        script: { dead: { [gone]: { since: 1_700_000_000_000 } } }
      })
      const worker = yield* start("apns-worker.ts", [], {
        BACKQ_APNS_KEY: Redacted.value(key.key),
        BACKQ_APNS_KEY_ID: key.keyId,
        BACKQ_APNS_TEAM_ID: key.teamId,
        BACKQ_APNS_TOPIC: "com.example.app",
        BACKQ_APNS_ENVIRONMENT: apple.environment,
        BACKQ_APNS_HOST: apple.host,
        BACKQ_APNS_PORT: String(apple.port),
        BACKQ_APNS_CA: apple.ca
      })
      yield* worker.says("worker started")
      assert.match(yield* run("apns-publisher.ts", [alive, gone]), /published 1/)
      yield* worker.says(`token ${gone.slice(0, 8)}...: Unregistered`)
      const pushes = yield* apple.pushes
      assert.deepStrictEqual(pushes.map(({ target }) => target).toSorted(), [alive, gone])
      assert.strictEqual(yield* worker.stop, 130)
    }))
})

describe("push-worker.ts", () => {
  it.live("one worker pushes to Apple, Google and browsers, and hears of what is dead", () =>
    Effect.gen(function*() {
      const { broker, start } = yield* place
      const ca = join(yield* folder, "ca.pem")
      const [alive, gone] = ["a1".repeat(32), "b2".repeat(32)]
      const key = yield* Key.makeKey({ bundleIds: ["com.example.app"] })
      const apple = yield* ApnsSimulator.make({
        keys: [key],
        script: { dead: { [gone]: { since: 1_700_000_000_000 } } }
      })
      const google = yield* FcmSimulator.make({ script: { dead: [gone] } })
      const { privateKey } = yield* VapidKey.generate
      const browsers = yield* WebPushSimulator.make({ name: "localhost" })
      const subscriptions = [yield* browsers.subscribe(), yield* browsers.subscribe()]
      yield* browsers.unsubscribe(subscriptions[1]!)
      writeFileSync(ca, browsers.ca)
      const worker = yield* start("push-worker.ts", [], {
        BACKQ_APNS_KEY: Redacted.value(key.key),
        BACKQ_APNS_KEY_ID: key.keyId,
        BACKQ_APNS_TEAM_ID: key.teamId,
        BACKQ_APNS_TOPIC: "com.example.app",
        BACKQ_APNS_ENVIRONMENT: apple.environment,
        BACKQ_APNS_HOST: apple.host,
        BACKQ_APNS_PORT: String(apple.port),
        BACKQ_APNS_CA: apple.ca,
        BACKQ_FCM_SERVICE_ACCOUNT: Redacted.value(google.serviceAccount()),
        BACKQ_FCM_HOST: google.host,
        BACKQ_FCM_PORT: String(google.port),
        BACKQ_FCM_CA: google.ca,
        BACKQ_WEBPUSH_PRIVATE_KEY: Redacted.value(privateKey),
        BACKQ_WEBPUSH_SUBJECT: "mailto:ops@example.com",
        BACKQ_WEBPUSH_ALLOW: browsers.allow,
        BACKQ_WEBPUSH_CA: ca,
        SIMULATED: "true"
      })
      yield* worker.says("worker started")
      const notification = Notification.alert({ title: "Hello" })
      yield* Effect.gen(function*() {
        yield* ApnsJob.publish(notification, [alive, gone])
        yield* FcmJob.publish({ notification: { title: "Hello" } }, [alive, gone])
        yield* WebPushJob.publish({ body: "Hello", ttl: 60 }, subscriptions)
      }).pipe(Effect.provide(Layer.provide(Publisher.layer, broker)))
      for (const what of ["dead token of Apple", "dead token of Google", "dead subscription"]) yield* worker.says(what)
      const statuses = (pushes: ReadonlyArray<{ readonly status: number | undefined }>) =>
        pushes.map(({ status }) => status).toSorted()
      assert.deepStrictEqual(
        [yield* apple.pushes, yield* google.pushes, yield* browsers.pushes].map(statuses),
        [[200, 410], [200, 404], [201, 410]]
      )
      for (const { endpoint } of subscriptions) assert.notInclude(worker.output(), endpoint)
      assert.strictEqual(yield* worker.stop, 130)
    }))
})

describe("scripts/examples", () => {
  const programs = readdirSync(examples).filter((name) => name.endsWith(".ts"))
  const tests = readFileSync(import.meta.filename, "utf8") +
    readFileSync(join(import.meta.dirname, "readme.test.ts"), "utf8")

  it.each(programs.filter((name) => !name.endsWith(".test.ts")))("a test runs %s", (name) => {
    assert.include(tests, name)
  })

  // a program of several files has a folder, and a test of its own
  it("its index names exactly the programs", () => {
    const index = readFileSync(join(examples, "README.md"), "utf8")
    assert.deepStrictEqual(
      Array.from(index.matchAll(/\]\(([^\s/]+\.ts)\)/g), ([, name]) => name).toSorted(),
      programs.toSorted()
    )
  })
})
