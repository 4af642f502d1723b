/** `backq publish apns`: a worker gets exactly the given push. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { existsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as SqliteBroker from "../../src/brokers/sqlite/SqliteBroker.ts"
import type { Delivery } from "../../src/Handler.ts"
import * as ApnsJob from "../../src/push/apns/ApnsJob.ts"
import type { ApnsPayload } from "../../src/push/apns/notification/ApnsPayload.ts"
import * as Worker from "../../src/Worker.ts"
import { folder } from "../support/folder.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { run } from "./command.ts"

allow(withPrograms)

/** Publishes, with a line of words and then whole arguments, and takes the published job. */
const published = (path: string, line: string, ...args: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const file = join(path, "queue.db")
    const { code, stderr, stdout } = yield* run([
      "publish",
      "apns",
      "--broker",
      `sqlite:${file}`,
      ...line.split(" "),
      ...args
    ])
    assert.strictEqual(stderr, "")
    assert.strictEqual(code, 0)
    const got: Array<{ readonly payload: ApnsPayload; readonly delivery: Delivery }> = []
    const handler = Worker.handler(
      ApnsJob.job,
      (payload, delivery) => Effect.sync(() => got.push({ payload, delivery }))
    )
    const ids = stdout.split("\n")
    const queue = /--queue (\S+)/.exec(line)?.[1]
    yield* Worker.stream({ queue, maxJobs: ids.length, concurrency: 1 }, handler).pipe(
      Stream.runDrain,
      Effect.provide(Layer.fresh(SqliteBroker.layer({ path: file })))
    )
    assert.deepStrictEqual(got.map(({ delivery }) => delivery.jobId), ids as Array<Delivery["jobId"]>)
    return got
  })

describe("publish apns", () => {
  it.live("makes an alert of flags", () =>
    Effect.gen(function*() {
      const [job, ...others] = yield* published(
        yield* folder,
        "--token 0a1b --token 2c3d --title Hello --badge 0 --sound default --topic com.example.app --push-priority 5 " +
          "--expiration 2100-01-01T00:00:00Z --collapse-id hello --id mine --queue q",
        "--body",
        "How are you?"
      )
      assert.deepStrictEqual(others, [])
      assert.strictEqual(job!.delivery.id, "mine")
      assert.deepStrictEqual(job!.payload, {
        tokens: ["0a1b", "2c3d"],
        notification: {
          pushType: "alert",
          topic: "com.example.app",
          priority: 5,
          expiration: 4_102_444_800,
          collapseId: "hello",
          payload: { aps: { alert: { title: "Hello", body: "How are you?" }, badge: 0, sound: "default" } }
        }
      })
    }))

  it.live("refuses a file of tokens in which a line is none, and says which", () =>
    Effect.gen(function*() {
      const path = yield* folder
      const file = join(path, "tokens.txt")
      const publish = (...args: ReadonlyArray<string>) =>
        run([
          "publish",
          "apns",
          "--broker",
          `sqlite:${join(path, "queue.db")}`,
          "--topic",
          "a.b",
          "--body",
          "Hi",
          ...args
        ])
      for (
        const [content, line, shown] of [
          ["token\n0a1b\n", 1, "token"],
          ["0a1b\r\n\r\n0a1b,2c3d\r\n", 3, "0a1b,2c3d"],
          ["0a1b\n0a1\n", 2, "0a1"],
          ["{\"tokens\":[]}", 1, "{\"tokens\":[]}"],
          ["\u00ff\u001b[2J", 1, "\u00ff\\x1b[2J"],
          ["x".repeat(1_000_000), 1, `${"x".repeat(200)} … and 999800 more characters`]
        ] as const
      ) {
        writeFileSync(file, content)
        const { code, stderr, stdout } = yield* publish("--tokens", file)
        assert.deepStrictEqual([code, stdout], [1, ""])
        assert.strictEqual(
          stderr,
          `backq: --tokens ${file}: line ${line} must be a device token, ` +
            `an even number of hexadecimal digits: it is "${shown}"`
        )
      }
      for (const token of ["nope", "", " ", " 0a1b", "0a1b\n"]) {
        const { code, stderr } = yield* publish("--token", "0a1b", "--token", token)
        assert.deepStrictEqual([code, stderr.split(":", 2)[1]], [
          1,
          " --token must be a device token, an even number of hexadecimal digits"
        ])
      }
      assert.isFalse(existsSync(join(path, "queue.db")))
    }))

  it.live("takes payload and tokens from files", () =>
    Effect.gen(function*() {
      const path = yield* folder
      const payload = { aps: { "content-available": 1 }, order: 42 } as const
      writeFileSync(join(path, "payload.json"), JSON.stringify(payload))
      const tokens = Array.from({ length: 501 }, (_, n) => n.toString(16).padStart(64, "0"))
      writeFileSync(join(path, "tokens.txt"), `${tokens.join("\r\n")}\n\n`)
      const jobs = yield* published(
        path,
        `--payload ${join(path, "payload.json")} --tokens ${join(path, "tokens.txt")}`
      )
      assert.deepStrictEqual(jobs.map((job) => job.payload.tokens.length), [500, 1])
      assert.deepStrictEqual(jobs[0]!.payload.notification, { pushType: "background", payload })
    }))
})
