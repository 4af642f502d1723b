/** `backq work process` with real processes and a real beanstalkd: the jobs that run, are buried, and survive. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import * as Net from "node:net"
import { join } from "node:path"
import { JobId } from "../../src/Broker.ts"
import * as BeanstalkBroker from "../../src/brokers/beanstalk/BeanstalkBroker.ts"
import * as ProcessJob from "../../src/process/ProcessJob.ts"
import type { ProcessPayload } from "../../src/process/ProcessPayload.ts"
import * as Publisher from "../../src/Publisher.ts"
import { beanstalkd, real } from "../support/beanstalkd.ts"
import { eventually } from "../support/eventually.ts"
import { folder } from "../support/folder.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { freePort, scripted } from "../support/network.ts"
import { run } from "./command.ts"
import { log, look, run as runProgram, worker } from "./program.ts"

allow(withPrograms)

const publisherOn = (port: number) => Publisher.layer.pipe(Layer.provide(BeanstalkBroker.layer({ port })))

const publishAll = (port: number, payloads: ReadonlyArray<ProcessPayload>, options: Publisher.PublishOptions = {}) =>
  Effect.gen(function*() {
    for (const result of yield* Publisher.publishAll(ProcessJob.job, payloads, options)) {
      yield* Effect.fromResult(result)
    }
  }).pipe(Effect.provide(publisherOn(port)))

const linesOf = (file: string) => existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(0, -1) : []

const isRunning = (pid: number) => Result.isSuccess(Result.try(() => process.kill(pid, 0)))

/** Puts a body by hand, as any language can. */
const rawPut = (port: number, queue: string, body: string) =>
  Effect.callback<string>((resume) => {
    const socket = Net.connect(port, "127.0.0.1")
    let answer = ""
    socket.write(`use ${queue}\r\nput 1024 0 60 ${Buffer.byteLength(body)}\r\n${body}\r\n`)
    socket.setEncoding("utf8").on("data", (text) => {
      answer += text
      if (!/INSERTED \d+\r\n$/.test(answer)) return
      socket.destroy()
      resume(Effect.succeed(answer))
    })
  })

