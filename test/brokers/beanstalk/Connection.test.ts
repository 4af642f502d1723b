import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { BrokerErrorReason } from "../../../src/BrokerError.ts"
import type { Command } from "../../../src/brokers/beanstalk/command.ts"
import type { Connection, ConnectOptions, Driver } from "../../../src/brokers/beanstalk/Connection.ts"
import * as Fivebeans from "../../../src/brokers/beanstalk/Fivebeans.ts"
import * as Native from "../../../src/brokers/beanstalk/Native.ts"
import type { Answer } from "../../../src/brokers/beanstalk/pipeline.ts"
import * as Servers from "../../support/beanstalkd.ts"
import { allow, withServers } from "../../support/limits.ts"
import * as Network from "../../support/network.ts"

allow(withServers)

const stats: Command = { _tag: "ListTubeUsed" }
const poll: Command = { _tag: "ReserveWithTimeout", seconds: 0 }
const park: Command = { _tag: "ReserveWithTimeout", seconds: 30 }
const put = (body: Uint8Array): Command => ({ _tag: "Put", priority: 0, delay: 0, ttr: 60, body })

const reasonOf = (answer: Answer | undefined): BrokerErrorReason => {
  assert(answer?._tag === "Unanswered", `expected no answer, got ${answer?._tag}`)
  return answer.error.reason
}

const drivers: ReadonlyArray<readonly [string, (options: ConnectOptions) => Driver]> = [
  ["native", Native.driver],
  ["fivebeans", Fivebeans.driver]
]

/** Says what a server on a port is when we expect a beanstalkd. */
const detailOn = (driver: Driver) =>
  Effect.scoped(Effect.gen(function*() {
    const connection = yield* driver.connect
    const [answer] = yield* connection.request([stats])
    return reasonOf(answer)
  })).pipe(Effect.catchTag("BrokerError", (error) => Effect.succeed(error.reason)))

describe("replies in pieces", () => {
  const replies = Buffer.from(
    "USING a\r\nRESERVED 1 18\r\nx\r\nRESERVED 9 5\r\ny\r\nINSERTED 18446744073709551615\r\nTIMED_OUT\r\n"
  )
  const commands = [stats, poll, put(Buffer.from("a")), poll]

  const check = (connection: Connection) =>
    Effect.map(connection.request(commands), (answers) => {
      assert.deepStrictEqual(answers.map((answer) => answer._tag), ["Using", "Reserved", "Inserted", "TimedOut"])
      const [, reserved, inserted] = answers
      assert(reserved?._tag === "Reserved" && inserted?._tag === "Inserted")
      assert.strictEqual(Buffer.from(reserved.body).toString(), "x\r\nRESERVED 9 5\r\ny")
      assert.strictEqual(inserted.id, "18446744073709551615")
    })

  for (const [name, driver] of drivers) {
    it.live(`${name}: are read from one packet and from single bytes`, () =>
      Effect.gen(function*() {
        let asked = 0
        const port = yield* Network.scripted((socket) => {
          socket.on("data", (data) => {
            asked += data.toString().split("\r\n").filter((line) => line !== "" && line !== "a").length
            if (asked < commands.length) return
            asked = 0
            socket.setNoDelay(true)
            socket.write(replies)
            // The second round comes in single bytes.
            socket.removeAllListeners("data")
            socket.once("data", () => {
              let at = 0
              const next = () => {
                if (at < replies.length) socket.write(replies.subarray(at, ++at), () => setImmediate(next))
              }
              next()
            })
          })
        })
        const connection = yield* driver({ port }).connect
        yield* check(connection)
        yield* check(connection)
      }))
  }
})

describe("a server that breaks the protocol", () => {
  const broken: ReadonlyArray<readonly [string, string | Buffer]> = [
    ["a reply of unknown words", "WHATEVER\r\n"],
    ["an invalid size", "RESERVED 1 zz\r\n"],
    ["a negative size", "RESERVED 1 -1\r\n"],
    ["an INSERTED without an id", "INSERTED\r\n"],
    ["a body without an end of line", "RESERVED 1 1\r\nabcd\r\n"],
    ["2 MB without an end of line", Buffer.alloc(2_000_000, "A")],
    ["one reply too many", "USING a\r\nUSING a\r\nUSING a\r\n"]
  ]
  for (const [what, bytes] of broken) {
    it.live(`${what}: the connection ends and all commands fail at once`, () =>
      Effect.gen(function*() {
        const port = yield* Network.scripted((socket) => socket.once("data", () => socket.write(bytes)))
        const connection = yield* Native.driver({ port }).connect
        const answers = yield* Effect.all([connection.request([stats]), connection.request([poll])], {
          concurrency: 2
        })
        const error = yield* connection.closed
        assert.strictEqual(error.reason._tag, "ProtocolViolation")
        assert.isFalse(connection.isOpen())
        const [late] = yield* connection.request([stats])
        assert.strictEqual(reasonOf(late)._tag, "ProtocolViolation")
        if (what !== "one reply too many") {
          assert.strictEqual(reasonOf(answers.flat()[0])._tag, "ProtocolViolation")
        }
      }))
  }

  it.live("a reply without a command ends an idle connection", () =>
    Effect.gen(function*() {
      const port = yield* Network.scripted((socket) => socket.write("DELETED\r\n"))
      for (const [, driver] of drivers) {
        const connection = yield* driver({ port }).connect
        assert.strictEqual((yield* connection.closed).reason._tag, "ProtocolViolation")
      }
    }))
})

