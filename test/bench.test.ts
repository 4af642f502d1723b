/** The benchmarks run. What they measure is for a quiet machine. */
import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import * as Bench from "../scripts/bench/install.ts"
import { isMissing } from "./support/beanstalkd.ts"
import * as Http2Servers from "./support/http2Servers.ts"
import { allow, withPrograms } from "./support/limits.ts"
import * as Postgres from "./support/postgres.ts"

allow(withPrograms)

const run = (name: string, ...args: ReadonlyArray<string>) =>
  promisify(execFile)(process.execPath, ["--expose-gc", join(import.meta.dirname, "../scripts/bench", name), ...args])

describe.skipIf(isMissing || !Bench.isInstalled())("benchmarks", () => {
  it("beanstalk.ts prints a table of ratios", async () => {
    const { stdout } = await run("beanstalk.ts", "--jobs", "300", "--rounds", "1")
    for (const title of ["publish, one at a time", "publish, 1000 at once", "work: reserve"]) {
      assert.include(stdout, title)
    }
    assert.match(stdout, /backq, concurrency 64 +\d+ +\d+ %/)
    assert.match(stdout, /fivebeans, one at a time +\d+ +\d+ %/)
    assert.match(stdout, /jackd, one at a time +\d+ +\d+ %/)
  })

  it("sqlite.ts prints a table of ratios", async () => {
    const { stdout } = await run("sqlite.ts", "--jobs", "100", "--rounds", "1", "--durability", "normal")
    assert.match(stdout, /backq worker, concurrency 64 +\d+ +[\d.]+ x/)
    assert.match(stdout, /PersistedQueue +\d+ +[\d.]+ x/)
    assert.match(stdout, /plainjob +\d+ +[\d.]+ x/)
  })

  it.skipIf(Postgres.isMissing)("postgres.ts prints a table of ratios", async () => {
    const small = [
      "--jobs",
      "60",
      "--rounds",
      "1",
      "--waiting",
      "500",
      "--dead",
      "500",
      "--only",
      "put,work,waiting,dead"
    ]
    const { stdout } = await run("postgres.ts", ...small)
    for (const name of ["backq", "pg-boss", "graphile-worker", "BullMQ"]) {
      assert.match(stdout, new RegExp(`^${name} +\\d+ +\\d+ % +[\\d.]+ +[\\d.]+$`, "m"))
    }
    assert.match(stdout, /backq, concurrency 64 +\d+ +\d+ %/)
    assert.match(stdout, /500 jobs wait +\d+ +\d+ %/)
    assert.match(stdout, /^graphile-worker +\d+ +\d+ +\d+ %$/m)
  })

  it.skipIf(Http2Servers.isMissing("nghttpd"))("http2.ts prints a table of ratios", async () => {
    const { stdout } = await run("http2.ts", "--requests", "300", "--rounds", "1", "--window", "20")
    assert.match(stdout, /backq, submit +\d+ +[\d.]+ x +[\d.]+/)
  })

  it.skipIf(Http2Servers.isMissing("nghttpd"))("apns.ts prints a table of ratios", async () => {
    const { stdout } = await run("apns.ts", "--pushes", "200", "--rounds", "1", "--window", "20")
    assert.match(stdout, /backq Apns.sendAll +\d+ +[\d.]+ x +[\d.]+/)
    assert.match(stdout, /@parse\/node-apn +\d+ +[\d.]+ x/)
    assert.match(stdout, /apns2 +\d+ +[\d.]+ x/)
  })

  it.skipIf(Http2Servers.isMissing("nghttpd") || Http2Servers.isMissing("nginx"))(
    "push.ts prints a table of ratios",
    async () => {
      const { stdout } = await run("push.ts", "--messages", "200", "--rounds", "1")
      assert.match(stdout, /backq Fcm.sendAll +\d+ +[\d.]+ x +[\d.]+/)
      assert.match(stdout, /firebase-admin sendEach +\d+ +[\d.]+ x/)
      assert.match(stdout, /backq WebPush.sendAll +\d+ +[\d.]+ x/)
      assert.match(stdout, /web-push sendNotification +\d+ +[\d.]+ x/)
      assert.match(stdout, /backq WebPush.sendAll, reuseKeys +\d+ +[\d.]+ x/)
    }
  )

  it.skipIf(Http2Servers.isMissing("nghttpd"))("push.ts reports memory of each kind of push", async () => {
    const { stdout } = await run("push.ts", "--memory", "200")
    assert.match(stdout, /Fcm.sendAll\n[^]+200 pushes +heap +[\d.]+ MiB/)
    assert.match(stdout, /WebPush.sendAll\n[^]+200 pushes +heap +[\d.]+ MiB/)
    assert.match(stdout, /WebPush.sendAll, reuseKeys\n[^]+200 pushes +heap +[\d.]+ MiB/)
  })

  it("memory.ts reports every tenth of the way", async () => {
    const { stdout } = await run("memory.ts", "--jobs", "2000")
    assert.match(stdout, /2000 jobs +heap +[\d.]+ MiB/)
  })

  it("--write puts the ratios of a run into the page", async () => {
    const folder = mkdtempSync(join(tmpdir(), "backq-bench-page-"))
    try {
      const page = join(folder, "page.md")
      copyFileSync(join(import.meta.dirname, "../docs/benchmarks.md"), page)
      await promisify(execFile)(process.execPath, [
        join(import.meta.dirname, "../scripts/bench.ts"),
        "memory",
        "--jobs",
        "2000",
        `--write=${page}`
      ])
      const text = readFileSync(page, "utf8")
      assert.match(text, /, load [\d.]+ before the run: `npm run bench -- memory --jobs 2000`\n/)
      assert.match(text, /^\| resident set \| \d\.\d\d x \|$/m)
      assert.include(text, "<!-- bench sqlite -->\n")
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it.skipIf(Postgres.isMissing)("idle.ts reports CPU and latency on PostgreSQL", async () => {
    const { stdout } = await run("idle.ts", "--broker", "postgres", "--seconds", "1", "--jobs", "3")
    assert.match(stdout, /CPU over 1 s of an empty queue: [\d.]+ s, [\d.]+ % of a core; of the server [\d.]+ s/)
    assert.match(stdout, /median [\d.]+ ms/)
  })

  it("idle.ts reports CPU and latency", async () => {
    const { stdout } = await run("idle.ts", "--seconds", "1", "--jobs", "3")
    assert.match(stdout, /CPU over 1 s of an empty queue: [\d.]+ s/)
    assert.match(stdout, /median [\d.]+ ms/)
  })

  it("latency.ts prints what a publish adds", async () => {
    const { stdout } = await run("latency.ts", "--requests", "20", "--durability", "normal")
    assert.match(stdout, /one publish to beanstalkd[^]+^backq +-?\d+ +-?\d+$/m)
    assert.match(stdout, /one publish in a SQLite file[^]+^plainjob +-?\d+ +-?\d+$/m)
  })
})
