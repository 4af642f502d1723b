/** `backq publish`, `backq stats` and `backq queues` as a script sees them: stdout, stderr and the exit code. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Net from "node:net"
import * as Tls from "node:tls"
import { JobId, putRequest } from "../../src/Broker.ts"
import { beanstalkd, real } from "../support/beanstalkd.ts"
import { eventually } from "../support/eventually.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { freePort, scripted } from "../support/network.ts"
import { run } from "./command.ts"
import { look, run as runProgram } from "./program.ts"

allow(withPrograms)

const url = (port: number, scheme = "beanstalk") => `${scheme}://127.0.0.1:${port}?connect-timeout=500ms`
const publish = (broker: string, ...args: ReadonlyArray<string>) =>
  run(["publish", "process", "--broker", broker, ...args])

/** One line on stderr, nothing on stdout. */
const assertFailed = (
  { code, stderr, stdout }: Effect.Success<ReturnType<typeof run>>,
  expected: number,
  message: RegExp
) => {
  assert.strictEqual(stdout, "")
  assert.match(stderr, /^backq: .*$/)
  assert.match(stderr, message)
  assert.strictEqual(code, expected)
}

/** A server that takes TLS connections only. */
const tlsOnly = Effect.map(
  Effect.acquireRelease(
    Effect.callback<Tls.Server>((resume) => {
      const server = Tls.createServer().on("tlsClientError", () => {}).listen(0, "127.0.0.1", () => {
        resume(Effect.succeed(server))
      })
    }),
    (server) => Effect.sync(() => server.close())
  ),
  (server) => (server.address() as Net.AddressInfo).port
)

const http = scripted((socket) =>
  socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"))
)

