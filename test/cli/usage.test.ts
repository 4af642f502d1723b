/** Wrong usage: one line on stderr, nothing on stdout, exit code 1. */
import { afterAll, assert, beforeAll, describe, it, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { run } from "./command.ts"
import { bin } from "./program.ts"

// a late error may leave a file: each case has its own folder
const folder = mkdtempSync(join(tmpdir(), "backq-"))
beforeAll(() => vi.stubEnv("BACKQ_BROKER", `sqlite:${folder}/queue.db`))
afterAll(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true })
})

const publish = (...args: ReadonlyArray<string>) => ["publish", "process", ...args]
const push = (...args: ReadonlyArray<string>) => ["publish", "apns", "--token", "0a1b", ...args]
const work = (...args: ReadonlyArray<string>) => ["work", "process", ...args]

const wrong: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
  [publish(), /a command must be given: write the program and its arguments after --/],
  [publish("--shell", "date", "--", "date"), /a program after -- and --shell 'LINE' must not be given together/],
  [publish("--delay", "-5s", "--", "true"), /--delay=VALUE/],
  [["tail", "--pid", "abc"], /--pid.*an integer of at least 1/],
  [publish("--delay=-5s", "--", "true"), /--delay.*not negative/],
  [publish("--delay", "soon", "--", "true"), /--delay.*500ms, 4s, 5m/],
  [publish("--ttr", "0", "--", "true"), /--ttr.*greater than 0/],
  [publish("--ttr", "0s", "--", "true"), /--ttr.*greater than 0/],
  [publish("--timeout", "0s", "--", "true"), /--timeout.*greater than 0/],
  [publish("--priority", "-1", "--", "true"), /priority must be an integer from 0 .*, not -1/],
  [publish("--priority", "4294967296", "--", "true"), /priority must be .*, not 4294967296/],
  [publish("--queue", "a b", "--", "true"), /"a b" is not a queue name/],
  [publish("--deadline", "2020-01-01T00:00:00Z", "--", "true"), /--deadline must be in the future/],
  [publish("--deadline", "0s", "--", "true"), /--deadline must be in the future/],
  [push("--body", "Hi", "--deadline", "2020-01-01"), /--deadline must be in the future/],
  [publish("--deadline", "soon", "--", "true"), /--deadline.*2030/],
  [publish("--env", "=x", "--", "true"), /--env.*NAME=VALUE/],
  [publish("--output-limit", "999999999", "--", "true"), /--output-limit.*at most/],
  [publish("--input", "a", "--input-file", "b", "--", "true"), /--input and --input-file must not be given together/],
  [publish("--input-file", "/nowhere/at/all", "--", "true"), /\/nowhere\/at\/all can't be read: there is no such file/],
  [publish("--detach", "--timeout", "1s", "--", "true"), /detach/],
  [publish("--frobnicate", "--", "true"), /--frobnicate/],
  [publish("ls", "-la"), /write -- before the program/],
  [publish("--broker", "redis://localhost", "--", "true"), /there is no broker "redis:"/],
  [publish("--broker", "nonsense", "--", "true"), /not a broker's URL/],
  [["publish", "apns", "--body", "Hi"], /a device token must be given: write --token or --tokens/],
  [push(), /a notification must be given: write --title/],
  [push("--body", "Hi", "--payload", "x.json"), /--payload must not be given together with --title/],
  [push("--payload", "/nowhere/at/all"), /\/nowhere\/at\/all can't be read/],
  [push("--payload", "package-lock.json", "--tokens", "/nowhere/at/all"), /--tokens \/nowhere\/at\/all can't be read/],
  [push("--payload", "README.md"), /--payload README\.md is not JSON/],
  [push("--payload", "package.json"), /can't be pushed/],
  [push("--tokens", "-", "--payload", "-"), /only one of --tokens and --payload/],
  [push("--body", "Hi", "--push-type", "sms"), /--push-type/],
  [push("--body", "Hi", "--push-priority", "3"), /--push-priority/],
  [push("--body", "Hi", "--badge", "-1"), /--badge/],
  [push("--body", "Hi", "--expiration", "soon"), /--expiration.*2030/],
  [push("--body", "Hi", "--collapse-id", "x".repeat(65)), /collapseId.*64 bytes/],
  [push("--body", "x".repeat(5000)), /4096/],
  [push("--body", "Hi", "--topic", "no topic"), /topic/],
  [work("--concurrency", "0"), /--concurrency.*at least 1/],
  [work("--max-jobs", "some"), /--max-jobs/],
  [work("--queue", "a b"), /"a b" is not a queue name/],
  [work("--done-codes", "0,256"), /--done-codes.*from 0 to 255/],
  [work("--retry-codes", "75"), /--retry-codes.*75=1m/],
  [work("--retry-codes", "75=soon"), /--retry-codes/],
  [work("--retry-codes", "75=1m,075=2m"), /75 .*unique.*--retry-codes/],
  [work("--done-codes", "0,3", "--permanent-codes", "64,3"), /3 .*--done-codes.*--permanent-codes/],
  [work("--permanent-codes", "75", "--retry-codes", "75=1m"), /75 .*--permanent-codes.*--retry-codes/],
  [work("--permanent-codes", "0"), /0 .*--done-codes \(default: 0.*--permanent-codes/],
  [work("--retry-codes", "0=1m"), /0 .*--done-codes \(default: 0.*--retry-codes/],
  [work("--grace", "-1s"), /--grace/],
  [work("--allow", "convert", "--shell"), /--shell and --allow.* must not be set together/],
  [work("--allow", ""), /--allow\) must be a name/],
  [work("--allow", "convert", "--allow", "./x"), /--allow\) must be a name/],
  [work("--allow-dir", ""), /--allow-dir\) must be an absolute path/],
  [work("--allow-dir", "images"), /--allow-dir\) must be an absolute path/],
  [work("--allow-dir", "/srv/../etc"), /--allow-dir\) must be an absolute path/],
  [work("--allow-env", ""), /--allow-env\) must be a non-empty name/],
  [work("--allow-env", "LC_*"), /--allow-env\) must be a non-empty name/],
  [work("--allow-dir", "/srv/is-not-here"), /--allow-dir must be an existing directory, not \/srv\/is-not-here/],
  [
    work("--allow-dir", "/tmp", "--allow-dir", "/etc/passwd"),
    /--allow-dir must be an existing directory.*\/etc\/passwd/
  ],
  [work("--inherit-env", ""), /--inherit-env\) must be a non-empty name/],
  [work("--inherit-env", "A*B"), /--inherit-env\) must be a non-empty name/],
  [work("--max-timeout", "0"), /--max-timeout.*greater than 0/],
  [work("--max-output", "16777217"), /--max-output.*at most 16777216/],
  [publish("--broker", "./jobs.db", "--", "true"), /for a file write sqlite:\.\/jobs\.db/],
  [["queues", "--sample=-1s"], /--sample.*not negative/],
  [["peek"], /either a queue or --id/],
  [["peek", "mail", "--id", "1"], /either a queue or --id/],
  [["peek", "mail", "--limit", "1001"], /--limit.*at most 1000/],
  [["kick"], /either a queue or --id/],
  [["kick", "mail", "0"], /at least 1/],
  [["pause", "mail", "soon"], /duration.*500ms, 4s, 5m/],
  [["pause", "mail", "0"], /greater than 0/],
  [["delete"], /id/],
  [["queues", "--broker", "memory:"], /memory: exists only in the process that uses it/],
  [["frobnicate"], /Unknown subcommand "frobnicate"/]
]

