/**
 * What backq does, in a few seconds and without a server: a publisher and a
 * worker in one program, over the queue in a file. Pushes go to simulators of Apple's
 * and Google's servers and of a browser's push service, which run within the program too.
 *
 *     npm start
 *
 * The file is `./backq.db`; `BACKQ_BROKER=beanstalk://127.0.0.1:11300 npm start`
 * runs the same over beanstalkd.
 */
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Broker } from "../src/Broker.ts"
import * as BrokerUrl from "../src/brokers/url.ts"
import { Job, type Outcome, Publisher, Worker } from "../src/index.ts"
import { Inspector } from "../src/Inspector.ts"
import { Main } from "../src/main/index.ts"
import { OutputTail, Process, ProcessJob, ProcessPayload } from "../src/process/index.ts"
import { Apns, ApnsJob, ApnsPayload, DeadTokenJob, Notification } from "../src/push/apns/index.ts"
import { Fcm, FcmJob, FcmPayload, Target } from "../src/push/fcm/index.ts"
import { type Subscription, VapidKey, WebPush, WebPushJob, WebPushPayload } from "../src/push/webpush/index.ts"
import { ApnsSimulator, Key } from "../src/testing/apns/index.ts"
import { FcmSimulator } from "../src/testing/fcm/index.ts"
import { WebPushSimulator } from "../src/testing/webpush/index.ts"
import * as Board from "./start/board.ts"

const Demo = Job.make("process", {
  queue: "demo",
  payload: ProcessPayload.ProcessPayload,
  retry: Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 3 }))
})

const DemoPush = Job.make("apns", { queue: "demo", payload: ApnsPayload.ApnsPayload })

const DemoFcm = Job.make("fcm", { queue: "demo", payload: FcmPayload.FcmPayload })

const DemoWebPush = Job.make("webpush", { queue: "demo", payload: WebPushPayload.WebPushPayload })

/** A device whose app was removed. */
const gone = "dead".repeat(16)

const push = (body: string, ...tokens: [string, ...Array<string>]) => ({
  notification: Notification.alert({ title: "backq", body }),
  tokens
})

/** Runs a shell line that counts its attempts in `$attempt`. */
const attempts = (folder: string, line: string): ProcessPayload.ProcessPayload => ({
  command: ["sh", "-c", `echo . >> "$0"; attempt=$(wc -l < "$0"); ${line}`, join(folder, "attempts")]
})

type Planned =
  & { readonly title: string; readonly delay?: Duration.Input }
  & (
    | { readonly command: ProcessPayload.ProcessPayload }
    | { readonly push: ApnsPayload.ApnsPayload }
    | { readonly fcm: FcmPayload.FcmPayload }
    | { readonly webPush: WebPushPayload.WebPushPayload }
  )

/** The job that a push to a dead token leads to. */
const deadToken = "report of the dead token"

const plan = (folder: string, browser: Subscription.Subscription): ReadonlyArray<Planned> => [
  { title: "process that succeeds", command: { command: ["uname", "-sr"] } },
  { title: "process that takes 2 seconds", command: { command: ["sh", "-c", "sleep 2; echo 2 seconds later"] } },
  {
    title: "process that fails twice",
    command: attempts(folder, `[ $attempt -ge 3 ] && echo "attempt $attempt: connected" || exit 7`)
  },
  { title: "process that always fails", command: { command: ["ls", "/no/such/folder"] } },
  { title: "program that is missing", command: { command: ["no-such-program"] } },
  { title: "process delayed by 3 seconds", command: { command: ["date", "+%T"] }, delay: "3 seconds" },
  { title: "push to two devices", push: push("Hello", "a1".repeat(32), "b2".repeat(32)) },
  {
    title: "push to an Android device",
    fcm: { targets: [Target.token("dQw4:APA91b")], message: { notification: { title: "backq", body: "Hello" } } }
  },
  {
    title: "push to a browser",
    webPush: { subscriptions: [browser], message: { body: { json: { title: "Hello" } }, ttl: 3600 } }
  },
  { title: "push to a dead token", push: push("Hello?", gone) }
]

const lastLine = (output: OutputTail.Output): string => OutputTail.toText(output).trim().split("\n").at(-1) ?? ""

/** A handler's result in a few words. */
const noteOf = (result: unknown): string => {
  if (typeof result === "string") return result
  if (typeof result !== "object" || result === null) return ""
  if ("stdout" in result) return lastLine((result as Process.Exited).stdout)
  const { accepted, dead } = result as ApnsJob.Summary
  if (dead > 0) return "its token is dead: a job reports it to the application"
  return `accepted for ${accepted} ${accepted === 1 ? "device" : "devices"}`
}

/** The text of an outcome on the board. */
const rowOf = (outcome: Outcome.Outcome): Partial<Board.Row> => {
  switch (outcome._tag) {
    case "Done":
      return { state: "done", note: noteOf(outcome.result) }
    case "Retried":
      return { state: "retry", note: `again in ${Duration.format(outcome.delay)}: ${outcome.reason}` }
    case "Buried":
      return { state: "buried", note: outcome.reason }
    default:
      return { state: "waiting", note: outcome._tag }
  }
}

/** Deletes the files of an earlier run. */
const clear = Effect.gen(function*() {
  const inspector = yield* Inspector
  for (const state of ["ready", "delayed", "buried"] as const) {
    for (let next = yield* inspector.peekNext(Demo.queue, state); Option.isSome(next);) {
      yield* inspector.delete(next.value.id)
      next = yield* inspector.peekNext(Demo.queue, state)
    }
  }
})