describe("the end of a connection", () => {
  for (const [name, driver] of drivers) {
    it.live(`${name}: every call settles at once, even a waiting reserve`, () =>
      Effect.gen(function*() {
        const asked = yield* Deferred.make<void>()
        const port = yield* Network.scripted((socket) => {
          socket.on("data", (data) => {
            if (!data.includes("put")) return
            Deferred.doneUnsafe(asked, Effect.void)
            socket.resetAndDestroy()
          })
        })
        const connection = yield* driver({ port }).connect
        const calls = yield* Effect.forEach([[park], [stats], [put(Buffer.from("a"))]], connection.request, {
          concurrency: "unbounded"
        })
        for (const [answer] of calls) {
          assert.deepInclude({ ...reasonOf(answer) }, { _tag: "Unavailable", fate: "Unknown" })
        }
        const [late] = yield* connection.request([stats])
        assert.deepInclude({ ...reasonOf(late) }, { _tag: "Unavailable", fate: "NotSent" })
      }))

    it.live(`${name}: closing the scope settles the calls under way`, () =>
      Effect.gen(function*() {
        const port = yield* Network.scripted((socket) => socket.resume())
        const scope = yield* Scope.make()
        const connection = yield* Scope.provide(driver({ port }).connect, scope)
        const fiber = yield* Effect.forkChild(connection.request([park]), { startImmediately: true })
        yield* Scope.close(scope, Exit.void)
        const [answer] = yield* Fiber.join(fiber)
        assert.strictEqual(reasonOf(answer)._tag, "Unavailable")
      }))
  }

  it.live("is reported as such in the middle of a body", () =>
    Effect.gen(function*() {
      const port = yield* Network.scripted((socket) => socket.once("data", () => socket.end("RESERVED 1 100\r\nabc")))
      const connection = yield* Native.driver({ port }).connect
      const [answer] = yield* connection.request([poll])
      const reason = reasonOf(answer)
      assert(reason._tag === "Unavailable")
      assert.include(reason.detail, "in the middle of a reply")
    }))

  it.live("does not affect earlier replies", () =>
    Effect.gen(function*() {
      const port = yield* Network.scripted((socket) =>
        socket.once("data", () => socket.end("INSERTED 1\r\nINSERTED 2\r\n"))
      )
      const connection = yield* Native.driver({ port }).connect
      const answers = yield* connection.request([1, 2, 3].map(() => put(Buffer.from("a"))))
      assert.deepStrictEqual(answers.map((answer) => answer._tag), ["Inserted", "Inserted", "Unanswered"])
    }))

  for (const [name, driver] of drivers) {
    it.live(`${name}: the connection ends if the server owes a reply and sends nothing`, () =>
      Effect.gen(function*() {
        const port = yield* Network.scripted((socket) => socket.resume())
        const connection = yield* driver({ port, replyTimeout: "200 millis" }).connect
        const [answer] = yield* connection.request([stats])
        const reason = reasonOf(answer)
        assert(reason._tag === "Unavailable" && reason.fate === "Unknown")
        assert.include(reason.detail, "did not answer")
      }))
  }

  for (const [name, driver] of drivers) {
    it.live(
      `${name}: a slow large body is no silence, but a few bytes from time to time are`,
      () =>
        Effect.gen(function*() {
          const peek = { _tag: "Peek", id: "7" } as const
          const sending = (part: number) =>
            Network.scripted((socket) => {
              socket.once("data", () => {
                let left = 600_000
                socket.write(`FOUND 7 ${left}\r\n`)
                const timer = setInterval(() => {
                  socket.write(Buffer.alloc(Math.min(part, left)))
                  left -= part
                  if (left > 0) return
                  clearInterval(timer)
                  socket.write("\r\n")
                }, 100)
                socket.once("close", () => clearInterval(timer))
              })
            })
          const options = { replyTimeout: "400 millis" } as const
          const large = yield* driver({ port: yield* sending(40_000), ...options }).connect
          const few = yield* driver({ port: yield* sending(1), ...options }).connect
          const [[answer], [slow]] = yield* Effect.all([large.request([peek]), few.request([peek])], { concurrency: 2 })
          assert.strictEqual(answer?._tag, "Found")
          assert.include(String((reasonOf(slow) as { detail?: string }).detail), "did not answer")
        }),
      30_000
    )
  }

  Servers.real("a waiting reserve is no silence", () =>
    Effect.gen(function*() {
      const { port } = yield* Servers.beanstalkd()
      const connection = yield* Native.driver({ port, replyTimeout: "200 millis" }).connect
      const [answer] = yield* connection.request([{ _tag: "ReserveWithTimeout", seconds: 1 }])
      assert.strictEqual(answer?._tag, "TimedOut")
    }))
})

