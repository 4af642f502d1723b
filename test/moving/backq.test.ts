/** What the pages say of moving from BackQ, first of all: workers of BackQ and of backq never serve the same queue. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import { readFileSync } from "node:fs"
import { connect } from "node:net"
import { join } from "node:path"
import { Broker, putRequest } from "../../src/Broker.ts"
import * as BeanstalkBroker from "../../src/brokers/beanstalk/BeanstalkBroker.ts"
import { Publisher } from "../../src/index.ts"
import { Inspector } from "../../src/Inspector.ts"
import { ProcessJob } from "../../src/process/index.ts"
import { ProcessRunner, RecordedProcesses, TestBroker } from "../../src/testing/index.ts"
import { beanstalkd, real } from "../support/beanstalkd.ts"

const page = (name: string): string => readFileSync(join(import.meta.dirname, "..", "..", "docs", name), "utf8")

/** `new BackQ\Message\Process("echo hi")`, as PHP serializes it. */
const message = Buffer.from(
  "TzoyMToiQmFja1FcTWVzc2FnZVxQcm9jZXNzIjo2OntzOjM0OiIAQmFja1FcTWVzc2FnZVxQcm9jZXNzAGNvbW1hbmRsaW5lIjtzOjc6ImVjaG8gaGki" +
    "O3M6MjY6IgBCYWNrUVxNZXNzYWdlXFByb2Nlc3MAY3dkIjtOO3M6MjY6IgBCYWNrUVxNZXNzYWdlXFByb2Nlc3MAZW52IjtOO3M6Mjg6IgBCYWNr" +
    "UVxNZXNzYWdlXFByb2Nlc3MAaW5wdXQiO047czozMDoiAEJhY2tRXE1lc3NhZ2VcUHJvY2VzcwB0aW1lb3V0IjtkOjYwO3M6Mjg6IgBCYWNrUVxN" +
    "ZXNzYWdlXFByb2Nlc3MAdW50aWwiO2k6MDt9",
  "base64"
)

/** Waits for a job as a PHP worker does: any client that reserves. */
const waitAsPhp = (port: number, queue: string) =>
  Effect.acquireRelease(
    Effect.sync(() => connect(port, "127.0.0.1").on("error", () => {})),
    (socket) => Effect.sync(() => socket.destroy())
  ).pipe(Effect.map((socket) => socket.write(`watch ${queue}\r\nreserve\r\n`)))

describe("moving from BackQ", () => {
  it.each(["process.md", "apns.md"])("%s warns before anything else", (name) => {
    const [, section] = /\n## Moving from BackQ\n\n([^]*?)\n\n/.exec(page(name))!
    assert.match(section!, /^\*\*Never let workers of BackQ and of backq serve the same queue\.\*\*/)
    assert.include(section, "(moving.md#from-backq)")
    assert.include(section, "`requireWorkers`")
  })

  it("moving.md begins with that warning, and lists the steps in order", () => {
    const [, section] = /^# .*\n\n## From BackQ\n\n([^]*?)\n## /.exec(page("moving.md"))!
    assert.match(section!, /^\*\*Never let workers of BackQ and of backq serve the same queue/)
    for (const step of [1, 2, 3, 4, 5]) assert.match(section!, new RegExp(`^${step}\\. `, "m"))
  })

  it.effect("a worker of backq buries the jobs of BackQ, and a move hands them back unchanged", () =>
    Effect.gen(function*() {
      const broker = yield* Broker
      const inspector = yield* Inspector
      yield* broker.put("process", Result.getOrThrow(putRequest(message)))
      const [outcome] = yield* TestBroker.drain(ProcessJob.handler())
      assert.strictEqual(outcome?._tag, "Buried")
      assert.deepStrictEqual(yield* Effect.flatMap(RecordedProcesses, ({ payloads }) => payloads), [])

      yield* inspector.moveJob(outcome!.jobId, "old-process")
      const consumer = yield* broker.consume(["old-process"])
      const [lease] = yield* consumer.reserve(1)
      assert.deepStrictEqual(Buffer.from(lease!.body), message)
    }).pipe(Effect.provide(Layer.merge(TestBroker.layer, ProcessRunner.layerTest()))))

  real("any waiting client counts as a worker, so requireWorkers gives no protection", () =>
    Effect.gen(function*() {
      const server = yield* beanstalkd()
      const publish = Publisher.publish(ProcessJob.job, { command: ["date"] }, { requireWorkers: true }).pipe(
        Effect.provide(Layer.provide(Publisher.layer, BeanstalkBroker.layer({ port: server.port })))
      )
      assert.strictEqual((yield* Effect.flip(publish)).reason._tag, "NoIdleWorkers")
      yield* waitAsPhp(server.port, "process")
      yield* Effect.retry(publish, Schedule.max([Schedule.spaced("10 millis"), Schedule.recurs(200)]))
    }))
})
