/** `backq push apns` and `backq work apns`, to the APNs simulator. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { ApnsSimulator, Key, Script } from "../../src/testing/apns/index.ts"
import { folder } from "../support/folder.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { freePort } from "../support/network.ts"
import { run } from "./command.ts"
import { run as runProgram } from "./program.ts"

allow(withPrograms)

const alive = "a1".repeat(32)
const gone = "b2".repeat(32)

/** A simulator, and the flags with which it is pushed to. */
const world = Effect.fnUntraced(function*(script?: Script.Script) {
  const path = yield* folder
  const key = yield* Key.makeKey({ bundleIds: ["com.example.app"] })
  const simulator = yield* ApnsSimulator.make({ keys: [key], ...(script === undefined ? undefined : { script }) })
  const keyFile = join(path, `AuthKey_${key.keyId}.p8`)
  const ca = join(path, "ca.pem")
  writeFileSync(keyFile, Redacted.value(key.key))
  writeFileSync(ca, simulator.ca)
  const flags = ["--key", keyFile, "--team-id", key.teamId, "--topic", "com.example.app", "--environment", "sandbox"]
  return {
    path,
    simulator,
    flags: [...flags, "--host", simulator.host, "--port", String(simulator.port), "--ca", ca]
  }
})

const dead: Script.Script = { dead: { [gone]: { since: 1_700_000_000_000 } } }