const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "backq-demo-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
)

const terminal = {
  isTTY: process.stdout.isTTY,
  columns: process.stdout.columns || 80,
  write: (text: string) => process.stdout.write(text)
}

const run = Effect.gen(function*() {
  const planned = plan(yield* temporaryFolder, yield* Browser)
  const board = yield* Board.make(terminal)
  const allEnded = yield* Deferred.make<void>()

  for (const job of planned) {
    const { delay, title } = job
    yield* board.set(title, { title, state: "waiting", note: delay === undefined ? "" : `ready in ${delay}` })
    const options = { id: title, delay }
    yield* "push" in job
      ? Publisher.publish(DemoPush, job.push, options)
      : "fcm" in job
      ? Publisher.publish(DemoFcm, job.fcm, options)
      : "webPush" in job
      ? Publisher.publish(DemoWebPush, job.webPush, options)
      : Publisher.publish(Demo, job.command, options)
  }
  yield* board.set(deadToken, { title: deadToken, state: "waiting", note: "" })

  const running = (id: string) => board.set(id, { state: "running", note: "" })
  const processes = ProcessJob.handler({ job: Demo })
  const pushes = ApnsJob.handler({ job: DemoPush })
  const fcmPushes = FcmJob.handler({ job: DemoFcm })
  const webPushes = WebPushJob.handler({ job: DemoWebPush })

  yield* Worker.stream(
    { concurrency: 4, stop: Deferred.await(allEnded) },
    Worker.handler(Demo, (payload, job) => Effect.andThen(running(job.id), processes.run(payload, job))),
    Worker.handler(DemoPush, (payload, job) => Effect.andThen(running(job.id), pushes.run(payload, job))),
    Worker.handler(DemoFcm, (payload, job) => Effect.andThen(running(job.id), fcmPushes.run(payload, job))),
    Worker.handler(DemoWebPush, (payload, job) => Effect.andThen(running(job.id), webPushes.run(payload, job))),
    Worker.handler(
      DeadTokenJob.job,
      ({ reason, token }) =>
        Effect.as(running(deadToken), `${token.slice(0, 8)}... is ${reason}: the application deletes it here`)
    )
  ).pipe(
    Stream.runForEach((outcome) =>
      Effect.andThen(
        board.set(outcome.queue === Demo.queue ? outcome.id ?? outcome.jobId : deadToken, rowOf(outcome)),
        Effect.suspend(() =>
          board.rows().every(({ state }) => state === "done" || state === "buried")
            ? Deferred.succeed(allEnded, undefined)
            : Effect.void
        )
      )
    )
  )
  return board.rows()
})

const demo = Effect.gen(function*() {
  const broker = yield* Broker
  yield* clear
  yield* Console.log(`Queue "${Demo.queue}" on ${broker.name}\n`)
  const start = yield* Clock.currentTimeMillis
  const rows = yield* Effect.scoped(run)
  const count = (state: Board.Row["state"]) => rows.filter((row) => row.state === state).length
  const seconds = (((yield* Clock.currentTimeMillis) - start) / 1000).toFixed(1)
  yield* Console.log(
    `\n${rows.length} jobs in ${seconds} s: ${count("done")} done, ${
      count("buried")
    } buried with their reason, none lost.

Buried jobs stay in the queue until an operator acts. Inspect them and run them again:
  npm run -s backq -- peek ${Demo.queue} --state buried
  npm run -s backq -- kick ${Demo.queue}
  npm run -s backq -- work process --queue ${Demo.queue} --retry-times 3 --idle-timeout 3s`
  )
})

/** Pushes to a simulator of Apple's servers. */
const apns = Layer.unwrap(Effect.gen(function*() {
  const key = yield* Key.makeKey()
  const dead = { [gone]: { since: yield* Clock.currentTimeMillis } }
  const { ca, host, port } = yield* ApnsSimulator.make({ keys: [key], script: { dead } })
  return Apns.layer({
    credential: { ...key, topic: "com.example.app", ca: Redacted.make(ca) },
    environment: "sandbox",
    host,
    port
  })
}))

/** Pushes to a simulator of Google's servers. */
const fcm = Layer.unwrap(Effect.gen(function*() {
  const { ca, host, port, serviceAccount } = yield* FcmSimulator.make()
  return Fcm.layer({ credential: { serviceAccount: serviceAccount() }, host, port, ca })
}))

/** The subscription of a browser. */
class Browser extends Context.Service<Browser, Subscription.Subscription>()("demo/Browser") {}

/** Pushes to a simulator of a browser's push service. */
const webPush = Layer.unwrap(Effect.gen(function*() {
  const { allow, ca, subscribe } = yield* WebPushSimulator.make()
  const { privateKey, publicKey } = yield* VapidKey.generate
  const browser = Layer.effect(Browser, subscribe({ applicationServerKey: publicKey }))
  const sender = WebPush.layer({ keys: { privateKey }, subject: "mailto:ops@example.com", allow: [allow], ca })
  return Layer.merge(browser, Layer.provide(sender, WebPushSimulator.layerLoopback))
}))

// The board shows what the worker would log.
const services = Layer.mergeAll(Publisher.layer, Process.ProcessRunner.layer, apns, fcm, webPush, Logger.layer([]))
  .pipe(
    Layer.provideMerge(BrokerUrl.layerConfig())
  )

demo.pipe(Effect.provide(services), Main.run)