// each case starts programs, which takes seconds on a busy machine
describe.concurrent("work process", () => {
  real(
    "a job published from another terminal runs, at once or after its delay, and leaves the queue empty",
    () =>
      Effect.gen(function*() {
        const { port } = yield* beanstalkd()
        const file = join(yield* folder, "times")
        const broker = `beanstalk://127.0.0.1:${port}`
        yield* worker(port)
        const command = ["--", "sh", "-c", `echo $(date +%s%N) >> ${file}`]
        assert.match((yield* run(["publish", "process", "--broker", broker, ...command])).stdout, /^\d+$/)
        yield* eventually("the file grows", () => linesOf(file).length === 1)
        const later = yield* run(["publish", "process", "--broker", broker, "--delay", "2s", ...command])
        assert.strictEqual(later.code, 0)
        const queue = yield* look(port)
        assert.strictEqual((yield* queue.inspector.statsJob(JobId.make(later.stdout.trim()))).state, "delayed")
        assert.lengthOf(linesOf(file), 1)
        yield* eventually("the file grows again", () => linesOf(file).length === 2)
        yield* eventually("the job is settled", Effect.map(queue.inspector.stats, ({ reserved }) => reserved === 0))
        const stats = yield* run(["stats", "--broker", broker])
        assert.match(stats.stdout, /none: no job is ready, delayed, reserved or buried/)
        assert.match(stats.stdout, /^process +0 +0 +0 +0 +1 +- +2$/m)
      })
  )

  real("a job put by hand runs; what can't be read is buried with a reason in the log", () =>
    Effect.gen(function*() {
      const { port } = yield* beanstalkd()
      const file = join(yield* folder, "done")
      const program = yield* worker(port)
      yield* rawPut(port, "process", "\0garbage")
      yield* rawPut(port, "process", JSON.stringify({ backq: 1, id: "a", job: "unheard-of", payload: {} }))
      yield* rawPut(port, "process", JSON.stringify({ backq: 1, id: "b", job: "process", payload: { command: 7 } }))
      yield* rawPut(
        port,
        "process",
        JSON.stringify({ backq: 1, id: "c", job: "process", payload: { command: "date" } })
      )
      yield* rawPut(
        port,
        "process",
        JSON.stringify({ backq: 1, id: "d", job: "process", version: 1, payload: { command: ["touch", file] } })
      )
      yield* eventually("the good one runs", () => existsSync(file))
      const buried = () => log(program).filter(({ message }) => message.startsWith("buried: "))
      yield* eventually("the others are buried", () => buried().length === 4)
      for (const reason of [/not JSON/, /unheard-of/, /command/, /allows no shell lines/]) {
        assert.isTrue(buried().some(({ level, message }) => level === "ERROR" && reason.test(message)), String(reason))
      }
      const { inspector } = yield* look(port)
      yield* eventually("all are settled", Effect.map(inspector.stats, ({ reserved }) => reserved === 0))
      const stats = yield* inspector.statsQueue("process")
      assert.deepStrictEqual([stats.buried, stats.ready, stats.total], [4, 0, 5])
    }))

  real("logs one line per finished job, and takes no job from another queue", () =>
    Effect.gen(function*() {
      const { port } = yield* beanstalkd()
      yield* publishAll(port, [{ command: ["true"] }])
      for (const queue of ["default", "b"]) yield* publishAll(port, [{ command: ["true"] }], { queue })
      const program = yield* worker(port, "--max-jobs", "1")
      const { code, stdout } = yield* program.ended
      assert.deepStrictEqual({ code, stdout }, { code: 0, stdout: "" })
      const [done] = log(program).filter(({ message }) => /^done in \d+ ms$/.test(message))
      assert.deepInclude(done!.annotations, { job: "process", queue: "process", attempt: 1 })
      const { inspector } = yield* look(port)
      assert.strictEqual((yield* inspector.statsQueue("default")).ready, 1)
      assert.strictEqual((yield* inspector.statsQueue("b")).ready, 1)
    }))

  real("flags say what may run and what exit codes mean", () =>
    Effect.gen(function*() {
      const { port } = yield* beanstalkd()
      const file = join(yield* folder, "line")
      yield* publishAll(port, [
        { command: `echo $A > ${file}`, env: { A: "set" } },
        { command: ["sh", "-c", "exit 3"] },
        { command: ["sh", "-c", "exit 64"] },
        { command: ["sh", "-c", "exit 75"] },
        { command: ["sh", "-c", "exit 1"] },
        { command: ["true"], cwd: "/usr" },
        { command: ["true"], env: { LD_PRELOAD: "x" } },
        { command: ["true"], timeout: "1 hour" },
        { command: ["true"], detach: true }
      ])
      const program = yield* worker(
        port,
        ..."--shell --done-codes 0,3 --permanent-codes 64 --retry-codes 75=1h --retry-times 0".split(" "),
        ..."--allow-dir /tmp --allow-env A --max-timeout 1m --max-jobs 9 --concurrency 4".split(" ")
      )
      assert.strictEqual((yield* program.ended).code, 0)
      assert.strictEqual(readFileSync(file, "utf8"), "set\n")
      const messages = log(program).map(({ message }) => message)
      const matching = (pattern: RegExp) => messages.filter((message) => pattern.test(message)).length
      assert.strictEqual(matching(/^done in/), 2)
      assert.strictEqual(matching(/^buried: exit code 64/), 1)
      assert.strictEqual(matching(/next attempt in 1h: exit code 75/), 1)
      assert.strictEqual(matching(/^buried: attempt 1 was the last: .*exit code 1/), 1)
      for (const rule of ["directories", "environment", "maxTimeout", "detach"]) {
        assert.strictEqual(matching(new RegExp(`^buried: refused \\(${rule}\\)`)), 1, rule)
      }
    }))

  real("SIGTERM: what runs finishes, what waits goes back at once, exit 0", () =>
    Effect.gen(function*() {
      const { port } = yield* beanstalkd()
      const { inspector } = yield* look(port)
      const dir = yield* folder
      const script = `touch ${dir}/begun.$0; while [ ! -e ${dir}/go ]; do sleep 0.02; done; touch ${dir}/done.$0`
      const files = (prefix: string) => readdirSync(dir).filter((name) => name.startsWith(prefix)).length
      yield* publishAll(port, ["1", "2", "3", "4", "5", "6"].map((n) => ({ command: ["sh", "-c", script, n] })))
      const program = yield* worker(port, "--concurrency", "2", "--prefetch", "4")
      yield* eventually("two run", () => files("begun") === 2)
      yield* eventually("four wait", Effect.map(inspector.stats, ({ reserved }) => reserved === 6))
      yield* program.signal("SIGTERM")
      yield* eventually("four are back", Effect.map(inspector.stats, ({ ready }) => ready === 4))
      assert.strictEqual(files("done"), 0)
      writeFileSync(join(dir, "go"), "")
      const { code, stderr } = yield* program.ended
      assert.strictEqual(code, 0)
      assert.match(stderr, /worker stopped: 2 done, 4 requeued/)
      assert.strictEqual(files("done"), 2)
      const stats = yield* inspector.statsQueue("process")
      assert.deepStrictEqual([stats.ready, stats.delayed, stats.reserved, stats.buried], [4, 0, 0, 0])
    }))

  real("a second SIGTERM ends worker and processes at once, and the job stays", () =>
    Effect.gen(function*() {
      const { port } = yield* beanstalkd()
      const { inspector } = yield* look(port)
      const file = join(yield* folder, "pid")
      yield* publishAll(port, [{ command: ["sh", "-c", `echo $$ >> ${file}; exec sleep 60`] }, { command: ["true"] }])
      const program = yield* worker(port, "--concurrency", "1", "--prefetch", "1")
      yield* eventually("it runs", () => linesOf(file).length === 1)
      yield* eventually("one waits", Effect.map(inspector.stats, ({ reserved }) => reserved === 2))
      yield* program.signal("SIGTERM")
      yield* eventually("the worker stops", Effect.map(inspector.stats, ({ ready }) => ready === 1))
      yield* program.signal("SIGTERM")
      assert.strictEqual((yield* program.ended).code, 130)
      yield* eventually("its process ends", () => !isRunning(Number(linesOf(file)[0])))
      const { buried, delayed, ready } = yield* inspector.statsQueue("process")
      assert.deepStrictEqual([ready + delayed, buried], [2, 0])
    }))

  real("a second signal buries no job, even at its last attempt", () =>
    Effect.gen(function*() {
      const { port } = yield* beanstalkd()
      const { inspector } = yield* look(port)
      const file = join(yield* folder, "pid")
      yield* publishAll(port, [{ command: ["sh", "-c", `echo $$ >> ${file}; exec sleep 60`] }])
      const program = yield* worker(port, "--retry-times", "0")
      yield* eventually("it runs", () => linesOf(file).length === 1)
      yield* program.signal("SIGTERM")
      // Two of the same at once may arrive as one.
      yield* program.signal("SIGINT")
      const { code, stderr } = yield* program.ended
      assert.strictEqual(code, 130)
      assert.notInclude(stderr, "interrupted itself")
      const { buried, delayed, ready } = yield* inspector.statsQueue("process")
      assert.deepStrictEqual([ready, delayed, buried], [1, 0, 0])
    }))

  real("stops when it was idle for long enough", () =>
    Effect.gen(function*() {
      const { port } = yield* beanstalkd()
      const program = yield* worker(port, "--idle-timeout", "100ms")
      assert.strictEqual((yield* program.ended).code, 0)
    }))

  real("2: the broker stays away for longer than --reconnect-for", () =>
    Effect.gen(function*() {
      const server = yield* beanstalkd()
      const program = yield* worker(server.port, "--reconnect-for", "300ms")
      yield* server.kill
      const { code, stderr } = yield* program.ended
      assert.strictEqual(code, 2)
      assert.match(stderr, /^backq: .*refused.*$/m)
    }))

  real("2: what answers is no beanstalkd", () =>
    Effect.gen(function*() {
      const port = yield* scripted((socket) =>
        socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"))
      )
      const { code, stderr } = yield* runProgram(["work", "process", "--broker", `beanstalk://127.0.0.1:${port}`])
      assert.strictEqual(code, 2)
      assert.match(stderr, /^backq: .*does not speak the expected protocol.*$/m)
      assert.notMatch(stderr, /^ +at /m)
    }))

  real("a signal before the broker was ever reached ends it, with 0", () =>
    Effect.gen(function*() {
      const program = yield* worker(yield* freePort)
      yield* program.signal("SIGINT")
      assert.strictEqual((yield* program.ended).code, 0)
    }))

  real("beanstalkd -b restarts under a publisher and a worker: every accepted job runs", () =>
    Effect.gen(function*() {
      const log = yield* folder
      const dir = yield* folder
      const server = yield* beanstalkd(["-b", log])
      yield* worker(server.port)
      const accepted: Array<number> = []
      let n = 0
      const publisher = yield* Effect.forkChild(
        Effect.suspend(() => {
          const name = n++
          return Effect.map(
            Publisher.publish(ProcessJob.job, { command: ["touch", join(dir, String(name))] }),
            () => accepted.push(name)
          )
        }).pipe(
          Effect.ignore,
          Effect.andThen(Effect.sleep("20 millis")),
          Effect.repeat(Schedule.forever),
          Effect.provide(publisherOn(server.port))
        )
      )
      const more = Effect.suspend(() => {
        const before = accepted.length
        return eventually("jobs are accepted", () => accepted.length >= before + 10)
      })
      yield* more
      for (let i = 0; i < 2; i++) {
        yield* server.kill
        yield* server.start
        yield* more
      }
      yield* Fiber.interrupt(publisher)
      yield* eventually("every accepted job runs", () => accepted.every((name) => existsSync(join(dir, String(name)))))
    }))
})

