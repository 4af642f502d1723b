/** What an operator's commands show and change, the same on every broker. */
import { assert, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { Broker, type PutOptions, putRequest } from "../../src/Broker.ts"
import * as Envelope from "../../src/Envelope.ts"
import { Inspector } from "../../src/Inspector.ts"
import { bytes, take } from "../conformance/Harness.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { onEach, type Target } from "./brokers.ts"

allow(withPrograms)

const put = (queue: string, body: string | Uint8Array, options?: PutOptions) =>
  Broker.use((broker) =>
    broker.put(
      queue,
      Result.getOrThrow(putRequest(typeof body === "string" ? bytes(body) : body, options))
    )
  )

const envelope = (payload: unknown): Uint8Array =>
  Envelope.encode({ backq: 1, id: "an-id", job: "mail", payload, publishedAt: 1_700_000_000_000 })

/** Buries the ready jobs of a queue. */
const buryAll = (queue: string, count: number) =>
  Effect.scoped(Effect.gen(function*() {
    const consumer = yield* Broker.use((broker) => broker.consume([queue]))
    for (let i = 0; i < count; i++) {
      const lease = yield* take(consumer)
      const failure = { tag: "Refused", message: "no such user" }
      yield* consumer.settle([{ _tag: "Bury", lease, reason: "gave up", failure }])
    }
  }))

const counts = (queue: string) =>
  Effect.map(
    Inspector.use((inspector) => inspector.statsQueue(queue)),
    ({ buried, delayed, ready, reserved }) => [ready, delayed, reserved, buried]
  )

onEach("operating", (target, kind) => {
  const test = (name: string, body: (target: Target) => Effect.Effect<void, unknown, Broker | Inspector>) =>
    it.live(name, () => Effect.flatMap(target, (one) => Effect.provide(body(one), one.layer)))

  test("queues: all states, the age of the next job, rates, a pause", ({ backq }) =>
    Effect.gen(function*() {
      yield* put("mail", "a")
      yield* buryAll("mail", 1)
      for (const body of ["b", "c"]) yield* put("mail", body)
      yield* put("mail", "d", { delay: "1 hour" })
      yield* put("other", "e")
      assert.include(yield* backq("pause", "mail", "10m"), {
        code: 0,
        stdout: "mail is paused for 10m; backq resume mail ends it"
      })
      const { code, stdout } = yield* backq("queues", "--sample", "0")
      assert.strictEqual(code, 0)
      assert.match(stdout, /^queue +ready +delayed +reserved +buried +idle +next +total +paused$/m)
      assert.match(stdout, /^mail +2 +1 +0 +1 +0 +\d+s +4 +(10m|9m 5\ds)$/m)
      assert.match(stdout, /^other +1 +0 +0 +0 +0 +\d+s +1 +-$/m)
      assert.include(yield* backq("resume", "mail"), { code: 0, stdout: "mail is resumed" })
      const measured = (yield* backq("queues", "--sample", "100ms")).stdout
      assert.match(measured, /^queue +ready +delayed +reserved +buried +idle +next +in\/s +out\/s +total$/m)
      assert.match(measured, /^other +1 +0 +0 +0 +0 +\d+s +0 +0 +1$/m)
      const [mail, ...others] = JSON.parse((yield* backq("queues", "mail", "--sample", "100ms", "--json")).stdout)
      assert.lengthOf(others, 0)
      assert.deepInclude(mail, {
        queue: "mail",
        ready: 2,
        delayed: 1,
        reserved: 0,
        buried: 1,
        pausedFor: 0,
        rates: { in: 0, out: 0 }
      })
      assert.isNumber(mail.nextAge)
    }))

  test("queues: a queue that is named and not there", ({ backq }) =>
    Effect.gen(function*() {
      yield* put("mail", "a")
      const { code, stderr, stdout } = yield* backq("queues", "nail")
      assert.deepStrictEqual([code, stdout], [5, ""])
      assert.match(stderr, /^backq: there is no queue "nail"/)
    }))

  test("stats: the broker, and its queues", ({ backq }) =>
    Effect.gen(function*() {
      yield* put("mail", "a")
      const { stdout } = yield* backq("stats")
      assert.match(stdout, /^jobs +1 ready, 0 delayed, 0 reserved, 0 buried$/m)
      const { queues, ready, uptime } = JSON.parse((yield* backq("stats", "--json")).stdout)
      assert.strictEqual(ready, 1)
      // a file is up for as long as somebody looks at it
      assert.deepStrictEqual([/^uptime/m.test(stdout), uptime !== null], [kind !== "sqlite", kind !== "sqlite"])
      assert.include(queues.find(({ queue }: { queue: string }) => queue === "mail"), { ready: 1, total: 1 })
    }))

  test("peek: envelope, payload, and by id", ({ backq }) =>
    Effect.gen(function*() {
      const id = yield* put("mail", envelope({ to: "somebody", n: 1 }), { priority: 3, ttr: "9 seconds" })
      const { code, stdout } = yield* backq("peek", "mail")
      assert.strictEqual(code, 0)
      assert.match(stdout, new RegExp(`^${id}  ready, in mail$`, "m"))
      assert.match(stdout, /^ {2}job +mail$/m)
      assert.match(stdout, /^ {2}published 2023-11-14T22:13:20.000Z, \d+d/m)
      assert.match(stdout, /priority 3, ttr 9s/)
      assert.match(stdout, /^ {14}"to": "somebody",$/m)
      const undated = (text: string) => text.replace(/put .* ago/, "")
      assert.strictEqual(undated((yield* backq("peek", "--id", id)).stdout), undated(stdout))
      const { jobs } = JSON.parse((yield* backq("peek", "--id", id, "--json")).stdout)
      assert.deepInclude(jobs[0], { id, queue: "mail", state: "ready", priority: 3, ttr: 9000, reason: null })
      assert.deepInclude(jobs[0].envelope, { id: "an-id", job: "mail", payload: { to: "somebody", n: 1 } })
    }))

  test("peek: the text of a body never controls a terminal", ({ backq }) =>
    Effect.gen(function*() {
      yield* put("mail", envelope("\x1b]0;title\x07 \u202e \x9b2J"))
      yield* put("raw", Uint8Array.of(27, 91, 50, 74, 255, 65))
      yield* put("text", "not an \x1b[31menvelope")
      for (
        const [queue, shown] of [["mail", "\\u001b]0;title"], ["raw", "\\x1b[2J\\xffA"], [
          "text",
          "not an \\x1b[31m"
        ]] as const
      ) {
        const { stdout } = yield* backq("peek", queue)
        // oxlint-disable-next-line no-control-regex
        assert.notMatch(stdout, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/)
        assert.include(stdout, shown)
      }
      assert.strictEqual(JSON.parse((yield* backq("peek", "raw", "--json")).stdout).jobs[0].base64, "G1sySv9B")
    }))

  test("peek: pages, or a word that there are none", ({ backq }) =>
    Effect.gen(function*() {
      for (const body of ["a", "b", "c"]) yield* put("mail", body)
      yield* buryAll("mail", 3)
      const first = JSON.parse((yield* backq("peek", "mail", "--state", "buried", "--limit", "2", "--json")).stdout)
      if (kind === "beanstalkd") {
        assert.lengthOf(first.jobs, 1)
        assert.include(first, { next: null, isNextOnly: true })
        assert.match((yield* backq("peek", "mail", "--state", "buried")).stderr, /does not show the jobs behind it/)
        const reserved = yield* backq("peek", "mail", "--state", "reserved")
        assert.strictEqual(reserved.code, 2)
        assert.match(reserved.stderr, /can.t list reserved jobs, only count them/)
        return
      }
      assert.deepStrictEqual(first.jobs.map(({ body }: { body: string }) => body), ["a", "b"])
      assert.deepInclude(first.jobs[0], { reason: "gave up" })
      assert.deepInclude(first.jobs[0].lastFailure, { tag: "Refused", message: "no such user" })
      const rest = JSON.parse(
        (yield* backq("peek", "mail", "--state", "buried", "--after", first.next, "--json")).stdout
      )
      assert.deepStrictEqual(rest.jobs.map(({ body }: { body: string }) => body), ["c"])
      assert.isNull(rest.next)
      const { stderr, stdout } = yield* backq("peek", "mail", "--state", "buried", "--limit", "1")
      assert.match(stdout, /failure +Refused: no such user \(/)
      assert.match(stderr, /^backq: there are more jobs: add --after buried\.\d+\.\d+$/)
    }))

  test("peek: an empty queue, and a job that is not there", ({ backq }) =>
    Effect.gen(function*() {
      const id = yield* put("mail", "a")
      assert.include(yield* backq("peek", "mail", "--state", "delayed"), {
        code: 0,
        stdout: "",
        stderr: "backq: no job of mail is delayed, but the queue has 1 ready: use --state"
      })
      const done = yield* backq("peek", "mail", "--state", "done")
      assert.strictEqual(done.stdout, "")
      if (kind === "beanstalkd") {
        assert.strictEqual(done.code, 2)
        assert.match(done.stderr, /^backq: beanstalk:\S+ keeps no finished jobs$/)
        const after = yield* backq("peek", "mail", "--after", "ready.1.2")
        assert.strictEqual(after.code, 2)
        assert.match(after.stderr, /shows only the next job: leave out --after$/)
      } else {
        assert.strictEqual(done.code, 0)
        assert.match(done.stderr, /^backq: no job of mail is done; .*sqlite:PATH\?history=1d$/)
      }
      yield* Inspector.use((inspector) => inspector.delete(id))
      assert.include(yield* backq("peek", "--id", id), { code: 5, stdout: "" })
      for (const args of [["nosuch"], ["nosuch", "--json"], ["nosuch", "--state", "buried"]]) {
        const { code, stderr, stdout } = yield* backq("peek", ...args)
        assert.deepStrictEqual([code, stdout], [5, ""])
        assert.match(stderr, /^backq: there is no queue "nosuch"/)
      }
    }))

  test("kick: buried jobs, delayed ones only by a flag, or by id", ({ backq }) =>
    Effect.gen(function*() {
      for (const body of ["a", "b", "c"]) yield* put("mail", body)
      yield* buryAll("mail", 3)
      const later = yield* put("mail", "later", { delay: "1 hour" })
      yield* put("mail", "much later", { delay: "2 hours" })
      assert.include(yield* backq("kick", "mail", "1"), { code: 0, stdout: "kicked: 1 job" })
      assert.deepStrictEqual(yield* counts("mail"), [1, 2, 0, 2])
      assert.include(yield* backq("kick", "mail", "1", "--state", "delayed"), { stdout: "kicked: 1 job" })
      assert.strictEqual((yield* Inspector.use((inspector) => inspector.statsJob(later))).state, "ready")
      assert.deepStrictEqual(yield* counts("mail"), [2, 1, 0, 2])
      assert.include(yield* backq("kick", "mail", "--json"), { stdout: `{"kicked":2}` })
      assert.include(yield* backq("kick", "mail"), {
        stdout: "kicked: 0 jobs",
        stderr: "backq: no job of mail is buried, but the queue has 1 delayed: use --state"
      })
      assert.deepStrictEqual(yield* counts("mail"), [4, 1, 0, 0])
      const { code, stderr, stdout } = yield* backq("kick", "--id", later)
      assert.deepStrictEqual([code, stdout], [5, ""])
      assert.match(stderr, new RegExp(`^backq: there is no job ${later} in a state`))
    }))

  test("bury and delete: by ids; missing ones are named, the others are done", ({ backq }) =>
    Effect.gen(function*() {
      const [a, b] = [yield* put("mail", "a"), yield* put("mail", "b", { delay: "1 hour" })]
      assert.include(yield* backq("bury", a, b, "--reason", "not now"), { code: 0, stdout: `buried: ${a}, ${b}` })
      const { reason } = yield* Inspector.use((inspector) => inspector.statsJob(a))
      assert.strictEqual(reason, kind === "beanstalkd" ? undefined : "not now")
      const { code, stderr, stdout } = yield* backq("delete", a, "987654", "--json")
      assert.deepStrictEqual([code, JSON.parse(stdout)], [5, { deleted: [a], missing: ["987654"] }])
      assert.match(stderr, /^backq: there is no job 987654/)
      assert.deepStrictEqual(yield* counts("mail"), [0, 0, 0, 1])
    }))

  test("move: all buried jobs, some of them, or by id, and they are ready there", ({ backq }) =>
    Effect.gen(function*() {
      for (const body of ["a", "b", "c"]) yield* put("mail", body)
      yield* buryAll("mail", 3)
      const ready = yield* put("mail", "d")
      assert.include(yield* backq("move", "mail", "dead", "--max", "2"), { code: 0, stdout: "moved: 2 jobs" })
      assert.deepStrictEqual(yield* counts("mail"), [1, 0, 0, 1])
      assert.deepStrictEqual(yield* counts("dead"), [2, 0, 0, 0])
      assert.include(yield* backq("move", "mail", "dead", "--id", ready), { stdout: `moved: ${ready}` })
      assert.deepStrictEqual(yield* counts("dead"), [3, 0, 0, 0])
      assert.include(yield* backq("move", "dead", "mail", "--state", "ready", "--json"), { stdout: `{"moved":3}` })
      assert.deepStrictEqual(yield* counts("mail"), [3, 0, 0, 1])
      assert.strictEqual((yield* backq("move", "mail", "a b")).code, 1)
      assert.strictEqual((yield* backq("move", "mail", "a b", "--id", "987654")).code, 1)
      assert.strictEqual((yield* backq("move", "mail", "a b", "--state", "delayed")).code, 1)
      assert.include(yield* backq("move", "mail", "dead", "--state", "delayed"), {
        code: 0,
        stdout: "moved: 0 jobs",
        stderr: "backq: no job of mail is delayed, but the queue has 3 ready, 1 buried: use --state"
      })
      assert.strictEqual((yield* backq("move", "nail", "mail")).code, 5)
    }))

  test("what takes many jobs does nothing without a yes", ({ backq }) =>
    Effect.gen(function*() {
      for (let i = 0; i < 12; i++) yield* put("mail", "a")
      yield* buryAll("mail", 12)
      for (const args of [["kick", "mail"], ["move", "mail", "dead"], ["drain", "mail"]]) {
        const { code, stderr, stdout } = yield* backq(...args)
        assert.deepStrictEqual([code, stdout], [1, ""])
        assert.match(stderr, /^backq: nothing was done: without a terminal, --yes must be given to .*12.*$/)
      }
      assert.deepStrictEqual(yield* counts("mail"), [0, 0, 0, 12])
      assert.include(yield* backq("kick", "mail", "--yes"), { code: 0, stdout: "kicked: 12 jobs" })
    }))

  test("drain: empties one queue, except for the jobs that workers hold", ({ backq }) =>
    Effect.scoped(Effect.gen(function*() {
      for (const body of ["a", "b"]) yield* put("mail", body)
      yield* buryAll("mail", 1)
      yield* put("mail", "held", { priority: 0 })
      yield* take(yield* Broker.use((broker) => broker.consume(["mail"])))
      yield* put("mail", "c", { delay: "1 hour" })
      yield* put("other", "d")
      assert.include(yield* backq("drain", "mail", "--state", "delayed", "-y"), { stdout: "deleted: 1 job" })
      assert.deepStrictEqual(yield* counts("mail"), [1, 0, 1, 1])
      const { stderr, stdout } = yield* backq("drain", "mail", "--yes")
      assert.strictEqual(stdout, "deleted: 2 jobs")
      assert.match(stderr, /^backq: not deleted: 1 job of mail, which workers hold$/)
      assert.deepStrictEqual(yield* counts("mail"), [0, 0, 1, 0])
      assert.deepStrictEqual(yield* counts("other"), [1, 0, 0, 0])
    })))

  test("drain: thousands", ({ backq }) =>
    Effect.gen(function*() {
      const { putAll } = yield* Broker
      const request = Result.getOrThrow(putRequest(bytes("a")))
      yield* putAll("mail", Array.from({ length: 2500 }, () => request))
      assert.include(yield* backq("drain", "mail", "--yes"), { stdout: "deleted: 2500 jobs" })
      yield* put("mail", "a")
      assert.deepStrictEqual(yield* counts("mail"), [1, 0, 0, 0])
    }))

  test("pause: for a time", ({ backq }) =>
    Effect.gen(function*() {
      yield* put("mail", "a")
      assert.include(yield* backq("pause", "mail", "90s", "--json"), { stdout: `{"queue":"mail","pausedFor":90000}` })
      const { pausedFor } = yield* Inspector.use((inspector) => inspector.statsQueue("mail"))
      assert.isAbove(Duration.toSeconds(pausedFor), 80)
    }))

  test("pause and resume make no queue", ({ backq }) =>
    Effect.gen(function*() {
      yield* put("mail", "a")
      for (const args of [["pause", "nosuch", "90s"], ["resume", "nosuch"]]) {
        const { code, stderr, stdout } = yield* backq(...args)
        assert.deepStrictEqual([code, stdout], [5, ""])
        assert.match(stderr, /^backq: there is no queue "nosuch"/)
      }
      const queues = yield* Inspector.use((inspector) => inspector.queues)
      assert.notInclude(queues, "nosuch")
    }))
})

it.live("a file that is not there is not made by looking at it", () =>
  Effect.gen(function*() {
    const { run } = yield* Effect.promise(() => import("./command.ts"))
    const { existsSync } = yield* Effect.promise(() => import("node:fs"))
    const { code, stderr } = yield* run(["queues", "--broker", "sqlite:/tmp/backq-no-such-file.db"])
    assert.strictEqual(code, 2)
    assert.match(stderr, /^backq: there is no file \/tmp\/backq-no-such-file.db: publish a job or start a worker/)
    assert.isFalse(existsSync("/tmp/backq-no-such-file.db"))
  }))
