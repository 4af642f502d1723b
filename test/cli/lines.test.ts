/** The output of the command never controls a terminal or forges a line, for any text in jobs, names, files and URLs. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Broker, putRequest } from "../../src/Broker.ts"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { main } from "../../src/cli/main.ts"
import { Output, OutputError } from "../../src/cli/output.ts"
import { Shutdown } from "../../src/cli/shutdown.ts"
import { Inspector } from "../../src/Inspector.ts"
import { folder } from "../support/folder.ts"
import { allow, withPrograms } from "../support/limits.ts"
import { onEach } from "./brokers.ts"
import { run } from "./command.ts"

allow(withPrograms)

/** Clears the screen, sets the title, turns what follows, C1, a line of its own, a blank that can't be seen, a tag. */
const hostile = "\x1b[2J\x1b]0;title\x07\u202e\u009b31m\nforged\r\u2028\u200b\u{e0041}\ud800"

const unsafe = /[^\n\P{C}]|[\p{Zl}\p{Zp}]/u

const assertSafe = ({ stderr, stdout }: { readonly stdout: string; readonly stderr: string }) => {
  for (const text of [stdout, stderr]) {
    assert.notMatch(text, unsafe)
    assert.notMatch(text, /^forged/m)
  }
}

const putBody = (queue: string, body: string) =>
  Broker.use((broker) => broker.put(queue, Result.getOrThrow(putRequest(Buffer.from(body)))))

const envelope = (payload: string, job = "mail") =>
  `{"backq":1,"id":${JSON.stringify(hostile)},"job":${JSON.stringify(job)},"payload":${payload}}`

/** Arrays in arrays. */
const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels)

const text = (value: unknown) => JSON.stringify(value)

describe("lines", () => {
  it.live("what jobs, names, files and reasons hold is escaped by every command", () =>
    Effect.gen(function*() {
      const path = join(yield* folder, "a\x1b[31m\u202e\u009b")
      mkdirSync(path)
      const file = join(path, "jobs.db")
      const url = `sqlite:${file}`
      yield* Effect.gen(function*() {
        yield* putBody("mail", envelope(text({ [hostile]: hostile }), hostile))
        yield* putBody("mail", hostile)
        yield* putBody("mail", envelope("{\"timeout\":1e999}", "process"))
        const { buryJob } = yield* Inspector
        yield* buryJob(yield* putBody("buried", envelope(text(hostile))), hostile)
      }).pipe(Effect.provide(BrokerUrl.layer(url)))
      const tokens = join(path, "tokens")
      const payload = join(path, "payload")
      writeFileSync(tokens, hostile)
      writeFileSync(payload, hostile)
      const commands: ReadonlyArray<ReadonlyArray<string>> = [
        ["queues", "--sample", "0"],
        ["queues", hostile, "--sample", "0"],
        ["stats"],
        ["peek", "mail"],
        ["peek", "buried", "--state", "buried"],
        ["peek", hostile],
        ["peek", "--id", hostile],
        ["doctor", "--known", hostile],
        ["delete", hostile],
        ["bury", hostile],
        ["move", hostile, "mail"],
        ["move", "mail", hostile],
        ["kick", hostile],
        ["drain", hostile, "--yes"],
        ["pause", hostile, "1m"],
        ["resume", hostile],
        [hostile],
        ["queues", `--${hostile}`],
        ["kick", "mail", "--state", hostile],
        ["publish", "process", "--queue", hostile, "--", "true"],
        ["publish", "process", "--input-file", join(path, "absent"), "--", "cat"],
        ["publish", "apns", "--topic", hostile, "--body", "Hi", "--token", hostile],
        ["publish", "apns", "--topic", "com.example.app", "--body", "Hi", "--tokens", tokens],
        ["publish", "apns", "--topic", "com.example.app", "--payload", payload, "--token", "a1".repeat(32)],
        [
          "push",
          "apns",
          "--key",
          hostile,
          "--team-id",
          hostile,
          "--topic",
          "a",
          "--body",
          "Hi",
          "--token",
          "a1".repeat(32)
        ]
      ]
      for (const args of commands) {
        assertSafe(yield* run([...args, "--broker", url]))
        if (args[0] === "publish") continue
        const json = yield* run([...args, "--broker", url, "--json"])
        assertSafe(json)
        if (json.stdout !== "") JSON.parse(json.stdout)
      }
      for (
        const wrong of [
          `sqlite:${hostile}/${hostile}`,
          hostile,
          `beanstalk://${hostile}`,
          `beanstalk://h:1?${hostile}=1`
        ]
      ) {
        const ended = yield* run(["queues", "--broker", wrong])
        assertSafe(ended)
        assert.notStrictEqual(ended.code, 0)
        assert.lengthOf(ended.stderr.split("\n"), 1)
      }
    }))

  it.live("JSON reads as the value that was published", () =>
    Effect.gen(function*() {
      const url = `sqlite:${join(yield* folder, "jobs.db")}`
      yield* Effect.provide(putBody("mail", envelope(text({ [hostile]: [hostile] }))), BrokerUrl.layer(url))
      const { stdout } = yield* run(["peek", "mail", "--json", "--broker", url])
      assert.deepStrictEqual(JSON.parse(stdout).jobs[0].envelope.payload, { [hostile]: [hostile] })
    }))
})