describe("work process, killed", () => {
  real(
    "kill -9 while 16 jobs run: another worker runs all of them within 2 seconds, as attempt 2",
    () =>
      Effect.gen(function*() {
        const { port } = yield* beanstalkd()
        const dir = yield* folder
        const pids = join(dir, "pids")
        const numbers = Array.from({ length: 16 }, (_, i) => String(i))
        const script = `mkdir ${dir}/seen.$0 && { echo $$ >> ${pids}; exec sleep 60; }; touch ${dir}/done.$0`
        yield* publishAll(port, numbers.map((n) => ({ command: ["sh", "-c", script, n] })))
        yield* Effect.addFinalizer(() =>
          Effect.sync(() => {
            for (const pid of linesOf(pids).map(Number)) if (isRunning(pid)) process.kill(pid)
          })
        )
        const first = yield* worker(port)
        yield* eventually("all run", () => linesOf(pids).length === 16)
        const second = yield* worker(port)
        const killedAt = Date.now()
        yield* first.signal("SIGKILL")
        const done = () => log(second).filter(({ message }) => message.startsWith("done in"))
        yield* eventually("all are done", () => done().length === 16)
        const last = Math.max(...numbers.map((n) => statSync(join(dir, `done.${n}`)).mtimeMs))
        assert.isBelow(last - killedAt, 2000, `killed at ${new Date(killedAt).toISOString()}\n${second.stderr()}`)
        assert.deepStrictEqual(new Set(done().map(({ annotations }) => annotations["attempt"])), new Set([2]))
        const { inspector } = yield* look(port)
        const stats = yield* inspector.statsQueue("process")
        assert.deepStrictEqual([stats.ready, stats.delayed, stats.reserved, stats.buried], [0, 0, 0, 0])
      })
  )
})
