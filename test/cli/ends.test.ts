/**
 * Every command, with a stdout that is closed, full or slow, and with the
 * signals that end it: what it says then, with which code it ends, and that
 * nothing of it is left.
 */
import { assert, describe, it, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import { spawn, type StdioOptions } from "node:child_process"
import { existsSync, openSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Broker, putRequest } from "../../src/Broker.ts"
import * as BrokerUrl from "../../src/BrokerUrl.ts"
import * as Envelope from "../../src/Envelope.ts"
import * as Tail from "../../src/tail/Tail.ts"
import { ApnsSimulator, Key, Script } from "../../src/testing/apns/index.ts"
import { folder } from "../beanstalk/servers.ts"
import { commandsBelow } from "./help.ts"
import { bin } from "./program.ts"

vi.setConfig({ testTimeout: 60_000 })

const token = "a1".repeat(32)

const put = (queue: string, payload: unknown = {}) =>
  Effect.gen(function*() {
    const broker = yield* Broker
    const body = Envelope.encode({ backq: 1, id: "an-id", job: "mail", payload })
    return yield* broker.put(queue, Result.getOrThrow(putRequest(body)))
  })

/** Flags for a simulator of APNs that answers as a script says. */
const simulator = Effect.fnUntraced(function*(path: string, script: Script.Script = {}) {
  const key = yield* Key.makeKey({ bundleIds: ["com.example.app"] })
  const { ca, host, port } = yield* ApnsSimulator.make({ keys: [key], script })
  const files = { key: join(path, `AuthKey_${key.keyId}.p8`), ca: join(path, "ca.pem") }
  writeFileSync(files.key, Redacted.value(key.key))
  writeFileSync(files.ca, ca)
  return [
    ...["--key", files.key, "--team-id", key.teamId, "--topic", "com.example.app", "--environment", "sandbox"],
    ...["--host", host, "--port", String(port), "--ca", files.ca]
  ]
})

/** A file with jobs, an APNs for those who need one, and a worker that tells what becomes of jobs. */
const world = Effect.fnUntraced(function*(name: string, script?: Script.Script) {
  const path = yield* folder
  const url = `sqlite:${join(path, "jobs.db")}`
  const ids = yield* Effect.gen(function*() {
    const { buryJob } = yield* Broker
    for (const queue of ["mail", "from", "drained", "paused"]) yield* put(queue)
    yield* buryJob(yield* put("kicked"), "no reason")
    yield* buryJob(yield* put("from"), "no reason")
    return { buried: yield* put("some"), deleted: yield* put("some") }
  }).pipe(Effect.provide(BrokerUrl.layer(url)))

  const apns = name === "push" || name === "work apns" ? yield* simulator(path, script) : []
  yield* Layer.build(Tail.layerOptions({ folder: join(path, "backq") })).pipe(
    Effect.flatMap((tail) =>
      Tail.offer({
        _tag: "Done",
        queue: "mail",
        jobId: ids.buried,
        job: "mail",
        id: "an-id",
        attempt: 1,
        duration: 1,
        result: undefined
      }).pipe(Effect.provide(tail), Effect.repeat(Schedule.spaced("50 millis")), Effect.forkScoped)
    )
  )
  const env = { ...process.env, BACKQ_BROKER: url, XDG_RUNTIME_DIR: path }
  return { path, url, env, ids, apns }
})

type World = Effect.Success<ReturnType<typeof world>>

interface Case {
  readonly args: (world: World) => ReadonlyArray<string>
  /** What it has done when it can't be printed any more. */
  readonly done?: RegExp
  /** It prints nothing on stdout. */
  readonly isSilent?: true
}

const cases: Record<string, Case> = {
  "work process": { args: () => ["--idle-timeout", "0s", "--queue", "none"], isSilent: true },
  "work apns": { args: ({ apns }) => ["--idle-timeout", "0s", "--queue", "none", ...apns], isSilent: true },
  "publish process": { args: () => ["--queue", "new", "--", "true"], done: /^job \d+ was accepted$/ },
  "publish apns": { args: () => ["--queue", "new", "--body", "Hi", "--token", token], done: /^accepted: \d+$/ },
  push: {
    args: ({ apns }) => ["--body", "Hi", "--token", token, ...apns],
    done: /^the pushes were accepted: see above$/
  },
  queues: { args: () => ["--sample", "0"] },
  stats: { args: () => [] },
  watch: { args: () => ["--json", "--interval", "50ms"] },
  peek: { args: () => ["mail"] },
  tail: { args: () => ["--queue", "mail"] },
  kick: { args: () => ["kicked"], done: /^kicked: 1 job$/ },
  bury: { args: ({ ids }) => [ids.buried], done: /^buried: \d+$/ },
  move: { args: () => ["from", "to", "--json"], done: /^moved: 1 job$/ },
  delete: { args: ({ ids }) => [ids.deleted, "--json"], done: /^deleted: \d+$/ },
  drain: { args: () => ["drained", "--yes"], done: /^deleted: 1 job$/ },
  pause: { args: () => ["paused", "10m"], done: /^paused is paused for / },
  resume: { args: () => ["mail"], done: /^mail goes on$/ },
  doctor: { args: () => ["--json"] },
  bench: { args: () => ["--jobs", "100"] },
  "apns-simulator": { args: () => ["--port", "0"] }
}

/** Starts the program; it is gone with its scope. */
const start = (args: ReadonlyArray<string>, env: NodeJS.ProcessEnv, stdio: StdioOptions) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, [bin, ...args], { env, stdio })
      let stderr = ""
      child.stderr?.setEncoding("utf8").on("data", (text) => stderr += text)
      const ended = new Promise<number | null>((resolve) => child.once("close", resolve))
      return { child, stderr: () => stderr, ended: Effect.promise(() => ended) }
    }),
    ({ child, ended }) => Effect.andThen(Effect.sync(() => child.kill("SIGKILL")), ended)
  )

