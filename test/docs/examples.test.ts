/** The pages show these programs, and they do what the pages say. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Broker, putRequest } from "../../src/Broker.ts"
import { Process, type ProcessPayload, ProcessPolicy } from "../../src/process/index.ts"
import { Apns } from "../../src/push/apns/index.ts"
import { ApnsSimulator, Key } from "../../src/testing/apns/index.ts"
import { ProcessRunner, TestBroker } from "../../src/testing/index.ts"
import { shown } from "../support/shown.ts"
import { foreign, handler } from "./foreign.ts"
import { everything, images, nightly } from "./policies.ts"
import { apns, toAnother, toTheApp } from "./topic.ts"

const root = join(import.meta.dirname, "..", "..")

const read = (path: string): string => readFileSync(join(root, path), "utf8")

describe("the pages show tested code", () => {
  it.each([
    ["docs/workers.md", "test/docs/foreign.ts"],
    ["docs/process.md", "test/docs/policies.ts"],
    ["docs/apns.md", "test/docs/topic.ts"],
    ["docs/testing.md", "test/testing/apns/double.test.ts"],
    ["docs/testing.md", "test/testing/apns/pushes.test.ts"]
  ])("%s: %s", (page, file) => {
    assert.include(read(page), "```ts\n" + shown(file) + "```\n")
  })
})

describe("foreign", () => {
  it.effect("reads the bodies of another program, and buries with the reason what it can't read", () =>
    Effect.gen(function*() {
      const broker = yield* Broker
      for (const body of [`{"type":"mail","to":"ann@example.com"}`, `{"type":"fax","to":"1"}`]) {
        yield* broker.put("mail", Result.getOrThrow(putRequest(Buffer.from(body))))
      }
      const outcomes = yield* TestBroker.drainWith({ foreign }, handler)
      assert.deepStrictEqual(outcomes.map(({ _tag, id, job }) => [_tag, job, id]), [
        ["Done", "mail", "1"],
        ["Buried", undefined, undefined]
      ])
      assert.include(outcomes[1]?._tag === "Buried" ? outcomes[1].reason : "", `Expected "mail"`)
    }).pipe(Effect.provide(TestBroker.layer)))
})

describe("policies", () => {
  const runs = (payload: ProcessPayload.ProcessPayload, policy: ProcessPolicy.ProcessPolicy | undefined) =>
    Process.run(payload).pipe(
      Effect.match({
        onSuccess: () => "runs",
        onFailure: ({ reason }) => reason._tag === "Refused" ? reason.rule : reason._tag
      }),
      Effect.provide(
        Layer.merge(ProcessRunner.layerTest(), policy === undefined ? Layer.empty : ProcessPolicy.layer(policy))
      )
    )

  it.effect.each<[ProcessPayload.ProcessPayload, ReadonlyArray<string>]>([
    [{ command: ["convert", "a.png", "a.jpg"] }, ["runs", "runs", "runs", "runs"]],
    [{ command: ["rm", "-r", "a"] }, ["runs", "programs", "runs", "runs"]],
    [{ command: "rm -r a" }, ["shellLines", "shellLines", "runs", "runs"]],
    [{ command: ["convert"], cwd: "/etc" }, ["runs", "directories", "runs", "runs"]],
    [{ command: ["convert"], env: { LD_PRELOAD: "/tmp/a.so" } }, ["runs", "environment", "runs", "runs"]],
    [{ command: ["convert"], timeout: "1 hour" }, ["runs", "maxTimeout", "runs", "runs"]],
    [{ command: ["convert"], detach: true }, ["runs", "detach", "detach", "runs"]]
  ])("%j", ([payload, expected]) =>
    Effect.gen(function*() {
      const found = yield* Effect.forEach([undefined, images, nightly, everything], (policy) => runs(payload, policy))
      assert.deepStrictEqual(found, expected)
    }))
})

describe("the topic of a credential", () => {
  it.live("applies to notifications without a topic", () =>
    Effect.gen(function*() {
      const key = yield* Key.makeKey()
      const { ca, host, port, pushes } = yield* ApnsSimulator.make({ keys: [key] })
      const layer = apns({ ...key, ca: Redacted.make(ca) }, { host, port })
      yield* Effect.forEach([toTheApp, toAnother], (one) => Apns.send(one, "a1".repeat(32))).pipe(Effect.provide(layer))
      assert.deepStrictEqual((yield* pushes).map(({ headers }) => headers["apns-topic"]), [
        "com.example.app",
        "com.example.another"
      ])
    }))
})
