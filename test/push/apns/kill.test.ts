/**
 * Push jobs from a queue to a server that refuses, forgets and says good-bye,
 * by a worker that is killed twice: every job ends, every token has its push,
 * every dead token is reported. `BACKQ_PUSH_JOBS=10000 vitest run
 * test/push/apns/kill.test.ts` does it at full size.
 */
import { assert, describe, it } from "@effect/vitest"
import type { NonEmptyArray } from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import { type ChildProcess, spawn } from "node:child_process"
import { join } from "node:path"
import { Broker } from "../../../src/Broker.ts"
import * as BrokerUrl from "../../../src/brokers/url.ts"
import { Inspector } from "../../../src/Inspector.ts"
import * as Publisher from "../../../src/Publisher.ts"
import * as ApnsJob from "../../../src/push/apns/ApnsJob.ts"
import * as DeadTokenJob from "../../../src/push/apns/DeadTokenJob.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"
import * as ApnsSimulator from "../../../src/testing/apns/ApnsSimulator.ts"
import * as Key from "../../../src/testing/apns/Key.ts"
import * as Script from "../../../src/testing/apns/Script.ts"
import * as Worker from "../../../src/Worker.ts"
import { request } from "../../brokers/sqlite/harness.ts"
import * as Beanstalk from "../../support/beanstalkd.ts"
import { folder } from "../../support/folder.ts"
import { allow, withPrograms } from "../../support/limits.ts"
import * as Ledger from "./ledger.ts"
import { token, topic } from "./servers.ts"

const size = Number(process.env["BACKQ_PUSH_JOBS"] ?? 600)
const isFull = size >= 5000

allow(withPrograms + size * 50)

const hello = Notification.alert({ body: "Hello" })

/** Most jobs have one token, some have ten. */
const jobs = new Map<string, NonEmptyArray<string>>()
for (let i = 0, next = 0; i < size; i++) {
  const count = i % 20 === 0 ? 10 : 1
  jobs.set(`job-${i}`, Array.from({ length: count }, () => token(next++)) as NonEmptyArray<string>)
}
const tokens = Array.from(jobs.values()).flat()
const dead = new Set(tokens.filter((_, i) => i % 50 === 7))

/** Jobs that no server would take, as another language may publish them. */
const poison = 10
const poisoned = (i: number) =>
  JSON.stringify({
    backq: 1,
    id: `poison-${i}`,
    job: "apns",
    payload: { tokens: [token(i, "eeee")], payload: { aps: {} } }
  })

const script: Script.Script = {
  dead: Object.fromEntries(Array.from(dead, (token) => [token, { since: 1_700_000_000_000 }])),
  rules: [
    { do: Script.refuse("TooManyRequests", { retryAfter: "1 second" }), share: 0.01 },
    { do: Script.refuse("InternalServerError", { retryAfter: "1 second" }), share: 0.01 }
  ],
  delay: "5 millis",
  goaway: { every: isFull ? "1 second" : "200 millis", unprocessed: 5 }
}

const exited = (child: ChildProcess) =>
  Effect.callback<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) resume(Effect.void)
    else child.once("exit", () => resume(Effect.void))
  })

/** A worker in a process of its own. */
const startWorker = Effect.fnUntraced(function*(ledger: string, environment: Record<string, string>) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [join(import.meta.dirname, "worker.ts"), ledger], {
        env: { ...process.env, ...environment },
        stdio: ["ignore", "pipe", "pipe"]
      })
    ),
    (child) => {
      child.kill("SIGKILL")
      return exited(child)
    }
  )
  let complaints = ""
  child.stdout.on("data", (chunk) => complaints += chunk)
  child.stderr.on("data", (chunk) => complaints += chunk)
  return {
    pid: child.pid!,
    kill: Effect.andThen(Effect.sync(() => child.kill("SIGKILL")), exited(child)),
    complaints: () => complaints
  }
})

const until = <E, R>(condition: Effect.Effect<boolean, E, R>) =>
  Effect.repeat(condition, { until: (is) => is, schedule: Schedule.spaced("20 millis") })

const publish = Effect.gen(function*() {
  const broker = yield* Broker
  const payloads = Array.from(jobs, ([id, tokens]) => ({ id, payload: { tokens, notification: hello } }))
  for (let i = 0; i < payloads.length; i += 1000) {
    const some = payloads.slice(i, i + 1000)
    const results = yield* Publisher.publishAll(
      ApnsJob.job,
      some.map(({ payload }) => payload),
      (_, index) => ({ id: some[index]!.id })
    )
    assert.isTrue(results.every(Result.isSuccess))
  }
  for (let i = 0; i < poison; i++) yield* broker.put("apns", request(poisoned(i)))
})

/** The tokens that wait for the application. */
const reported = Effect.gen(function*() {
  const told: Array<string> = []
  yield* Worker.run(
    { idleTimeout: "100 millis" },
    Worker.handler(DeadTokenJob.job, (dead) => {
      assert.deepInclude(dead, {
        topic,
        environment: "sandbox",
        kind: "Dead",
        reason: "Unregistered",
        timestamp: 1_700_000_000_000
      })
      return Effect.sync(() => told.push(dead.token))
    })
  )
  return told
})

