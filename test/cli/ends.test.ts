/**
 * Every command, with a stdout that is closed, full or slow, and with the
 * signals that end it: what it says then, with which code it ends, and that
 * nothing of it is left.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import { execFileSync, spawn, type StdioOptions } from "node:child_process"
import { closeSync, constants, existsSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs"
import { join } from "node:path"
import { Broker, putRequest } from "../../src/Broker.ts"
import * as BrokerUrl from "../../src/brokers/url.ts"
import * as Envelope from "../../src/Envelope.ts"
import { Inspector } from "../../src/Inspector.ts"
import * as ProcessGroup from "../../src/process/processGroup.ts"
import * as ProcessJob from "../../src/process/ProcessJob.ts"
import * as Publisher from "../../src/Publisher.ts"
import { VapidKey } from "../../src/push/webpush/index.ts"
import * as Tail from "../../src/tail/Tail.ts"
import { ApnsSimulator, Key, Script } from "../../src/testing/apns/index.ts"
import { FcmSimulator } from "../../src/testing/fcm/index.ts"
import { WebPushSimulator } from "../../src/testing/webpush/index.ts"
import { hasProc, isRunning, listens, resting, sendSignal } from "../support/children.ts"
import { eventually } from "../support/eventually.ts"
import { folder } from "../support/folder.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { commandsBelow } from "./help.ts"
import { environment, executable } from "./program.ts"

allow(withPrograms)

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
    ["--key", files.key, "--team-id", key.teamId, "--topic", "com.example.app", "--environment", "sandbox"],
    ["--host", host, "--port", String(port), "--ca", files.ca]
  ].flat()
})

/** Flags for a simulator of a push service for browsers, and for a file with a subscription. */
const webSimulator = Effect.fnUntraced(function*(path: string) {
  const { allow, ca, subscribe } = yield* WebPushSimulator.make({ name: "localhost" })
  const { privateKey } = yield* VapidKey.generate
  const files = { key: join(path, "vapid.key"), ca: join(path, "web.pem"), subscriptions: join(path, "web.json") }
  writeFileSync(files.key, Redacted.value(privateKey))
  writeFileSync(files.ca, ca)
  writeFileSync(files.subscriptions, JSON.stringify(yield* subscribe()))
  return {
    to: ["--subscriptions", files.subscriptions, "--ttl", "1h", "--body", "Hi"],
    by: [
      ["--key", files.key, "--subject", "mailto:ops@example.com", "--ca", files.ca],
      ["--allow", allow, "--allow-address", "127.0.0.1"]
    ].flat()
  }
})

/** Flags for a simulator of FCM. */
const fcmSimulator = Effect.fnUntraced(function*(path: string) {
  const { ca, host, port, serviceAccount } = yield* FcmSimulator.make()
  const files = { account: join(path, "account.json"), ca: join(path, "fcm.pem") }
  writeFileSync(files.account, Redacted.value(serviceAccount()))
  writeFileSync(files.ca, ca)
  return ["--account", files.account, "--host", host, "--port", String(port), "--ca", files.ca]
})

/** A file with jobs, an APNs for the commands that need one, and a worker that prints the results of jobs. */
const world = Effect.fnUntraced(function*(name: string, script?: Script.Script) {
  const path = yield* folder
  const url = `sqlite:${join(path, "jobs.db")}`
  const ids = yield* Effect.gen(function*() {
    const { buryJob } = yield* Inspector
    for (const queue of ["mail", "from", "drained", "paused"]) yield* put(queue)
    yield* buryJob(yield* put("kicked"), "no reason")
    yield* buryJob(yield* put("from"), "no reason")
    return { buried: yield* put("some"), deleted: yield* put("some") }
  }).pipe(Effect.provide(BrokerUrl.layer(url)))

  const apns = name === "push apns" || name === "work apns" ? yield* simulator(path, script) : []
  const fcm = name === "push fcm" || name === "work fcm" ? yield* fcmSimulator(path) : []
  const web = name.endsWith(" webpush") ? yield* webSimulator(path) : { to: [], by: [] }
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
  const env = { ...environment(), BACKQ_BROKER: url, XDG_RUNTIME_DIR: path }
  return { path, url, env, ids, apns, fcm, web }
})

