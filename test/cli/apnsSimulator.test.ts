/** `backq apns-simulator`: it prints how to push to it, and the printed commands work. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { find } from "../../scripts/test/servers.ts"
import { eventually } from "../support/eventually.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { run as runHere } from "./command.ts"
import { environment, executable, start } from "./program.ts"

allow(withPrograms)

const simulate = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
  const program = yield* start(["apns-simulator", "--port", "0", ...args])
  yield* eventually("it says where it is", () => /Ctrl-C|^\{.*\}$/m.test(program.stdout()))
  return program
})

const shell = (line: string) =>
  Effect.callback<string>((resume) => {
    const child = spawn("sh", ["-c", line], { stdio: ["ignore", "pipe", "ignore"], env: environment() })
    let output = ""
    child.stdout.setEncoding("utf8").on("data", (text) => output += text)
    child.once("close", () => resume(Effect.succeed(output)))
  })

/** The command that it prints. */
const commandOf = (stdout: string): string =>
  /^ {2}export [^]*?(?=\n\n)/m.exec(stdout)![0].replace(
    /^ {2}(npx tsx \S+\/bin\.ts|backq) push/m,
    `"${process.execPath}" "${executable}" push`
  )

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "backq-apns-test-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

describe("backq apns-simulator", () => {
  it.live(
    "the commands that it prints push to it, and it prints the pushes",
    () =>
      Effect.gen(function*() {
        const program = yield* simulate()
        const command = commandOf(program.stdout())
        const ca = /\S+\.pem/.exec(command)![0].replace(/^.*=/, "")
        assert.isTrue(existsSync(ca))
        assert.match(yield* shell(command), /^[0-9a-f-]{36}\s+(a1){32}/m)
        yield* eventually("it tells", () =>
          /^\d\d:\d\d:\d\d\.\d{3} {2}200 {2}(a1){8}… {2}com\.example\.app {2}alert {2}\{"aps":\{"alert":\{"body":"hello"\}\}\}$/m
            .test(program.stdout()))

        yield* program.signal("SIGINT")
        assert.strictEqual((yield* program.ended).code, 0)
        assert.isFalse(existsSync(ca))
      }),
    60_000
  )

  it.live.skipIf(find("curl") === undefined)("follows its options, and prints JSON", () =>
    Effect.gen(function*() {
      const path = yield* folder
      const token = "d1".repeat(32)
      const program = yield* simulate("--json", "--folder", path, "--dead", token, "--refuse", "TooManyRequests=1")
      const place = JSON.parse(program.stdout())
      assert.strictEqual(place.ca, join(path, "ca.pem"))
      assert.strictEqual(statSync(place.key).mode & 0o777, 0o600)
      assert.match(readFileSync(place.key, "utf8"), /^-----BEGIN PRIVATE KEY-----/)
      const push = (to: string) =>
        shell(
          `curl --silent --http2 --cacert ${place.ca} -H 'authorization: bearer ${jwt}' -H 'apns-topic: com.example.app' `
            + `-d '{}' https://127.0.0.1:${place.port}/3/device/${to}`
        )
      assert.match(yield* push(token), /^\{"reason":"Unregistered","timestamp":\d{13}\}$/)
      assert.strictEqual(yield* push("a1".repeat(32)), `{"reason":"TooManyRequests"}`)
      yield* eventually("it tells both", () => program.stdout().trimEnd().split("\n").length === 3)
      const [, dead, limited] = program.stdout().trimEnd().split("\n").map((line) => JSON.parse(line))
      assert.deepInclude(dead, { target: token, status: 410, reason: "Unregistered", body: "{}" })
      assert.deepInclude(limited, { status: 429, reason: "TooManyRequests" })
      assert.notInclude(program.stdout(), jwt)

      yield* program.signal("SIGTERM")
      assert.strictEqual((yield* program.ended).code, 0)
      assert.lengthOf(readdirSync(path), 2)
    }))

  it.live.each(
    [
      [["--refuse", "Tired=0.5"], /--refuse.*one of Apple's reasons/],
      [["--refuse", "TooManyRequests=2"], /--refuse.*share/],
      [["--port", "70000"], /--port.*65535/],
      [["--host", "no.such.host.invalid", "--port", "0"], /can't listen on no\.such\.host\.invalid/],
      [["--folder", "/dev/null/folder", "--port", "0"], /--folder/],
      [["--folder", "/proc/x", "--port", "0"], /--folder.*\/proc\/x/],
      [["--folder", "/no/such/parent", "--port", "0"], /--folder.*\/no\/such\/parent/]
    ] as const
  )("is told %j", ([args, message]) =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* runHere(["apns-simulator", ...args])
      assert.strictEqual(code, 1)
      assert.strictEqual(stdout, "")
      assert.match(stderr, message)
    }))
})

/** Well-formed, and signed by nobody. */
const jwt = [
  Buffer.from(JSON.stringify({ alg: "ES256", kid: "ABCDEFGHIJ" })).toString("base64url"),
  Buffer.from(JSON.stringify({ iss: "0123456789", iat: Math.floor(Date.now() / 1000) })).toString("base64url"),
  "AAAA"
].join(".")