const scenario = (url: string, folder: string) =>
  Effect.gen(function*() {
    const inspector = yield* Inspector
    const key = yield* Key.makeKey()
    const simulator = yield* ApnsSimulator.make({ keys: [key], script, record: 1_000_000 })
    const path = join(folder, "ledger")
    const ledger = Ledger.open(path)
    const start = startWorker(path, {
      BACKQ_BROKER: url,
      BACKQ_APNS_KEY: Redacted.value(key.key),
      BACKQ_APNS_KEY_ID: key.keyId,
      BACKQ_APNS_TEAM_ID: key.teamId,
      BACKQ_APNS_TOPIC: topic,
      BACKQ_APNS_ENVIRONMENT: "sandbox",
      BACKQ_APNS_HOST: "localhost",
      BACKQ_APNS_PORT: String(simulator.port),
      BACKQ_APNS_CA: simulator.ca
    })
    yield* publish

    const complaints: Array<string> = []
    for (const share of [0.25, 0.6]) {
      const worker = yield* start
      yield* until(Effect.map(simulator.counts, ({ accepted }) => accepted >= share * tokens.length))
      yield* Effect.sync(() => ledger.write("kill", "worker", worker.pid))
      yield* worker.kill
      complaints.push(worker.complaints())
    }
    const worker = yield* start
    yield* until(Effect.map(
      inspector.statsQueue("apns"),
      ({ delayed, ready, reserved }) => delayed + ready + reserved === 0
    ))
    // a worker writes down what it has settled
    yield* until(Effect.sync(() => Ledger.isSettled(ledger.read(), poison)))
    complaints.push(worker.complaints())
    yield* worker.kill

    const { violations, ...counts } = Ledger.audit({
      jobs,
      dead,
      lines: ledger.read(),
      pushes: yield* simulator.pushes,
      reported: yield* reported
    })
    const { connections, pushes, statuses } = yield* simulator.counts
    const figures = { ...counts, connections, pushes, statuses }
    assert.deepStrictEqual(violations.slice(0, 20), [], `${violations.length} violations ${JSON.stringify(figures)}`)
    assert.strictEqual(counts.accepted, tokens.length - dead.size)
    assert.strictEqual(counts.dead, dead.size)
    assert.isAbove(counts.cut, 0)
    assert.strictEqual((yield* inspector.statsQueue("apns")).buried, poison)
    const errors = complaints.join("").split("\n").filter((line) =>
      line !== "" && !line.includes("buried: the payload")
    )
    assert.deepStrictEqual(errors, [])
    if (isFull) yield* Effect.logInfo(`${size} jobs`, figures)
  })

const run = (url: string, folder: string) =>
  Effect.timed(Effect.provide(scenario(url, folder), Publisher.layer.pipe(Layer.provideMerge(BrokerUrl.layer(url)))))
    .pipe(
      Effect.tap(([time]) => isFull ? Effect.logInfo(Duration.format(time)) : Effect.void)
    )

describe("push jobs, and a worker that is killed twice", () => {
  it("the audit finds lost, repeated, unsettled and unreported pushes", () => {
    const evidence = (
      lines: ReadonlyArray<string>,
      pushes: ReadonlyArray<[string, number]>,
      reported: Array<string> = []
    ) =>
      Ledger.audit({
        jobs: new Map([["a", ["a1", "a2"]], ["b", ["b1"]]]),
        dead: new Set(["b1"]),
        lines,
        pushes: pushes.map(([target, status]) => ({ target, status })),
        reported
      })
    const done = ["start a 1", "Done a 1", "start b 1", "Done b 1"]
    const good: Array<[string, number]> = [["a1", 200], ["a2", 429], ["b1", 410], ["a2", 200]]
    assert.deepStrictEqual(evidence(done, good, ["b1"]).violations, [])
    assert.lengthOf(evidence(done, good).violations, 1)
    assert.lengthOf(evidence(done.slice(0, 3), good, ["b1"]).violations, 1)
    assert.lengthOf(evidence(done, good.slice(0, 3), ["b1"]).violations, 1)
    assert.lengthOf(evidence(done, [...good, ["a1", 429]], ["b1"]).violations, 1)
    const again: Array<[string, number]> = [...good, ["a1", 200]]
    assert.lengthOf(evidence(done, again, ["b1"]).violations, 2)
    // a2 was tried again as a job of its own, whose worker was killed
    const cut = ["start a#after-1 1", "kill worker 1", "start a#after-1 2", "Done a#after-1 2"]
    assert.deepStrictEqual(evidence([...done, ...cut], again, ["b1"]).violations, [])
    assert.lengthOf(evidence([...done, ...cut], [...again, ["a1", 200]], ["b1"]).violations, 1)
    assert.deepStrictEqual(evidence([...done, "kill worker 1", "start a 1"], again, ["b1"]).violations, [])
  })

  Beanstalk.real("through beanstalkd", () =>
    Effect.gen(function*() {
      const { port } = yield* Beanstalk.beanstalkd()
      yield* run(`beanstalk://127.0.0.1:${port}`, yield* folder)
    }))

  it.live("through a file", () =>
    Effect.gen(function*() {
      const place = yield* folder
      yield* run(`sqlite:${join(place, "queue.db")}`, place)
    }))
})