type World = Effect.Success<ReturnType<typeof world>>

interface Case {
  readonly args: (world: World) => ReadonlyArray<string>
  /** The work that is done when printing fails. */
  readonly done?: RegExp
  /** It prints nothing on stdout. */
  readonly isSilent?: true
}

const cases: Record<string, Case> = {
  "work process": { args: () => ["--idle-timeout", "0s", "--queue", "none"], isSilent: true },
  "work apns": { args: ({ apns }) => ["--idle-timeout", "0s", "--queue", "none", ...apns], isSilent: true },
  "publish process": { args: () => ["--queue", "new", "--", "true"], done: /^job \d+ was accepted$/ },
  "publish apns": { args: () => ["--queue", "new", "--body", "Hi", "--token", token], done: /^accepted: \d+$/ },
  "push apns": {
    args: ({ apns }) => ["--body", "Hi", "--token", token, ...apns],
    done: /^the pushes were accepted: see above$/
  },
  "work fcm": { args: ({ fcm }) => ["--idle-timeout", "0s", "--queue", "none", ...fcm], isSilent: true },
  "publish fcm": { args: () => ["--queue", "new", "--body", "Hi", "--token", token], done: /^accepted: \d+$/ },
  "push fcm": {
    args: ({ fcm }) => ["--body", "Hi", "--token", token, ...fcm],
    done: /^the pushes were accepted: see above$/
  },
  "work webpush": { args: ({ web }) => ["--idle-timeout", "0s", "--queue", "none", ...web.by], isSilent: true },
  "publish webpush": { args: ({ web }) => ["--queue", "new", ...web.to], done: /^accepted: \d+$/ },
  "push webpush": {
    args: ({ web }) => [...web.to, ...web.by],
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
  transfer: {
    args: ({ path }) => ["some", "--to", `sqlite:${join(path, "other.db")}`],
    done: /^transferred: \d jobs$/
  },
  delete: { args: ({ ids }) => [ids.deleted, "--json"], done: /^deleted: \d+$/ },
  drain: { args: () => ["drained", "--yes"], done: /^deleted: 1 job$/ },
  pause: { args: () => ["paused", "10m"], done: /^paused is paused for / },
  resume: { args: () => ["mail"], done: /^mail is resumed$/ },
  doctor: { args: () => ["--json"] },
  migrate: { args: () => ["--print", "--broker", "postgres://localhost/app"] },
  bench: { args: () => ["--jobs", "100"] },
  "vapid-keys": { args: () => [] },
  "apns-simulator": { args: () => ["--port", "0"] },
  "fcm-simulator": { args: () => ["--port", "0"] },
  "webpush-simulator": { args: () => ["--port", "0"] }
}

/** Starts the program. It ends with its scope. */
const start = (args: ReadonlyArray<string>, env: NodeJS.ProcessEnv, stdio: StdioOptions) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, [executable, ...args], { env, stdio })
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

// -----------------------------------------------------------------------------
// Slow readers
// -----------------------------------------------------------------------------

/** Runs a shell line with `backq` in it. */
const shell = (line: string, { env }: World) =>
  Effect.gen(function*() {
    const script = `backq() { "${process.execPath}" "${executable}" "$@"; }; ${line}`
    const { child, ended, stderr } = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const child = spawn("sh", ["-c", script], { env, stdio: ["ignore", "pipe", "pipe"], detached: true })
        let stderr = ""
        child.stderr.setEncoding("utf8").on("data", (text) => stderr += text)
        return {
          child,
          stderr: () => stderr,
          ended: new Promise<number | null>((resolve) => child.once("close", resolve))
        }
      }),
      // processes that the line started end with it
      ({ child }) => Effect.sync(() => ProcessGroup.signal(child.pid!, "SIGKILL"))
    )
    let stdout = ""
    child.stdout.setEncoding("utf8").on("data", (text) => stdout += text)
    return { code: yield* Effect.promise(() => ended), stdout, stderr: stderr() }
  })