describe.concurrent("publish process", () => {
  real("prints the id alone, and what was published is what was said", () =>
    Effect.gen(function*() {
      const { port } = yield* beanstalkd()
      const { inspector } = yield* look(port)
      const { code, stderr, stdout } = yield* runProgram([
        "publish",
        "process",
        "--broker",
        url(port),
        "--queue",
        "q",
        "--delay",
        "10m",
        "--ttr",
        "7s",
        "--priority",
        "5",
        "--id",
        "mine",
        "--deadline",
        "2100-01-01T00:00:00Z",
        "--timeout",
        "1500ms",
        "--cwd",
        "/tmp",
        "--env",
        "A=b=c",
        "--env",
        "EMPTY=",
        "--unset-env",
        "GONE",
        "--no-extend-env",
        "--output-limit",
        "10",
        "--input-file",
        "-",
        "--",
        "prog",
        "--flag",
        "a b"
      ], new Uint8Array([0xff, 0x00]))
      assert.deepStrictEqual({ code, stderr }, { code: 0, stderr: "" })
      assert.match(stdout, /^\d+\n$/)
      const id = JobId.make(stdout.trim())
      const stats = yield* inspector.statsJob(id)
      assert.strictEqual(stats.queue, "q")
      assert.strictEqual(stats.state, "delayed")
      assert.strictEqual(stats.priority, 5)
      const { body } = Option.getOrThrow(yield* inspector.peek(id))
      const envelope = JSON.parse(new TextDecoder().decode(body))
      assert.strictEqual(envelope.id, "mine")
      assert.strictEqual(envelope.expiresAt, Date.UTC(2100, 0, 1))
      assert.deepStrictEqual(envelope.payload, {
        command: ["prog", "--flag", "a b"],
        cwd: "/tmp",
        env: { A: "b=c", EMPTY: "", GONE: null },
        extendEnv: false,
        input: { base64: "/wA=" },
        timeout: 1500,
        outputLimit: 10
      })
    }))

  real("a shell line, text as input, and a process to let go", () =>
    Effect.gen(function*() {
      const { port } = yield* beanstalkd()
      const { inspector } = yield* look(port)
      const payload = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
        const { stdout } = yield* publish(url(port), ...args)
        const { body } = Option.getOrThrow(yield* inspector.peek(JobId.make(stdout.trim())))
        return JSON.parse(new TextDecoder().decode(body)).payload
      })
      assert.deepStrictEqual(yield* payload("--shell", "cat > x", "--input", "grün"), {
        command: "cat > x",
        input: "grün"
      })
      assert.deepStrictEqual(yield* payload("--detach", "--", "true"), { command: ["true"], detach: true })
    }))

  real("2: nobody listens there", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      assertFailed(yield* publish(url(port), "--", "true"), 2, /refused; check that beanstalkd runs there/)
      assertFailed(yield* run(["stats", "--broker", url(port)]), 2, /refused/)
    }))

  real("2: there is no such host", () =>
    Effect.gen(function*() {
      assertFailed(yield* publish("beanstalk://no-such-host.invalid", "--", "true"), 2, /host name can't be resolved/)
    }))

  real("2: a web server is there", () =>
    Effect.gen(function*() {
      assertFailed(
        yield* publish(url(yield* http), "--", "true"),
        2,
        /does not speak the expected protocol.*host and port/
      )
    }))

  real("2: TLS to a server without it", () =>
    Effect.gen(function*() {
      const { port } = yield* beanstalkd()
      assertFailed(yield* publish(url(port, "beanstalks"), "--", "true"), 2, /speaks? TLS/)
    }))

  real("2: a server with TLS, without it", () =>
    Effect.gen(function*() {
      assertFailed(yield* publish(url(yield* tlsOnly), "--", "true"), 2, /TLS/)
    }))

  real("3: no workers, where they are required", () =>
    Effect.gen(function*() {
      const { port } = yield* beanstalkd()
      const { broker } = yield* look(port)
      assertFailed(
        yield* publish(url(port), "--require-workers", "--", "true"),
        3,
        /no worker is idle on queue "process"/
      )
      const consumer = yield* broker.consume(["process"])
      yield* Effect.forkScoped(consumer.reserve(1))
      yield* eventually("the worker waits", Effect.map(broker.idleWorkers("process"), (waiting) => waiting > 0))
      assert.strictEqual((yield* publish(url(port), "--require-workers", "--", "true")).code, 0)
    }))

  real("4: a job over the server's limit", () =>
    Effect.gen(function*() {
      const { port } = yield* beanstalkd(["-z", "300"])
      assertFailed(
        yield* publish(url(port), "--input", "x".repeat(300), "--", "true"),
        4,
        /over the broker's limit of 300 bytes/
      )
    }))

  real("4: a server in drain mode", () =>
    Effect.gen(function*() {
      const server = yield* beanstalkd()
      const { inspector } = yield* look(server.port)
      yield* server.signal("SIGUSR1")
      yield* eventually("the server drains", Effect.map(inspector.stats, ({ draining }) => draining))
      assertFailed(yield* publish(url(server.port), "--", "true"), 4, /drain mode/)
    }))
})

describe.concurrent("stats and queues", () => {
  real("show a broker at rest, and then what it holds", () =>
    Effect.gen(function*() {
      const { port } = yield* beanstalkd()
      const { broker } = yield* look(port)
      const atRest = yield* run(["stats", "--broker", url(port)])
      assert.strictEqual(atRest.code, 0)
      assert.match(atRest.stdout, /none: no job is ready, delayed, reserved or buried/)
      assert.match(atRest.stdout, /^default +0 +0 +0 +0 +0 +- +0$/m)

      const request = yield* Effect.fromResult(putRequest(new Uint8Array(1)))
      yield* broker.put("process", request)
      yield* broker.put("process", request)
      const queues = yield* run(["queues", "--broker", url(port)])
      assert.match(queues.stdout, /^process +2 +0 +0 +0 +0 +\d+s +0 +0 +2$/m)
      const json = JSON.parse((yield* run(["stats", "--json", "--broker", url(port)])).stdout)
      assert.strictEqual(json.ready, 2)
      assert.strictEqual(json.queues.find((one: { readonly queue: string }) => one.queue === "process").ready, 2)
    }))
})
