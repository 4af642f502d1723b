/** The digits of a number are the same from a file to the device, and wherever an operator looks between. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { ApnsSimulator, Key } from "../../src/testing/apns/index.ts"
import { folder } from "../support/folder.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { run } from "./command.ts"
import { run as runProgram } from "./program.ts"

allow(withPrograms)

const token = "a1".repeat(32)
const payload = `{"aps":{"alert":"a"},"id":1234567890123456789,"rate":0.1000000000000000055}`

describe("digits", () => {
  it.live("are kept by publish, peek, move, work and push", () =>
    Effect.gen(function*() {
      const path = yield* folder
      const at = (name: string) => join(path, name)
      const key = yield* Key.makeKey()
      const simulator = yield* ApnsSimulator.make({ keys: [key] })
      writeFileSync(at(`AuthKey_${key.keyId}.p8`), Redacted.value(key.key))
      writeFileSync(at("ca.pem"), simulator.ca)
      writeFileSync(at("payload.json"), payload)
      const apns = [
        ["--key", at(`AuthKey_${key.keyId}.p8`), "--team-id", key.teamId, "--topic", "com.example.app"],
        ["--environment", "sandbox", "--ca", at("ca.pem")],
        ["--host", simulator.host, "--port", String(simulator.port)]
      ].flat()
      const broker = ["--broker", `sqlite:${at("queue.db")}`]
      const what = ["--payload", at("payload.json"), "--token", token]

      assert.strictEqual((yield* run(["push", "apns", ...apns, ...what])).code, 0)
      assert.strictEqual((yield* run(["publish", "apns", ...broker, ...what])).code, 0)
      assert.strictEqual((yield* run(["move", "apns", "other", "--state", "ready", "--yes", ...broker])).code, 0)
      const shown = yield* run(["peek", "other", ...broker])
      assert.include(shown.stdout, `"id": 1234567890123456789,`)
      assert.include(shown.stdout, `"rate": 0.1000000000000000055`)
      assert.include((yield* run(["peek", "other", "--json", ...broker])).stdout, payload)
      const worked = yield* runProgram(["work", "apns", "--queue", "other", "--max-jobs", "1", ...broker, ...apns])
      assert.strictEqual(worked.code, 0, worked.stderr)
      assert.deepStrictEqual((yield* simulator.pushes).map(({ body }) => body), [payload, payload])
    }))

  it.live("are named where no device has such a number", () =>
    Effect.gen(function*() {
      const path = join(yield* folder, "payload.json")
      writeFileSync(path, `{"aps":{"alert":"a"},"id":1e400}`)
      const { code, stderr } = yield* run([
        "publish",
        "apns",
        "--broker",
        "memory:",
        "--payload",
        path,
        "--token",
        token
      ])
      assert.strictEqual(code, 1)
      assert.match(stderr, /payload\.id: must be a number that a device can read/)
    }))
})