/** More than a megabyte when it is printed: each of these characters takes six there. */
const putLarge = (url: string) =>
  Effect.provide(
    Effect.forEach(Array.from({ length: 10 }), () => put("large", "\u009b".repeat(20_000))),
    BrokerUrl.layer(url)
  )

it.live("an output file that takes only a part is an error", () =>
  Effect.gen(function*() {
    const one = yield* world("peek")
    yield* putLarge(one.url)
    const file = join(one.path, "out")
    const { stderr, stdout } = yield* shell(`ulimit -f 1000; backq peek large --json > ${file}; echo $?`, one)
    assert.strictEqual(stdout, "7\n")
    assert.match(stderr, /^backq: stdout can't be written: EFBIG[^\n]*\n$/)
  }))

describe.concurrent("a slow reader", () => {
  it.live("gets all of 1 MB, even if the command is done long before", () =>
    Effect.gen(function*() {
      const one = yield* world("peek")
      yield* putLarge(one.url)
      const { stderr, stdout } = yield* shell("{ backq peek large --json; echo $? >&2; } | { sleep 1; cat; }", one)
      assert.strictEqual(stderr, "0\n")
      assert.isAbove(stdout.length, 1_000_000)
      assert.match(stdout, /^[\x20-\x7e]*\n$/)
      const { jobs } = JSON.parse(stdout) as { jobs: ReadonlyArray<{ envelope: { payload: string } }> }
      assert.deepStrictEqual(
        jobs.map(({ envelope }) => envelope.payload.length),
        Array.from({ length: 10 }, () => 20_000)
      )
    }))

  it.live("gets the last lines of a log, too", () =>
    Effect.gen(function*() {
      const one = yield* world("work process")
      yield* Effect.forEach(Array.from({ length: 600 }), () => put("unknown"), { concurrency: 50 }).pipe(
        Effect.provide(BrokerUrl.layer(one.url))
      )
      const { stdout } = yield* shell(
        "backq work process --queue unknown --max-jobs 600 2>&1 >/dev/null | { sleep 1; cat; }",
        one
      )
      assert.isAbove(stdout.length, 65_536)
      assert.match(stdout, /worker stopped: 0 done, 600 buried[^\n]*\n$/)
    }))
})

describe.skipIf(!existsSync("/proc/self/fd")).concurrent("a reader that leaves", () => {
  it.live.each([
    ["watch in lines, of idle queues", "watch --interval 50ms"],
    ["watch that looks once an hour", "watch --json --interval 1h"],
    ["a simulator without pushes", "apns-simulator --port 0 --json"]
  ])("ends %s", ([, line]) =>
    Effect.gen(function*() {
      const { stderr } = yield* shell(`{ backq ${line}; echo $? >&2; } | head -1`, yield* world("watch"))
      assert.strictEqual(stderr, "141\n")
    }))
})

it.live("a worker goes on without its log", () =>
  Effect.gen(function*() {
    const one = yield* world("work process")
    const file = join(one.path, "ran")
    const worker = yield* start(["work", "process"], one.env, ["ignore", "pipe", "pipe"])
    yield* eventually("the worker starts", () => worker.stderr().includes("worker started"))
    worker.child.stdout!.destroy()
    worker.child.stderr!.destroy()
    for (let i = 1; i <= 3; i++) {
      const command = ["sh", "-c", `echo . >> ${file}`]
      yield* Effect.provide(
        Publisher.publish(ProcessJob.job, { command: command as [string, ...Array<string>] }),
        Publisher.layer.pipe(Layer.provide(BrokerUrl.layer(one.url)))
      )
      yield* eventually("the job runs", () => existsSync(file) && readFileSync(file, "utf8") === ".\n".repeat(i))
    }
    worker.child.kill("SIGTERM")
    assert.strictEqual(yield* worker.ended, 0)
  }))

// -----------------------------------------------------------------------------
// Signals
// -----------------------------------------------------------------------------

/** Commands that have something to wait for. */
const waiting: Record<string, { readonly args: Case["args"]; readonly asked: number }> = {
  "work process": { args: () => [], asked: 0 },
  "work apns": { args: ({ apns }) => apns, asked: 0 },
  "work fcm": { args: ({ fcm }) => fcm, asked: 0 },
  "work webpush": { args: ({ web }) => web.by, asked: 0 },
  "publish process": { args: () => ["--input-file", "-", "--", "cat"], asked: 130 },
  "push apns": { args: ({ apns }) => ["--body", "Hi", "--token", token, "--drain-timeout", "0", ...apns], asked: 130 },
  watch: { args: () => [], asked: 0 },
  tail: { args: () => ["--queue", "none"], asked: 0 },
  bench: { args: () => ["--jobs", "100000000"], asked: 130 },
  "apns-simulator": { args: () => ["--port", "0"], asked: 0 },
  "fcm-simulator": { args: () => ["--port", "0"], asked: 0 },
  "webpush-simulator": { args: () => ["--port", "0"], asked: 0 }
}

/** Whether a process listens to SIGQUIT, SIGHUP and SIGTERM. */
const isListening = (pid: number): boolean =>
  (["SIGHUP", "SIGQUIT", "SIGTERM"] as const).every((signal) => listens(pid, signal))

const silent: Script.Script = { rules: [{ do: Script.silence, share: 1 }] }

const waits = Effect.fnUntraced(function*(name: string, args: Case["args"]) {
  const one = yield* world(name, silent)
  const program = yield* start([...name.split(" "), ...args(one)], one.env, ["pipe", "pipe", "pipe"])
  program.child.stdout!.resume()
  yield* eventually("it listens to signals", () => isListening(program.child.pid!))
  return program
})

const signals: Record<string, ReadonlyArray<NodeJS.Signals>> = {
  SIGHUP: ["SIGHUP"],
  "SIGTERM twice": ["SIGTERM", "SIGTERM"],
  SIGQUIT: ["SIGQUIT"]
}

for (const [title, names] of Object.entries(signals)) {
  describe.skipIf(!hasProc).concurrent(`${title} ends`, () => {
    it.live.each(Object.entries(waiting))("%s", ([name, { args, asked }]) =>
      Effect.gen(function*() {
        const { child, ended, stderr } = yield* waits(name, args)
        for (const signal of names) child.kill(signal)
        const code = yield* ended
        if (title === "SIGHUP") assert.strictEqual(code, asked, stderr())
        else assert.include([130, asked], code, stderr())
      }))
  })
}

/** A worker whose process ignores SIGTERM, with a child of its own; and that process. */
const stubborn = Effect.fnUntraced(function*(...flags: ReadonlyArray<string>) {
  const one = yield* world("work process")
  const file = join(one.path, "pids")
  const worker = yield* start(["work", "process", "--queue", "stubborn", ...flags], one.env, ["ignore", "pipe", "pipe"])
  const line = `trap "" TERM HUP INT; sleep 300 & echo $$ $! > ${file}; wait`
  const publisher = Publisher.layer.pipe(Layer.provide(BrokerUrl.layer(one.url)))
  yield* Effect.provide(
    Publisher.publish(ProcessJob.job, { command: ["sh", "-c", line] }, { queue: "stubborn" }),
    publisher
  )
  yield* eventually("the process runs", () => existsSync(file) && readFileSync(file, "utf8").endsWith("\n"))
  return { one, worker, pids: readFileSync(file, "utf8").trim().split(" ").map(Number) }
})

describe.skipIf(!hasProc).concurrent(
  "no process is left to run beside the next run of its job",
  () => {
    it.live.each(
      [
        ["SIGHUP, after the grace time", ["SIGHUP"], ["--grace", "50ms", "--kill-grace", "50ms"], 0],
        ["SIGTERM, after the grace time", ["SIGTERM"], ["--grace", "50ms", "--kill-grace", "50ms"], 0],
        ["SIGTERM twice", ["SIGTERM", "SIGTERM"], ["--grace", "10m"], 130],
        ["SIGHUP, then SIGINT", ["SIGHUP", "SIGINT"], ["--grace", "10m"], 130],
        ["SIGQUIT", ["SIGQUIT"], ["--grace", "10m"], 130]
      ] as const
    )("%s", ([, names, flags, code]) =>
      Effect.gen(function*() {
        const { pids, worker } = yield* stubborn(...flags)
        for (const name of names) yield* sendSignal(worker.child.pid!, name)
        assert.strictEqual(yield* worker.ended, code, worker.stderr())
        yield* eventually("the processes are gone", () => !pids.some(isRunning))
      }))

    it.live("a second SIGHUP, as shells and terminals send it, does not cut the grace time short", () =>
      Effect.gen(function*() {
        const { one, worker } = yield* stubborn("--grace", "10m")
        for (let i = 0; i < 3; i++) worker.child.kill("SIGHUP")
        const { code } = yield* shell("backq queues stubborn --sample 0 --json", one)
        assert.strictEqual(code, 0)
        assert.isNull(worker.child.exitCode)
      }))
  }
)

// -----------------------------------------------------------------------------
// Readers that are stuck
// -----------------------------------------------------------------------------

/** A named pipe that takes no more, and that somebody has open for reading. */
const fullPipe = (path: string): number => {
  const name = join(path, "pipe")
  execFileSync("mkfifo", [name])
  const pipe = openSync(name, constants.O_RDWR | constants.O_NONBLOCK)
  const fill = (size: number) => Result.isSuccess(Result.try(() => writeSync(pipe, Buffer.alloc(size))))
  for (const size of [4096, 1]) while (fill(size));
  return pipe
}

describe.skipIf(!hasProc).concurrent(
  "a signal ends a command that waits for a stuck reader",
  () => {
    it.live.each(
      [
        ["a command", "stdout", "queues --sample 0", "SIGTERM", [130]],
        ["a command without end", "stdout", "watch --json --interval 50ms", "SIGHUP", [0]],
        ["a simulator", "stdout", "apns-simulator --port 0", "SIGTERM", [0]],
        ["a command that prints its version", "stdout", "--version", "SIGINT", [130]],
        ["help", "stdout", "work process --help", "SIGINT", [130]],
        ["completions", "stdout", "--completions bash", "SIGINT", [130]],
        ["a wrong invocation", "stderr", "nonsense", "SIGTERM", [1, 130]],
        ["a failure", "stderr", "peek none", "SIGTERM", [5, 130]],
        ["a worker", "stderr", "work process --queue none", "SIGTERM", [0]]
      ] as const
    )("%s", ([, stream, line, signal, codes]) =>
      Effect.gen(function*() {
        const one = yield* world("watch")
        const pipe = yield* Effect.acquireRelease(
          Effect.sync(() => fullPipe(one.path)),
          (pipe) => Effect.sync(() => closeSync(pipe))
        )
        const stdio = stream === "stdout" ? [pipe, "ignore"] as const : ["ignore", pipe] as const
        const { child, ended } = yield* start(line.split(" "), one.env, ["ignore", ...stdio])
        yield* eventually("it listens to signals", () => isListening(child.pid!))
        yield* resting(child.pid!)
        child.kill(signal)
        const code = yield* Effect.timeoutOption(ended, "20 seconds")
        assert.include([...codes], Option.getOrUndefined(code))
      }))
  }
)