describe("usage", () => {
  it.live.each(wrong)("%j", ([args, message]) =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run(args)
      assert.strictEqual(code, 1)
      assert.strictEqual(stdout, "")
      assert.match(stderr, /^backq: .*$/)
      assert.match(stderr, message)
    }))

  it.live("says that a job in memory is gone with the command", () =>
    Effect.gen(function*() {
      for (const url of ["memory:", "MEMORY:", " memory:?max-job-size=9000\n"]) {
        const { code, stderr } = yield* run(publish("--broker", url, "--", "true"))
        assert.strictEqual(code, 0)
        assert.match(stderr, /the job is lost when it ends/)
      }
    }))

  it.live("a command without its subcommand shows its help on stderr", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run(["publish"])
      assert.strictEqual(code, 1)
      assert.strictEqual(stdout, "")
      assert.match(stderr, /USAGE/)
    }))

  it.live("--help is a result", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run(work("--help"))
      assert.strictEqual(code, 0)
      assert.strictEqual(stderr, "")
      for (const flag of ["--idle-timeout", "--kill-grace", "--allow-dir", "--broker"]) assert.include(stdout, flag)
    }))

  it.live("an older Node.js is an error", () =>
    Effect.gen(function*() {
      const old =
        "Object.defineProperties(process, { version: { value: 'v20.20.2' }, versions: { value: { node: '20.20.2' } } })"
      const { status, stderr, stdout } = yield* Effect.sync(() =>
        spawnSync(process.execPath, ["--import", `data:text/javascript,${encodeURIComponent(old)}`, bin, "queues"], {
          encoding: "utf8"
        })
      )
      assert.deepStrictEqual([status, stdout, stderr], [
        1,
        "",
        "backq needs Node.js 24 or newer; this is v20.20.2\n"
      ])
    }))

  it.live("--version is the package's", () =>
    Effect.gen(function*() {
      const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"))
      assert.deepStrictEqual(yield* run(["--version"]), { code: 0, stdout: version, stderr: "" })
    }))
})
