/** A server that answers what can't be: bounded, held against the question, and never run. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Net from "node:net"
import { Broker, type Consumer, type JobId, putRequest } from "../../../src/Broker.ts"
import type { BrokerError } from "../../../src/BrokerError.ts"
import * as BeanstalkBroker from "../../../src/brokers/beanstalk/BeanstalkBroker.ts"
import * as Client from "../../../src/brokers/beanstalk/Client.ts"
import type { Command } from "../../../src/brokers/beanstalk/command.ts"
import type { Driver } from "../../../src/brokers/beanstalk/Connection.ts"
import { mismatch } from "../../../src/brokers/beanstalk/expected.ts"
import * as Fivebeans from "../../../src/brokers/beanstalk/Fivebeans.ts"
import * as Native from "../../../src/brokers/beanstalk/Native.ts"
import { Parser, type Reply } from "../../../src/brokers/beanstalk/reply.ts"
import { Job, Worker } from "../../../src/index.ts"
import { Inspector, type Services } from "../../../src/Inspector.ts"
import * as Operator from "../../../src/Operator.ts"
import * as Servers from "../../support/beanstalkd.ts"
import { allow, withServers } from "../../support/limits.ts"
import * as Network from "../../support/network.ts"

allow(withServers)

const drivers = [["native", Native.driver], ["fivebeans", Fivebeans.driver]] as const

const request = Result.getOrThrow(putRequest(Buffer.from("a")))
const id = (text: string) => text as JobId

type Ask = (services: Services) => Effect.Effect<unknown, BrokerError, Scope.Scope>
type Table = (line: string, socket: Net.Socket) => string | undefined

const put: Ask = ({ broker }) => broker.put("q", request)
const reserve = (max: number, ...queues: ReadonlyArray<string>): Ask => ({ broker }) =>
  Effect.flatMap(broker.consume(["q", ...queues]), (consumer) => consumer.reserve(max))
const consuming = (use: (consumer: Consumer) => Effect.Effect<unknown, BrokerError>): Ask => ({ broker }) =>
  Effect.flatMap(broker.consume(["q"]), use)

const using = (line: string) => line.startsWith("use ") ? "USING q\r\n" : undefined
const to = (beginning: string, reply: string): Table => (line) => line.startsWith(beginning) ? reply : using(line)

const job = (line: string, id: string, changes?: Record<string, unknown>) =>
  line.startsWith("stats-job") ? Servers.jobReply(id, changes) : undefined

/** The server answers, somebody asks, and what the violation says. */
const hostile: ReadonlyArray<readonly [string, Table, Ask, RegExp]> = [
  // Of another kind, or about something else
  ["put: another kind", to("put", "TOUCHED\r\n"), put, /"Touched" to Put/],
  ["put: the body was read as commands", to("put", "BAD_FORMAT\r\n"), put, /"BadFormat" to Put/],
  ["put: the body has another length", to("put", "EXPECTED_CRLF\r\n"), put, /"ExpectedCrlf" to Put/],
  ["use: another tube", (line) => line.startsWith("use") ? "USING r\r\n" : "INSERTED 1\r\n", put, /tube "r" to Use/],
  ["use: an invalid tube", (line) => line.startsWith("use") ? "USING \x1b[2J\r\n" : undefined, put, /\\x1b\[2J/],
  ["peek: another job", to("peek", "FOUND 8 1\r\na\r\n"), ({ inspector }) => inspector.peek(id("7")), /job 8 to Peek/],
  [
    "delete: another kind",
    to("delete", "BURIED\r\n"),
    ({ inspector }) => inspector.delete(id("7")),
    /"Buried" to Delete/
  ],
  [
    "kick: more than requested",
    to("kick", "KICKED 11\r\n"),
    ({ inspector }) => inspector.kick("q", 10),
    /11 jobs to Kick/
  ],
  ["kick: a missing number", to("kick", "KICKED\r\n"), ({ inspector }) => inspector.kick("q", 10), /"Kicked" to Kick/],
  ["kick-job: a number", to("kick-job", "KICKED 1\r\n"), ({ inspector }) => inspector.kickJob(id("7")), /to KickJob/],
  ["pause: another kind", to("pause", "USING q\r\n"), ({ inspector }) => inspector.resume("q"), /to PauseTube/],
  ["reserve: not found", to("reserve", "NOT_FOUND\r\n"), reserve(1), /"NotFound" to ReserveWithTimeout/],
  ["reserve: a job that was found", to("reserve", "FOUND 1 1\r\na\r\n"), reserve(1), /"Found" of job 1 to Reserve/],
  [
    "stats-job: another job",
    to("stats-job", Servers.jobReply("8")),
    ({ inspector }) => inspector.statsJob(id("7")),
    /about job 7.*"8"/
  ],
  [
    "stats-tube: another tube",
    to("stats-tube", Servers.tubeReply("r")),
    ({ inspector }) => inspector.statsQueue("q"),
    /about tube q.*"r"/
  ],
  ["list-tubes: no name", to("list-tubes", Servers.ok("---\n- a b\n")), ({ inspector }) => inspector.queues, /"a b"/],
  [
    "list-tubes: a name twice",
    to("list-tubes", Servers.ok("---\n- a\n- b\n- a\n")),
    ({ inspector }) => inspector.queues,
    /"a" twice/
  ],
  [
    "list-tubes: more than anybody has",
    to("list-tubes", Servers.ok(`---\n${"- a\n".repeat(1_000_001)}`)),
    ({ inspector }) => inspector.queues,
    /more than 1000000 lines/
  ],
  ["list-tubes: no list", to("list-tubes", Servers.ok("a")), ({ inspector }) => inspector.queues, /not lines/],

  // A job that can't be ours
  [
    "reserve: a tube that is not watched",
    (line) => line.startsWith("reserve") ? "RESERVED 1 1\r\na\r\n" : job(line, "1", { tube: "secret" }),
    reserve(1),
    /"secret", which is not watched/
  ],
  [
    "reserve: a tube that is not watched, of several",
    (line) =>
      /^(watch|ignore)/.test(line)
        ? "WATCHING 2\r\n"
        : line.startsWith("reserve")
        ? "RESERVED 1 1\r\na\r\n"
        : Servers.jobReply("1", { tube: "secret" }),
    reserve(1, "r"),
    /"secret", which is not watched/
  ],
  [
    "reserve: the statistics of another job",
    (line) => line.startsWith("reserve") ? "RESERVED 1 1\r\na\r\n" : job(line, "2"),
    reserve(1),
    /about job 1.*"2"/
  ],
  ["reserve: one job twice", to("reserve", "RESERVED 1 1\r\na\r\n"), reserve(2), /one job twice/],

  // Without measure
  [
    "reserve: a body over the server's limit",
    to("reserve", "RESERVED 1 65536\r\n"),
    reserve(1),
    /65536 bytes, but at most 65535/
  ],
  [
    "peek: a body over the server's limit",
    to("peek", "FOUND 7 1000000000\r\n"),
    ({ inspector }) => inspector.peek(id("7")),
    /at most 65535/
  ],
  [
    "stats-job: without end",
    to("stats-job", "OK 1073741824\r\n"),
    ({ inspector }) => inspector.statsJob(id("7")),
    /at most 65536/
  ],
  [
    "stats-tube: without end",
    to("stats-tube", "OK 65537\r\n"),
    ({ inspector }) => inspector.statsQueue("q"),
    /at most 65536/
  ],
  [
    "list-tubes: without end",
    to("list-tubes", "OK 67108865\r\n"),
    ({ inspector }) => inspector.queues,
    /at most 67108864/
  ],
  ["a line without end", to("put", "A".repeat(100_000)), put, /no end/],
  ["a line without end, of a reply", to("put", `INSERTED ${"1".repeat(100_000)}`), put, /no end/],
  ["a body in a reply without one", to("put", "OK 4\r\nabcd\r\n"), put, /"Ok" to Put/],
  [
    "more replies than questions",
    to("put", "INSERTED 1\r\nINSERTED 2\r\n"),
    (services) => Effect.andThen(put(services), Effect.repeat(services.broker.ping, { times: 100 })),
    /no command awaits a reply/
  ],

  // Numbers that are none
  ...["", "-1", "0x10", "1e3", "NaN", "007", "1.5", " 1", "99999999999999999999", "18446744073709551616"].map((
    number
  ) => [`INSERTED ${JSON.stringify(number)}`, to("put", `INSERTED ${number}\r\n`), put, /INSERTED/] as const),
  ...["-1", "0x10", "1e1", "NaN", "01", "4294967296", "99999999999999999999"].map((number) =>
    [
      `KICKED ${number}`,
      to("kick", `KICKED ${number}\r\n`),
      ({ inspector }: Services) => inspector.kick("q", 4294967295),
      /KICKED/
    ] as const
  ),
  ...["-1", "0x3", "3x", "03", "1e1", "", "99999999999"].map((size) =>
    [
      `RESERVED 1 ${JSON.stringify(size)}`,
      to("reserve", `RESERVED 1 ${size}\r\nabc\r\n`),
      reserve(1),
      /RESERVED 1/
    ] as const
  ),
  ...["-1", "0x10", "1e3", "NaN", "Infinity", "007", "", "4294967296", "1".repeat(21)].map((pri) =>
    [
      `stats-job: pri ${JSON.stringify(pri)}`,
      to("stats-job", Servers.jobReply("7", { pri })),
      ({ inspector }: Services) => inspector.statsJob(id("7")),
      /statistics are not as expected/
    ] as const
  ),

  // While a job is held
  [
    "touch: another kind, and the lease is lost",
    (line) =>
      line.startsWith("reserve")
        ? "RESERVED 1 1\r\na\r\n"
        : line === "stats-job 1"
        ? Servers.jobReply("1")
        : line.startsWith("touch")
        ? "DELETED\r\n"
        : line === "list-tube-used"
        ? "USING default\r\n"
        : undefined,
    consuming((consumer) =>
      Effect.gen(function*() {
        const leases = yield* consumer.reserve(1)
        const [result] = yield* consumer.touch(leases)
        assert.deepStrictEqual((yield* consumer.leasesLost).map((lease) => lease.id), ["1"])
        return yield* Effect.fromResult(result!)
      })
    ),
    /"Deleted" to Touch/
  ],
  [
    "inspect: another job, and the lease is lost",
    (() => {
      let asked = 0
      return (line: string) =>
        line.startsWith("reserve")
          ? "RESERVED 1 1\r\na\r\n"
          : line === "stats-job 1"
          ? Servers.jobReply(++asked === 1 ? "1" : "2")
          : line === "list-tube-used"
          ? "USING default\r\n"
          : undefined
    })(),
    consuming((consumer) =>
      Effect.gen(function*() {
        const leases = yield* consumer.reserve(1)
        const [result] = yield* consumer.inspect(leases)
        assert.deepStrictEqual((yield* consumer.leasesLost).map((lease) => lease.id), ["1"])
        return yield* Effect.fromResult(result!)
      })
    ),
    /about job 1.*"2"/
  ]
]

/** Replies that end their connection, and the error that each one becomes. */
const violates = Effect.fnUntraced(
  function*(driver: (options: { port: number }) => Driver, table: Table, ask: Ask, says: RegExp) {
    const closed = yield* Deferred.make<void>()
    const seen = new Set<Net.Socket>()
    const { port } = yield* Servers.answering((line, socket) => {
      if (!seen.has(socket)) {
        seen.add(socket)
        socket.once("close", () => Deferred.doneUnsafe(closed, Effect.void))
      }
      return table(line, socket)
    })
    const services = yield* BeanstalkBroker.make(driver({ port }))
    const error = yield* Effect.flip(Effect.timeout(ask(services), "5 seconds"))
    assert(error._tag === "BrokerError", String(error))
    assert(error.reason._tag === "ProtocolViolation", error.message)
    assert.match(error.reason.detail, says)
    // oxlint-disable-next-line no-control-regex
    assert.notMatch(error.message, /[\u0000-\u001f\u007f-\u009f]/)
    assert.isBelow(error.message.length, 1000)
    yield* Effect.timeout(Deferred.await(closed), "5 seconds")
  }
)

for (const [name, driver] of drivers) {
  describe(`${name}: an impossible answer`, () => {
    it.live.each(hostile)(
      "%s",
      ([, table, ask, says]) => Effect.provide(violates(driver, table, ask, says), Logger.layer([]))
    )
  })

  describe(`${name}: an impossible greeting`, () => {
    it.live.each(
      [
        ["a gigabyte", "OK 1073741824\r\n", /at most 65536/],
        ["more than statistics have", "OK 65537\r\n", /at most 65536/],
        ["a job", "RESERVED 1 1\r\na\r\n", /to Stats/],
        ["a negative limit", Servers.statsReply({ "max-job-size": -1 }), /max-job-size/],
        ["a limit in hex", Servers.statsReply({ "max-job-size": "0x10" }), /max-job-size/],
        ["a limit over the protocol's", Servers.statsReply({ "max-job-size": 1073741825 }), /max-job-size/],
        ["a limit of 20 digits", Servers.statsReply({ "max-job-size": "9".repeat(20) }), /max-job-size/],
        ["no limit", Servers.statsReply({ "max-job-size": "" }), /max-job-size/]
      ] as const
    )("%s: fails those who wait, at once", ([, reply, says]) =>
      Effect.gen(function*() {
        const port = yield* Network.scripted((socket) => socket.once("data", () => socket.write(reply)))
        const options = { port, replyTimeout: "1 minute" } as const
        const services = yield* BeanstalkBroker.make(driver(options))
        const asks: ReadonlyArray<Effect.Effect<unknown, BrokerError, Scope.Scope>> = [
          services.inspector.stats,
          put(services),
          reserve(1)(services),
          Client.make(driver(options))
        ]
        for (const ask of asks) {
          const error = yield* Effect.flip(Effect.timeout(ask, "5 seconds"))
          assert(error._tag === "BrokerError" && error.reason._tag === "ProtocolViolation", String(error))
          assert.match(error.reason.detail, says)
          assert.strictEqual(error.reason.fate, "NotSent")
        }
      }))
  })
}

it.live("a time to run of 0, which no job has, counts as 1 second: leases are not renewed without end", () =>
  Effect.gen(function*() {
    const { port } = yield* Servers.answering((line) =>
      line.startsWith("reserve") ? "RESERVED 1 1\r\na\r\n" : job(line, "1", { ttr: 0 })
    )
    const { broker } = yield* BeanstalkBroker.make(Native.driver({ port }))
    const [lease] = yield* Effect.flatMap(broker.consume(["q"]), (consumer) => consumer.reserve(1))
    assert.strictEqual(Duration.toSeconds(lease.info!.ttr), 1)
  }))

describe("the message", () => {
  it.live("is short even if the server's text is long, and names the queue of the command", () =>
    Effect.gen(function*() {
      let tube = "secret"
      const { port } = yield* Servers.answering(
        (line) =>
          line.startsWith("peek-ready")
            ? "FOUND 1 1\r\na\r\n"
            : using(line) ?? job(line, "1", { tube, state: "ready" }),
        { version: "1".repeat(60_000) }
      )
      const { inspector } = yield* BeanstalkBroker.make(Native.driver({ port }))
      const look = Effect.provideService(Operator.look("q", { state: "ready", limit: 1 }), Inspector, inspector)
      assert.isBelow((yield* inspector.stats).version.length, 300)
      assert.lengthOf((yield* look).jobs, 0)
      tube = "q"
      assert.lengthOf((yield* look).jobs, 1)
    }))
})

describe("a defect", () => {
  it.live("in a greeting fails the waiting callers, for any cause", () =>
    Effect.gen(function*() {
      const { connect, name } = Native.driver({ port: yield* Network.scripted(() => {}) })
      const broken: ReadonlyArray<Driver["connect"]> = [
        Effect.die("no reason"),
        Effect.die(Object.defineProperty(new Error(), "message", { get: () => assert.fail("not to be read") })),
        Effect.map(connect, (connection) => ({ ...connection, request: () => Effect.die(new RangeError("too long")) }))
      ]
      for (const connect of broken) {
        const services = yield* BeanstalkBroker.make({ name, canReserveJob: true, connect }, { reconnectFor: 0 })
        for (const ask of [put, reserve(1), ({ inspector }: Services) => inspector.stats]) {
          const error = yield* Effect.flip(Effect.timeout(ask(services), "5 seconds"))
          assert(error._tag === "BrokerError")
          assert.deepInclude({ ...error.reason }, { _tag: "Unavailable", fate: "NotSent" })
        }
      }
    }))

  it.live("in the reader of replies ends the connection", () =>
    Effect.gen(function*() {
      const { port } = yield* Servers.answering(() => "USING q\r\n")
      const connection = yield* Native.driver({ port }).connect
      connection.submit([{ _tag: "ListTubeUsed" }], () => {
        throw new Error("a defect")
      })
      const error = yield* Effect.timeout(connection.closed, "5 seconds")
      assert.include(error.message, "a defect")
      const [late] = yield* connection.request([{ _tag: "ListTubeUsed" }])
      assert.strictEqual(late?._tag, "Unanswered")
    }))
})

describe("a job that must not run", () => {
  const Small = Job.make("small", { payload: Schema.Unknown, queue: "q" })
  const body = JSON.stringify({ backq: 1, id: "1", job: "small", payload: 1 })

  it.live.each<[string, Table]>([
    [
      "of a tube that is not watched",
      (line) =>
        line.startsWith("reserve")
          ? `RESERVED 1 ${body.length}\r\n${body}\r\n`
          : job(line, "1", { tube: "secret" })
    ],
    [
      "served twice",
      (line) => line.startsWith("reserve") ? `RESERVED 1 ${body.length}\r\n${body}\r\n` : job(line, "1")
    ]
  ])("%s", ([, table]) =>
    Effect.gen(function*() {
      const { port, told } = yield* Servers.answering(table)
      const { broker } = yield* BeanstalkBroker.make(Native.driver({ port }))
      let runs = 0
      const error = yield* Worker.run(
        { concurrency: 2 },
        Worker.handler(Small, () =>
          Effect.sync(() => {
            runs++
          }))
      ).pipe(Effect.provideService(Broker, broker), Effect.flip)
      assert.strictEqual(error.reason._tag, "ProtocolViolation")
      assert.strictEqual(runs, 0)
      assert.deepStrictEqual(told.filter((line) => /^(delete|release|bury|kick)/.test(line)), [])
    }))

  it.live("that expired before its statistics came", () =>
    Effect.gen(function*() {
      let served = 0
      const { port } = yield* Servers.answering((line) =>
        line.startsWith("reserve")
          ? `RESERVED ${++served} 1\r\na\r\n`
          : line === "stats-job 1"
          ? Servers.jobReply("1", { state: "ready" })
          : line.startsWith("stats-job")
          ? Servers.jobReply("2")
          : undefined
      )
      const { broker } = yield* BeanstalkBroker.make(Native.driver({ port }))
      const consumer = yield* broker.consume(["q", "r"])
      assert.deepStrictEqual((yield* consumer.reserve(1)).map((lease) => lease.id), ["2"])
    }))

  it.live("that the server delivers again on the same connection has expired, and its earlier lease is lost", () =>
    Effect.gen(function*() {
      let asked = 0
      const { port, told } = yield* Servers.answering((line) =>
        line.startsWith("reserve")
          ? ++asked % 2 === 1 ? "RESERVED 1 1\r\na\r\n" : "TIMED_OUT\r\n"
          : line === "delete 1"
          ? "DELETED\r\n"
          : line === "list-tube-used"
          ? "USING default\r\n"
          : job(line, "1")
      )
      const { broker } = yield* BeanstalkBroker.make(Native.driver({ port }))
      const consumer = yield* broker.consume(["q"])
      const [first] = yield* consumer.reserve(2)
      const [second] = yield* consumer.reserve(2)
      assert.isTrue((yield* consumer.leasesLost)[0] === first)
      const results = yield* consumer.settle([{ _tag: "Delete", lease: first }, { _tag: "Delete", lease: second }])
      assert.deepStrictEqual(results.map((one) => Result.isSuccess(one) ? "ok" : one.failure.reason._tag), [
        "LeaseLost",
        "ok"
      ])
      assert.deepStrictEqual(told.filter((line) => line.startsWith("delete")), ["delete 1"])
    }))
})

describe("every command", () => {
  const commands: ReadonlyArray<Command> = [
    { _tag: "Put", priority: 0, delay: 0, ttr: 1, body: Buffer.from("a") },
    { _tag: "Use", tube: "q" },
    { _tag: "Reserve" },
    { _tag: "ReserveWithTimeout", seconds: 0 },
    { _tag: "ReserveJob", id: "1" },
    { _tag: "Delete", id: "1" },
    { _tag: "Release", id: "1", priority: 0, delay: 0 },
    { _tag: "Bury", id: "1", priority: 0 },
    { _tag: "Touch", id: "1" },
    { _tag: "Watch", tube: "q" },
    { _tag: "Ignore", tube: "q" },
    { _tag: "Peek", id: "1" },
    { _tag: "PeekReady" },
    { _tag: "PeekDelayed" },
    { _tag: "PeekBuried" },
    { _tag: "Kick", bound: 1 },
    { _tag: "KickJob", id: "1" },
    { _tag: "Stats" },
    { _tag: "StatsJob", id: "1" },
    { _tag: "StatsTube", tube: "q" },
    { _tag: "ListTubes" },
    { _tag: "ListTubeUsed" },
    { _tag: "ListTubesWatched" },
    { _tag: "PauseTube", tube: "q", seconds: 0 },
    { _tag: "Quit" }
  ]
  const wire =
    "INSERTED 1|BURIED 1|BURIED|RESERVED 1 1\r\na|FOUND 1 1\r\na|OK 1\r\na|USING q|WATCHING 1|KICKED 1|KICKED|DELETED|RELEASED|TOUCHED|PAUSED|DEADLINE_SOON|TIMED_OUT|NOT_FOUND|NOT_IGNORED|EXPECTED_CRLF|JOB_TOO_BIG|DRAINING|OUT_OF_MEMORY|INTERNAL_ERROR|BAD_FORMAT|UNKNOWN_COMMAND"
  const replies: Array<Reply> = []
  new Parser().feed(Buffer.from(`${wire.replaceAll("|", "\r\n")}\r\n`), replies)

  /** The protocol's table. */
  const allowed: Record<Command["_tag"], string> = {
    Put: "INSERTED 1|BURIED 1|BURIED|JOB_TOO_BIG|DRAINING",
    Use: "USING q",
    Reserve: "RESERVED 1 1\r\na|DEADLINE_SOON|TIMED_OUT",
    ReserveWithTimeout: "RESERVED 1 1\r\na|DEADLINE_SOON|TIMED_OUT",
    ReserveJob: "RESERVED 1 1\r\na|NOT_FOUND",
    Delete: "DELETED|NOT_FOUND",
    Release: "BURIED|RELEASED|NOT_FOUND",
    Bury: "BURIED|NOT_FOUND",
    Touch: "TOUCHED|NOT_FOUND",
    Watch: "WATCHING 1",
    Ignore: "WATCHING 1|NOT_IGNORED",
    Peek: "FOUND 1 1\r\na|NOT_FOUND",
    PeekReady: "FOUND 1 1\r\na|NOT_FOUND",
    PeekDelayed: "FOUND 1 1\r\na|NOT_FOUND",
    PeekBuried: "FOUND 1 1\r\na|NOT_FOUND",
    Kick: "KICKED 1",
    KickJob: "KICKED|NOT_FOUND",
    Stats: "OK 1\r\na",
    StatsJob: "OK 1\r\na|NOT_FOUND",
    StatsTube: "OK 1\r\na|NOT_FOUND",
    ListTubes: "OK 1\r\na",
    ListTubeUsed: "USING q",
    ListTubesWatched: "OK 1\r\na",
    PauseTube: "PAUSED|NOT_FOUND",
    Quit: ""
  }

  it.each(commands.map((command) => [command._tag, command] as const))(
    "%s has the protocol's answers, and no others",
    (tag, command) => {
      const troubles = tag === "Quit"
        ? ""
        : tag === "Put"
        ? "|OUT_OF_MEMORY|INTERNAL_ERROR"
        : "|OUT_OF_MEMORY|INTERNAL_ERROR|BAD_FORMAT|UNKNOWN_COMMAND"
      assert.deepStrictEqual(
        wire.split("|").filter((_, i) => mismatch(command, replies[i]!) === undefined),
        `${allowed[tag]}${troubles}`.split("|").filter((reply) => reply !== "")
      )
    }
  )
})