const closed = (args: ReadonlyArray<string>, { env }: World) =>
  Effect.gen(function*() {
    const { child, ended, stderr } = yield* start(args, env, ["ignore", "pipe", "pipe"])
    child.stdout!.destroy()
    return { code: yield* ended, stderr: stderr() }
  })

const full = (args: ReadonlyArray<string>, { env }: World) =>
  Effect.gen(function*() {
    const device = openSync("/dev/full", "w")
    const { ended, stderr } = yield* start(args, env, ["ignore", device, "pipe"])
    return { code: yield* ended, stderr: stderr() }
  })

const without = (stderr: string) => stderr.split("\n").slice(0, -1)

it.live("the table has every command", () =>
  Effect.gen(function*() {
    assert.sameMembers(Object.keys(cases), yield* commandsBelow())
  }))

describe.concurrent("a stdout that is closed", () => {
  it.live.each(Object.entries(cases))("%s", ([name, { args, done, isSilent }]) =>
    Effect.gen(function*() {
      const one = yield* world(name)
      const { code, stderr } = yield* closed([...name.split(" "), ...args(one)], one)
      if (isSilent) return assert.strictEqual(code, 0, stderr)
      assert.strictEqual(code, 141, stderr)
      if (done === undefined) return assert.strictEqual(stderr, "")
      const last = without(stderr).at(-1)!
      assert.isTrue(last.startsWith("backq: stdout was closed; but "), stderr)
      assert.match(last.replace("backq: stdout was closed; but ", ""), done)
    }))
})

describe.skipIf(!existsSync("/dev/full")).concurrent("a stdout that is full", () => {
  it.live.each(Object.entries(cases))("%s", ([name, { args, done, isSilent }]) =>
    Effect.gen(function*() {
      const one = yield* world(name)
      const { code, stderr } = yield* full([...name.split(" "), ...args(one)], one)
      if (isSilent) return assert.strictEqual(code, 0, stderr)
      assert.strictEqual(code, 7, stderr)
      const [, what] = /^backq: stdout can't be written: ENOSPC[^;]*(?:; but (.*))?$/.exec(without(stderr).at(-1)!)!
      if (done === undefined) assert.deepStrictEqual([what, without(stderr).length], [undefined, 1])
      else assert.match(what!, done)
    }))
})