describe("push apns", () => {
  it.live("prints the id of the push, and its token", () =>
    Effect.gen(function*() {
      const { flags, simulator } = yield* world()
      const { code, stderr, stdout } = yield* run(["push", "apns", ...flags, "--body", "Hello", "--token", alive])
      assert.strictEqual(stderr, "")
      assert.strictEqual(code, 0)
      const [push] = yield* simulator.pushes
      assert.match(stdout, /^[0-9a-f-]{36} (a1){32}$/)
      assert.strictEqual(push!.target, alive)
    }))

  it.live("prints the result of each push, as JSON too", () =>
    Effect.gen(function*() {
      const { flags } = yield* world(dead)
      const args = ["push", "apns", ...flags, "--body", "Hello", "--token", alive, "--token", gone]
      const text = yield* run(args)
      assert.strictEqual(text.code, 4)
      assert.match(text.stdout, /^[0-9a-f-]{36} (a1){32}$/)
      assert.match(text.stderr, /^backq: (b2){32}: .*is dead.*\nbackq: 1 of 2 pushes failed: see above$/)
      const json = yield* run([...args, "--json"])
      const lines = json.stdout.split("\n").map((line) => JSON.parse(line) as Record<string, unknown>)
      assert.sameMembers(lines.map(({ token }) => token), [alive, gone])
      const accepted = lines.find(({ token }) => token === alive)!
      assert.hasAllKeys(accepted, ["token", "apnsId", "apnsUniqueId", "attempts", "duration"])
      assert.deepInclude(lines.find(({ token }) => token === gone), { error: "DeadToken", action: "DropToken" })
    }))

  it.live("reports a bad key, or a missing server", () =>
    Effect.gen(function*() {
      const { flags, path } = yield* world()
      const push = (...more: ReadonlyArray<string>) =>
        run(["push", "apns", ...flags, "--body", "Hi", "--token", alive, ...more])
      const without = (name: string) => flags.toSpliced(flags.indexOf(name), 2)
      const only = (args: ReadonlyArray<string>) => run(["push", "apns", ...args, "--body", "Hi", "--token", alive])

      const missing = yield* only([...without("--key"), "--key", join(path, "none.p8"), "--key-id", "ABC123DEFG"])
      assert.strictEqual(missing.code, 1)
      assert.match(missing.stderr, /none\.p8 can't be read: there is no such file/)

      const secret = "MIGTAgEAMBMGByqGSM49hunter2"
      for (const flag of ["--key", "--ca"]) {
        const given = yield* only([...without(flag), flag, secret, "--key-id", "ABC123DEFG"])
        assert.strictEqual(given.code, 1)
        assert.match(given.stderr, /must be PEM, base64 of PEM, or a path/)
        assert.notInclude(given.stderr, "hunter2")
      }

      const nothing = yield* only(without("--key"))
      assert.strictEqual(nothing.code, 1)
      assert.match(nothing.stderr, /BACKQ_APNS_KEY.*BACKQ_APNS_CERTIFICATE/)

      const both = yield* push("--certificate", join(path, "push.p12"))
      assert.strictEqual(both.code, 1)
      assert.match(both.stderr, /not both/)

      const other = yield* only([...without("--team-id"), "--team-id", "WRONGTEAM1"])
      assert.strictEqual(other.code, 2)
      assert.match(other.stderr, /Check that the key file, key id and team id belong together/)

      const untrusted = yield* only(without("--ca"))
      assert.strictEqual(untrusted.code, 2)
    }))
})

describe("the flags of the connections", () => {
  it.live("a proxy's password is not taken from them, and not shown", () =>
    Effect.gen(function*() {
      const { flags, simulator } = yield* world()
      const push = (proxy: string) =>
        run(["push", "apns", ...flags, "--body", "Hi", "--token", alive, "--queue-timeout", "1s", "--proxy", proxy])
      const secret = yield* push("http://me:hunter2@127.0.0.1:1")
      assert.strictEqual(secret.code, 1)
      assert.match(secret.stderr, /--proxy must have no user and password.*BACKQ_APNS_PROXY/)
      assert.notInclude(secret.stderr, "hunter2")
      const away = yield* push(`http://127.0.0.1:${yield* freePort}`)
      assert.strictEqual(away.code, 2)
      assert.strictEqual((yield* simulator.counts).connections, 0)
    }))

  it.live("time-outs are kept, and 0 is none", () =>
    Effect.gen(function*() {
      const { flags } = yield* world({ rules: [{ do: Script.silence }] })
      const push = (...more: ReadonlyArray<string>) =>
        run(["push", "apns", ...flags, "--body", "Hi", "--token", alive, ...more])
      const { code, stderr } = yield* push("--request-timeout", "200ms")
      assert.strictEqual(code, 2)
      assert.match(stderr, /not answered within 200ms/)
      const nothing = yield* push("--connect-timeout", "0")
      assert.strictEqual(nothing.code, 1)
      assert.match(nothing.stderr, /--connect-timeout.*greater than 0/)
    }))
})

describe("work apns", () => {
  it.live("pushes the published jobs, and publishes dead tokens", () =>
    Effect.gen(function*() {
      const { flags, path, simulator } = yield* world(dead)
      const broker = `sqlite:${join(path, "queue.db")}`
      const queue = ["--broker", broker]
      const published = yield* run(["publish", "apns", ...queue, "--body", "Hi", "--token", alive, "--token", gone])
      assert.strictEqual(published.code, 0)
      const worker = yield* runProgram(["work", "apns", ...queue, ...flags, "--max-jobs", "1"])
      assert.strictEqual(worker.code, 0, worker.stderr)
      assert.match(worker.stderr, /worker stopped: 1 done/)
      assert.sameMembers((yield* simulator.pushes).map(({ target }) => target), [alive, gone])
      const peeked = yield* run(["peek", "apns-tokens", ...queue, "--json"])
      assert.include(peeked.stdout, gone)
      assert.include(peeked.stdout, "1700000000000")
    }))

  it.live("ends at once with a bad key", () =>
    Effect.gen(function*() {
      const { path } = yield* world()
      const { code, stderr } = yield* run([
        "work",
        "apns",
        "--broker",
        `beanstalk://127.0.0.1:${yield* freePort}`,
        "--key",
        join(path, "ca.pem"),
        "--key-id",
        "ABC123DEFG",
        "--team-id",
        "DEF123GHIJ"
      ])
      assert.strictEqual(code, 1)
      assert.match(stderr, /ca\.pem is not a usable key: it is a certificate/)
    }))
})
