/** `backq push fcm`, `publish fcm` and `work fcm`, to the simulator. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { FcmSimulator } from "../../src/testing/fcm/index.ts"
import { folder } from "../support/folder.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { run } from "./command.ts"

allow(withPrograms)

const alive = "alive:APA91b"
const gone = "gone:APA91b"

const world = Effect.gen(function*() {
  const path = yield* folder
  const simulator = yield* FcmSimulator.make({ script: { dead: [gone] } })
  const file = (name: string, content: string) => {
    writeFileSync(join(path, name), content)
    return join(path, name)
  }
  const account = file("account.json", Redacted.value(simulator.serviceAccount()))
  return {
    simulator,
    file,
    by: [
      ["--account", account, "--host", simulator.host, "--port", String(simulator.port)],
      ["--ca", file("ca.pem", simulator.ca)]
    ].flat(),
    broker: ["--broker", `sqlite:${join(path, "queue.db")}`]
  }
})

describe("push fcm", () => {
  it.live("prints Google's name of the message, and its target", () =>
    Effect.gen(function*() {
      const { by, simulator } = yield* world
      const message = ["--title", "Hello", "--body", "You", "--data", "order=42", "--android-priority", "high"]
      const { code, stderr, stdout } = yield* run(
        ["push", "fcm", ...message, "--android-ttl", "1h", "--collapse-key", "orders", "--token", alive, ...by]
      )
      assert.deepStrictEqual([code, stderr], [0, ""])
      assert.match(stdout, /^projects\/test-project\/messages\/\S+ alive:APA91b$/)
      assert.deepStrictEqual((yield* simulator.pushes)[0]!.message, {
        token: alive,
        notification: { title: "Hello", body: "You" },
        data: { order: "42" },
        android: { priority: "HIGH", ttl: "3600s", collapse_key: "orders" }
      })
    }))

  it.live("prints the result of each push as JSON, and ends with 4 if a token is dead", () =>
    Effect.gen(function*() {
      const { by, file } = yield* world
      const payload = file("message.json", "{\"notification\":{\"title\":\"Hi\"},\"android\":{\"collapse_key\":\"a\"}}")
      const tokens = file("tokens.txt", `${alive}\n\n${gone}\n`)
      const { code, stdout } = yield* run(["push", "fcm", "--payload", payload, "--tokens", tokens, "--json", ...by])
      assert.strictEqual(code, 4)
      const lines = stdout.split("\n").map((line) => JSON.parse(line) as Record<string, unknown>)
      assert.sameMembers(lines.map(({ action, target }) => `${target} ${action}`), [
        `${alive} undefined`,
        `${gone} DropToken`
      ])
    }))

  it.live("pushes to a topic and to a condition", () =>
    Effect.gen(function*() {
      const { by, simulator } = yield* world
      for (const target of [["--topic", "news"], ["--condition", "'a' in topics && 'b' in topics"]]) {
        const { code, stderr } = yield* run(["push", "fcm", "--title", "Hi", ...target, ...by])
        assert.strictEqual(code, 0, stderr)
      }
      assert.deepStrictEqual((yield* simulator.pushes).map(({ target }) => target), [
        "news",
        "'a' in topics && 'b' in topics"
      ])
    }))

  it.live("says what is wrong before anything is sent, and shows no secret", () =>
    Effect.gen(function*() {
      const { by, file, simulator } = yield* world
      const failing = Effect.fnUntraced(function*(args: ReadonlyArray<string>, says: RegExp) {
        const { code, stderr } = yield* run(["push", "fcm", ...args])
        assert.strictEqual(code, 1, stderr)
        assert.match(stderr, says)
        assert.notInclude(stderr, "PRIVATE KEY")
      })
      yield* failing(["--title", "Hi", ...by], /one kind of target must be given/)
      yield* failing(["--title", "Hi", "--token", alive, "--topic", "news", ...by], /one kind of target must be given/)
      yield* failing(["--token", alive, ...by], /a message must be given/)
      yield* failing(["--token", alive, "--data", "from=me", ...by], /data\.from|from/)
      const payload = file("bad.json", "{\"data\":{\"order\":42}}")
      yield* failing(["--token", alive, "--payload", payload, ...by], /order/)
      const { project_id, type } = JSON.parse(Redacted.value(simulator.serviceAccount()))
      const broken = file("broken.json", JSON.stringify({ type, project_id, private_key: "PRIVATE KEY secret" }))
      yield* failing(
        ["--title", "Hi", "--token", alive, "--account", broken],
        /service account|private_key|client_email/
      )
      yield* failing(
        ["--title", "Hi", "--token", alive, "--account", "{\"private_key\":1}"],
        /--account must be a file/
      )
      yield* failing(["--title", "Hi", "--token", alive], /--account \(or BACKQ_FCM_SERVICE_ACCOUNT\)/)
      assert.strictEqual((yield* simulator.counts).pushes, 0)
    }))
})

describe("publish fcm and work fcm", () => {
  it.live("push the messages of a queue, and report dead tokens", () =>
    Effect.gen(function*() {
      const { broker, by, simulator } = yield* world
      const published = yield* run(
        ["publish", "fcm", "--title", "Hi", "--token", alive, "--token", gone, ...broker]
      )
      assert.strictEqual(published.code, 0, published.stderr)
      const worked = yield* run(["work", "fcm", "--max-jobs", "1", ...by, ...broker])
      assert.strictEqual(worked.code, 0, worked.stderr)
      assert.sameMembers((yield* simulator.pushes).map(({ status, target }) => `${target} ${status}`), [
        `${alive} 200`,
        `${gone} 404`
      ])
      const { stdout } = yield* run(["peek", "fcm-tokens", "--json", ...broker])
      assert.include(stdout, gone)
    }))
})