describe("interruption", () => {
  Servers.real("keeps replies and commands in step", () =>
    Effect.gen(function*() {
      const { port } = yield* Servers.beanstalkd()
      const connection = yield* Native.driver({ port }).connect
      for (let i = 0; i < 50; i++) {
        const fiber = yield* Effect.forkChild(
          connection.request(Array.from({ length: 20 }, () => put(Buffer.from("x")))),
          { startImmediately: true }
        )
        if (i % 2 === 0) yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
        const [answer] = yield* connection.request([stats])
        assert.strictEqual(answer?._tag, "Using")
      }
    }))
})

describe("load", () => {
  Servers.real("1000 bodies of 60 KB at once come back", () =>
    Effect.gen(function*() {
      const { port } = yield* Servers.beanstalkd()
      const connection = yield* Native.driver({ port }).connect
      const body = Buffer.alloc(60_000, "z")
      const answers = yield* Effect.all(
        Array.from({ length: 1000 }, () => connection.request([put(body)])),
        { concurrency: "unbounded" }
      )
      assert.isTrue(answers.every(([answer]) => answer?._tag === "Inserted"))
    }))

  Servers.real("a body of 40 MB comes back", () =>
    Effect.gen(function*() {
      const { port } = yield* Servers.beanstalkd(["-z", "50000000"])
      const connection = yield* Native.driver({ port }).connect
      const body = Buffer.alloc(40_000_000, "0123456789\r\n")
      const [inserted, reserved] = yield* connection.request([put(body), poll])
      assert.strictEqual(inserted?._tag, "Inserted")
      assert(reserved?._tag === "Reserved")
      assert.isTrue(body.equals(reserved.body))
    }))
})

describe("a server of another protocol", () => {
  const strangers: ReadonlyArray<readonly [string, Network.Script, string]> = [
    ["HTTP", (socket) => socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")), "HTTP"],
    ["SSH", (socket) => socket.write("SSH-2.0-OpenSSH_9.2p1 Debian\r\n"), "SSH"],
    ["TLS", (socket) => socket.once("data", () => socket.end(Buffer.from("15030100020246", "hex"))), "TLS"]
  ]
  for (const [name, script, says] of strangers) {
    it.live(`${name}: is named in the error`, () =>
      Effect.gen(function*() {
        const reason = yield* detailOn(Native.driver({ port: yield* Network.scripted(script) }))
        assert(reason._tag === "ProtocolViolation", reason._tag)
        assert.include(reason.detail, says)
      }))
  }

  for (const [name, driver] of drivers) {
    it.live(`${name}: a closed port fails`, () =>
      Effect.gen(function*() {
        const reason = yield* detailOn(driver({ port: yield* Network.freePort }))
        assert(reason._tag === "Unavailable" && reason.fate === "NotSent")
        assert.include(reason.detail, "refused")
      }))

    it.live(`${name}: an unknown host fails`, () =>
      Effect.gen(function*() {
        const reason = yield* detailOn(driver({ host: "no-such-host.invalid" }))
        assert(reason._tag === "Unavailable" && reason.fate === "NotSent")
        assert.include(reason.detail, "resolved")
      }))
  }

  it.live("fivebeans: TLS is refused with a hint", () =>
    Effect.gen(function*() {
      const reason = yield* detailOn(Fivebeans.driver({ port: 1, tls: {} }))
      assert.deepInclude({ ...reason }, { _tag: "Unsupported", operation: "TLS" })
    }))
})

describe("a server that falls silent", () => {
  it.live("ends the connection, even if commands are sent all the time", () =>
    Effect.gen(function*() {
      const port = yield* Network.scripted(() => {})
      const connection = yield* Native.driver({ port, replyTimeout: "400 millis" }).connect
      const first = yield* Effect.forkChild(connection.request([stats]))
      yield* Effect.forkChild(
        Effect.forever(Effect.andThen(Effect.forkChild(connection.request([stats])), Effect.sleep("50 millis")))
      )
      const [answer] = yield* Effect.timeout(Fiber.join(first), "5 seconds")
      const reason = reasonOf(answer)
      assert(reason._tag === "Unavailable")
      assert.strictEqual(reason.fate, "Unknown")
    }))
})

describe("options that Node.js can't use", () => {
  const wrong: ReadonlyArray<readonly [string, ConnectOptions]> = [
    ["a port out of range", { port: 70_000 }],
    ["an invalid certificate", { port: 1, tls: { cert: "nonsense" } }]
  ]
  it.live.each(wrong)("%s: fail at once with a typed error", ([, options]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.timeout(Native.driver(options).connect, "2 seconds"))
      assert(error._tag === "BrokerError")
      assert.strictEqual(error.reason._tag, "OptionInvalid")
    }))
})