onEach("bodies that are valid and extreme", (target) => {
  it.live.each([201, 2000, 30_000])(
    "a payload of %i nested arrays is shown as text, and its neighbours as ever",
    (levels) =>
      Effect.gen(function*() {
        const { backq, layer } = yield* target
        yield* Effect.gen(function*() {
          const id = yield* putBody("deep", envelope(nested(levels)))
          yield* putBody("deep", envelope("{\"to\":\"somebody\"}"))
          yield* putBody("other", envelope(`{"to":${nested(200)}}`.replace("[[", "[1e400,[")))

          const json = yield* backq("peek", "deep", "--json")
          assert.strictEqual(json.code, 0)
          const [first, ...others] = JSON.parse(json.stdout).jobs
          assert.match(first.unshown, /nested more than 200 levels deep/)
          assert.isTrue(first.body.startsWith("{\"backq\":1,"))
          assert.isBelow(first.body.length, 5000)
          assert.notProperty(first, "envelope")
          for (const other of others) assert.deepStrictEqual(other.envelope.payload, { to: "somebody" })

          const people = yield* backq("peek", "deep")
          assert.strictEqual(people.code, 0)
          assert.match(people.stdout, /^ {2}body +\d+ bytes; its payload is nested more than 200 levels deep$/m)
          if (others.length > 0) assert.match(people.stdout, /^ {14}"to": "somebody"$/m)
          assert.isBelow(people.stdout.length, 10_000)

          // as deep as is shown, with a number that JavaScript has not
          const edge = yield* backq("peek", "other", "--json")
          assert.include(edge.stdout, "1e400")

          for (
            const args of [["doctor", "--json"], ["doctor", "--known", "mail"], ["queues", "--sample", "0"], ["stats"]]
          ) {
            const { code, stderr } = yield* backq(...args)
            assert.include([0, 6], code, stderr)
          }
          assert.include(yield* backq("move", "deep", "moved", "--id", id), { code: 0 })
        }).pipe(Effect.provide(layer))
      })
  )

  it.live("a name or an id that is as long as a body is shown in part", () =>
    Effect.gen(function*() {
      const { backq, layer } = yield* target
      const long = "n".repeat(30_000)
      const body = JSON.stringify({ backq: 1, id: long, job: long, payload: {} })
      yield* Effect.provide(putBody("long", body), layer)
      const { code, stdout } = yield* backq("peek", "long")
      assert.strictEqual(code, 0)
      assert.match(stdout, /^ {2}job +n{200} … and 29800 more characters$/m)
      assert.match(stdout, /^ {2}envelope +n{200} … and 29800 more characters$/m)
      assert.deepInclude(JSON.parse((yield* backq("peek", "long", "--json")).stdout).jobs[0].envelope, { id: long })
    }))

  it.live("a payload that is wide and deep is shown at once", () =>
    Effect.gen(function*() {
      const { backq, layer } = yield* target
      const wide = `${"[".repeat(150)}${"1,".repeat(20_000)}1${"]".repeat(150)}`
      yield* Effect.provide(putBody("wide", envelope(wide)), layer)
      const { code, stdout } = yield* backq("peek", "wide")
      assert.strictEqual(code, 0)
      assert.isBelow(stdout.length, 10_000)
    }))
})

describe("a failure of ours", () => {
  const err: Array<string> = []
  const ended = (out: Output["out"]) => {
    err.length = 0
    return main(["--version"]).pipe(
      Effect.provideService(Output, {
        out,
        err: (text) => Effect.sync(() => err.push(text)),
        left: Effect.never
      })
    )
  }

  it.live("a defect is one line on stderr, and code 70", () =>
    Effect.gen(function*() {
      for (
        const defect of [new RangeError("Maximum call stack\nsize exceeded \x1b[2J"), undefined, "a word", {
          get message(): string {
            throw new Error("not readable")
          }
        }]
      ) {
        assert.strictEqual(yield* ended(() => Effect.die(defect)), 70)
        assert.lengthOf(err, 1)
        assert.match(err[0]!, /^backq: a bug in backq, please report it: [^\n]+\n$/)
        assert.notMatch(err[0]!, unsafe)
      }
    }))

  it.live("a signal during printing does not hide the work that is done", () =>
    Effect.gen(function*() {
      err.length = 0
      const url = `sqlite:${join(yield* folder, "jobs.db")}`
      const printing = Deferred.makeUnsafe<void>()
      const code = yield* main(["publish", "process", "--broker", url, "--", "true"]).pipe(
        Effect.provideService(Output, {
          out: () => Effect.andThen(Deferred.succeed(printing, undefined), Effect.never),
          err: (text) => Effect.sync(() => err.push(text)),
          left: Effect.never
        }),
        Effect.provideService(Shutdown, { asked: Deferred.await(printing) })
      )
      assert.strictEqual(code, 130)
      assert.deepStrictEqual(err, [
        "backq: stdout is blocked; but job 1 was accepted\n",
        "backq: interrupted before the end\n"
      ])
    }))

  it.live("a failing stdout is reported, for any error of the system", () =>
    Effect.gen(function*() {
      for (const code of ["ENOSPC", "EIO", "EDQUOT", "EFBIG"]) {
        assert.strictEqual(yield* ended(() => Effect.fail(new OutputError({ code, detail: `${code}: it says` }))), 7)
        assert.deepStrictEqual(err, [`backq: stdout can't be written: ${code}: it says\n`])
      }
      assert.strictEqual(yield* ended(() => Effect.fail(new OutputError({ code: "EPIPE", detail: "EPIPE" }))), 141)
      assert.deepStrictEqual(err, [])
    }))
})
