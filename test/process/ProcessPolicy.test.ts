import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import { Broker } from "../../src/Broker.ts"
import * as MemoryBroker from "../../src/brokers/memory/MemoryBroker.ts"
import { Inspector } from "../../src/Inspector.ts"
import { ProcessRunner, RecordedProcesses, run } from "../../src/process/Process.ts"
import * as ProcessJob from "../../src/process/ProcessJob.ts"
import type { ProcessPayload } from "../../src/process/ProcessPayload.ts"
import * as ProcessPolicy from "../../src/process/ProcessPolicy.ts"
import * as Publisher from "../../src/Publisher.ts"
import { perform } from "../../src/testing/Perform.ts"
import * as Worker from "../../src/Worker.ts"
import { allow, withPrograms } from "../support/limits.ts"

allow(withPrograms)

const strict = ProcessPolicy.make({
  programs: ["convert", "/opt/bin/build"],
  directories: ["/srv/images", "/var/tmp/"],
  environment: ["LANG"],
  maxTimeout: "10 minutes"
})

/** A policy that {@link ProcessPolicy.make} would refuse. */
const byHand = (parts: Partial<ProcessPolicy.ProcessPolicy>): ProcessPolicy.ProcessPolicy => ({
  ...ProcessPolicy.argvOnly,
  ...parts
})

const verdict = (policy: ProcessPolicy.ProcessPolicy, payload: ProcessPayload): string =>
  Result.match(ProcessPolicy.check(policy, payload), {
    onSuccess: () => "allowed",
    onFailure: (refused) => refused.rule
  })

const table: ReadonlyArray<readonly [string, ProcessPolicy.ProcessPolicy, ProcessPayload, string]> = [
  ["argvOnly", ProcessPolicy.argvOnly, { command: ["sh", "-c", "ls"] }, "allowed"],
  ["argvOnly", ProcessPolicy.argvOnly, { command: "ls" }, "shellLines"],
  ["argvOnly", ProcessPolicy.argvOnly, { command: ["ls"], detach: true, cwd: "/", env: { PATH: "/x" } }, "allowed"],
  ["open", ProcessPolicy.open, { command: "ls" }, "allowed"],
  ["open", ProcessPolicy.open, { command: ["ls"], detach: true, extendEnv: false }, "allowed"],

  ["strict", strict, { command: ["convert", "a", "b"] }, "allowed"],
  ["strict", strict, { command: ["/opt/bin/build"] }, "allowed"],
  ["strict", strict, { command: "convert" }, "shellLines"],
  ["strict", strict, { command: ["Convert"] }, "programs"],
  ["strict", strict, { command: ["build"] }, "programs"],
  ["strict", strict, { command: ["/usr/bin/convert"] }, "programs"],
  ["strict", strict, { command: ["./convert"] }, "programs"],
  ["strict", strict, { command: ["opt/bin/build"] }, "programs"],
  ["strict", strict, { command: ["/opt/bin/../bin/build"] }, "programs"],
  ["strict", strict, { command: ["/opt/bin//build"] }, "programs"],
  ["strict", strict, { command: ["/opt/bin/build/"] }, "programs"],
  ["strict", strict, { command: ["convert "] }, "programs"],
  ["a relative path in the list", byHand({ programs: new Set(["./x"]) }), { command: ["./x"] }, "programs"],
  [
    "shell lines and programs",
    byHand({ shellLines: true, programs: new Set(["/bin/sh", "ls"]) }),
    { command: "ls" },
    "programs"
  ],
  ["shell lines and programs", byHand({ shellLines: true, programs: new Set(["ls"]) }), { command: ["ls"] }, "allowed"],
  ["no programs", ProcessPolicy.make({ programs: [] }), { command: ["ls"] }, "programs"],

  ["strict", strict, { command: ["convert"], cwd: "/srv/images" }, "allowed"],
  ["strict", strict, { command: ["convert"], cwd: "/srv/images/" }, "allowed"],
  ["strict", strict, { command: ["convert"], cwd: "/srv/images/2024/x" }, "allowed"],
  ["strict", strict, { command: ["convert"], cwd: "/srv//images/./x" }, "allowed"],
  ["strict", strict, { command: ["convert"], cwd: "/var/tmp" }, "allowed"],
  ["strict", strict, { command: ["convert"], cwd: "/srv/images2" }, "directories"],
  ["strict", strict, { command: ["convert"], cwd: "/srv/images/.." }, "directories"],
  ["strict", strict, { command: ["convert"], cwd: "/srv/images/../../etc" }, "directories"],
  ["strict", strict, { command: ["convert"], cwd: "/srv" }, "directories"],
  ["strict", strict, { command: ["convert"], cwd: "/" }, "directories"],
  ["strict", strict, { command: ["convert"], cwd: "srv/images" }, "directories"],
  ["the root", ProcessPolicy.make({ directories: ["/"] }), { command: ["ls"], cwd: "/etc" }, "allowed"],
  ["no directories", ProcessPolicy.make({ directories: [] }), { command: ["ls"], cwd: "/etc" }, "directories"],
  ["no directories", ProcessPolicy.make({ directories: [] }), { command: ["ls"] }, "directories"],

  ["strict", strict, { command: ["convert"], env: { LANG: "C" } }, "allowed"],
  ["strict", strict, { command: ["convert"], env: { LANG: null } }, "allowed"],
  ["strict", strict, { command: ["convert"], env: { lang: "C" } }, "environment"],
  ["strict", strict, { command: ["convert"], env: { LANG: "C", PATH: "/tmp" } }, "environment"],
  ["strict", strict, { command: ["convert"], env: { LD_PRELOAD: "/tmp/x.so" } }, "environment"],
  ["strict", strict, { command: ["convert"], env: { HOME: null } }, "environment"],
  ["strict", strict, { command: ["convert"], extendEnv: false }, "allowed"],
  ["strict", strict, { command: ["convert"], extendEnv: false, env: { PATH: "/x" } }, "environment"],
  ["programs alone", ProcessPolicy.make({ programs: ["ls"] }), { command: ["ls"], env: { A: "1" } }, "environment"],
  [
    "programs, any environment",
    ProcessPolicy.make({ programs: ["ls"], environment: "any" }),
    { command: ["ls"], env: { PATH: "/x" } },
    "allowed"
  ],

  ["strict", strict, { command: ["convert"], timeout: "10 minutes" }, "allowed"],
  ["strict", strict, { command: ["convert"], timeout: "601 seconds" }, "maxTimeout"],
  ["strict", strict, { command: ["convert"], detach: true }, "detach"],
  ["no detach", ProcessPolicy.make({ detach: false }), { command: ["ls"], detach: true }, "detach"],
  ["strict", strict, { command: ["convert"], outputLimit: 256 * 1024 }, "allowed"],
  ["strict", strict, { command: ["convert"], outputLimit: 256 * 1024 + 1 }, "maxOutputLimit"],
  ["argvOnly", ProcessPolicy.argvOnly, { command: ["ls"], outputLimit: 16 * 1024 * 1024 }, "maxOutputLimit"],
  ["open", ProcessPolicy.open, { command: ["ls"], outputLimit: 16 * 1024 * 1024 }, "allowed"],
  [
    "more output",
    ProcessPolicy.make({ maxOutputLimit: 1024 * 1024 }),
    { command: ["ls"], outputLimit: 1_000_000 },
    "allowed"
  ],
  ["no output", ProcessPolicy.make({ maxOutputLimit: 0 }), { command: ["ls"], outputLimit: 1 }, "maxOutputLimit"],

  [
    "detach in spite of maxTimeout",
    ProcessPolicy.make({ maxTimeout: "1 second", detach: true }),
    { command: ["ls"], detach: true },
    "allowed"
  ]
]

describe("ProcessPolicy", () => {
  it.each(
    table.map(([name, policy, payload, expected]) =>
      [name, JSON.stringify(payload), expected, policy, payload] as const
    )
  )(
    "%s: %s is %s",
    (_name, _json, expected, policy, payload) => {
      assert.strictEqual(verdict(policy, payload), expected)
    }
  )

  it("sets its timeout on a payload without one, and keeps a shorter one", () => {
    const checked = (payload: ProcessPayload) => Result.getOrThrow(ProcessPolicy.check(strict, payload))
    assert.deepStrictEqual(checked({ command: ["convert"] }).timeout, Duration.minutes(10))
    assert.strictEqual(checked({ command: ["convert"], timeout: "1 second" }).timeout, "1 second")
  })

  it("limits the kept output, also of a payload without outputLimit", () => {
    const kept = (maxOutputLimit: number, payload: ProcessPayload) =>
      Result.getOrThrow(ProcessPolicy.check(ProcessPolicy.make({ maxOutputLimit }), payload)).outputLimit
    assert.strictEqual(kept(1000, { command: ["ls"] }), 1000)
    assert.strictEqual(kept(0, { command: ["ls"] }), 0)
    assert.isUndefined(kept(16_384, { command: ["ls"] }))
    assert.strictEqual(kept(1000, { command: ["ls"], outputLimit: 10 }), 10)
  })

  it("sets no timeout on a detached process", () => {
    const policy = ProcessPolicy.make({ maxTimeout: "1 second", detach: true })
    const payload: ProcessPayload = { command: ["ls"], detach: true }
    assert.deepStrictEqual(Result.getOrThrow(ProcessPolicy.check(policy, payload)), payload)
  })

  it("runs a payload without cwd in the first allowed directory", () => {
    assert.strictEqual(Result.getOrThrow(ProcessPolicy.check(strict, { command: ["convert"] })).cwd, "/srv/images")
    assert.isUndefined(Result.getOrThrow(ProcessPolicy.check(ProcessPolicy.open, { command: ["ls"] })).cwd)
  })

  it("runs in the checked directory", () => {
    const payload: ProcessPayload = { command: ["convert"], cwd: "/srv/images/a/../b/." }
    assert.strictEqual(Result.getOrThrow(ProcessPolicy.check(strict, payload)).cwd, "/srv/images/b")
  })

  it("names the allowed values, and shows no value of the environment", () => {
    const refusal = Result.match(
      ProcessPolicy.check(strict, { command: ["convert"], env: { API_KEY: "hunter2" } }),
      { onSuccess: () => "", onFailure: (refused) => refused.message }
    )
    assert.include(refusal, "API_KEY")
    assert.include(refusal, "LANG")
    assert.notInclude(refusal, "hunter2")
  })

  it.effect("allows only argv by default, and runs nothing that it refuses", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(run({ command: "ls | wc" }))
      assert.strictEqual(error.reason._tag === "Refused" && error.reason.rule, "shellLines")
      yield* run({ command: ["ls"] })
      const recorded = yield* RecordedProcesses
      assert.deepStrictEqual(yield* recorded.payloads, [{ command: ["ls"] }])
    }).pipe(Effect.provide(ProcessRunner.layerTest())))

  it.effect("is a layer", () =>
    Effect.gen(function*() {
      yield* run({ command: "ls | wc" })
      const recorded = yield* RecordedProcesses
      assert.deepStrictEqual(yield* recorded.payloads, [{ command: "ls | wc" }])
    }).pipe(
      Effect.provide(Layer.merge(ProcessRunner.layerTest(), ProcessPolicy.layer(ProcessPolicy.open)))
    ))

  it.effect("does not replace the payload's own rules", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(run({ command: ["ls", "\0"] }))
      assert.strictEqual(error.reason._tag === "Refused" && error.reason.rule, "payload")
    }).pipe(Effect.provide(ProcessRunner.layerTest())))
})

describe("invalid options", () => {
  const refused: ReadonlyArray<readonly [ProcessPolicy.Options, RegExp]> = [
    [{ shellLines: true, programs: ["convert"] }, /--shell and --allow.* must not be set together/],
    [{ shellLines: true, programs: [] }, /must not be set together/],
    [{ programs: [""] }, /--allow\) must be .*, not ''$/],
    [{ programs: ["convert", ""] }, /--allow\) must be/],
    ...["./x", "bin/x", "/opt/../bin/x", "/opt//x", "/opt/./x", "/opt/x/", "/", ".", "..", "ls\0", "ls\n", " ls"].map((
      program
    ) => [{ programs: [program] }, /--allow\) must be a name without a slash, or an absolute path/] as const),
    ...["", ".", "images", "./images", "~/images", "/srv/../etc", "/srv\0", "/srv\n"].map((directory) =>
      [{ directories: ["/srv", directory] }, /--allow-dir\) must be an absolute path without \.\./] as const
    ),
    ...["", "A=B", "A\0", "A ", "\n"].map((name) =>
      [{ environment: [name] }, /--allow-env\) must be a non-empty name/] as const
    ),
    ...["*", "LC_*", "\u200bLANG", "LA\u00adNG"].map((name) =>
      [{ environment: [name] }, /--allow-env\) must be a non-empty name/] as const
    ),
    ...["\u200bconvert", "con\u2060vert", "convert\ufeff", "/bin/ls\u200b"].map((program) =>
      [{ programs: [program] }, /--allow\) must be .*\\u\{[0-9a-f]+\}/] as const
    ),
    [{ directories: ["/srv\u200b"] }, /--allow-dir\) must be .*\/srv\\u\{200b\}/],
    ...["", "A=B", "A\0", "A*B", "**", "A*B*"].map((name) =>
      [{ inherit: [name] }, /--inherit-env\) must be a non-empty name/] as const
    ),
    ...[0, -1, NaN, Infinity, "Infinity", "0 millis", "soon"].map((maxTimeout) =>
      [
        { maxTimeout: maxTimeout as Duration.Input },
        /maxTimeout must be a duration .*, finite and more than 0, not /
      ] as const
    ),
    ...[-1, 0.5, NaN, Infinity, 16 * 1024 * 1024 + 1].map((maxOutputLimit) =>
      [{ maxOutputLimit }, /maxOutputLimit must be an integer number of bytes from 0 to 16777216, not /] as const
    )
  ]

  it.each(refused)("%j", (options, reason) => {
    const result = ProcessPolicy.makeResult(options)
    assert.match(Result.isFailure(result) ? result.failure.message : "made", reason)
    assert.throws(() => ProcessPolicy.make(options), reason)
  })

  // a file of settings, or JavaScript, keeps to no type
  const untyped: ReadonlyArray<readonly [string, unknown, RegExp]> = [
    ["a list that is null", { programs: null }, /^programs must be a list, or "any"/],
    ["a word for a list", { programs: "convert" }, /^programs must be a list/],
    ["a list of something else", { directories: [["/srv"]] }, /--allow-dir\) must be/],
    ["a word for directories", { directories: "/srv" }, /^directories must be a list/],
    ["a set", { environment: new Set(["A"]) }, /^environment must be a list/],
    ["any, where it is written *", { inherit: "any" }, /^inherit must be a list/],
    ["a word for no", { shellLines: "false" }, /^shellLines must be true or false/],
    ["a number for yes", { detach: 1 }, /^detach must be true or false/],
    ["null for a time", { maxTimeout: null }, /^maxTimeout must be/],
    ["null for bytes", { maxOutputLimit: null }, /^maxOutputLimit must be/],
    ["a name of no option", { program: ["convert"] }, /^a policy has no option program: .*programs, directories/],
    ["a name in other letters", { Programs: ["convert"] }, /^a policy has no option Programs/],
    ["the name of a flag", { "allow-dir": ["/srv\u001b"] }, /^a policy has no option allow-dir/]
  ]

  it.each(untyped)("%s", (_what, options, reason) => {
    const result = ProcessPolicy.makeResult(options as ProcessPolicy.Options)
    assert.match(Result.isFailure(result) ? result.failure.message : "made", reason)
  })

  it("hostile words are escaped and clipped", () => {
    const result = ProcessPolicy.makeResult({ programs: [`/\u001b[31m\u202e\n${"x".repeat(60_000)}/`] })
    const message = Result.isFailure(result) ? result.failure.message : ""
    assert.notMatch(message, /[\p{Cc}\p{Cf}]/u)
    assert.isBelow(message.length, 500)
  })

  it("valid options make a policy", () => {
    const { make } = ProcessPolicy
    assert.deepStrictEqual(make({ directories: ["/srv//images/./a/", "/"] }).directories, ["/srv/images/a", "/"])
    assert.deepStrictEqual(
      make({ programs: ["c++", "/opt/my tools/x", "été"] }).programs,
      new Set(["c++", "/opt/my tools/x", "été"])
    )
    make({ shellLines: true, programs: "any", environment: ["A"], directories: ["/srv"] })
    make({ maxTimeout: "1 milli", detach: true, maxOutputLimit: 0, programs: [], directories: [] })
  })
})

describe("the worker's variables that a process gets", () => {
  const own = {
    PATH: "/bin",
    HOME: "/root",
    LC_TIME: "C",
    TZ: "UTC",
    AWS_SECRET: "s",
    BACKQ_BROKER: "beanstalk://u:p@h",
    BACKQ_APNS_KEY: "k",
    BACKQ: "q"
  }
  const basic = { PATH: "/bin", HOME: "/root", LC_TIME: "C", TZ: "UTC" }
  const { AWS_SECRET, BACKQ, BACKQ_APNS_KEY, BACKQ_BROKER } = own
  const { argvOnly, environmentOf, make, open } = ProcessPolicy
  const cases: ReadonlyArray<readonly [string, ProcessPolicy.ProcessPolicy, object]> = [
    ["argvOnly", argvOnly, { ...basic, AWS_SECRET, BACKQ }],
    ["open", open, { ...basic, AWS_SECRET, BACKQ }],
    ["a list of programs", make({ programs: ["ls"] }), basic],
    ["a list of variables", make({ environment: ["A"] }), basic],
    ["programs, any variable", make({ programs: ["ls"], environment: "any" }), basic],
    ["directories alone", make({ directories: ["/srv"] }), { ...basic, AWS_SECRET, BACKQ }],
    ["nothing more", make({ inherit: [] }), basic],
    ["one more", make({ programs: ["ls"], inherit: ["AWS_SECRET"] }), { ...basic, AWS_SECRET }],
    ["all", make({ programs: ["ls"], inherit: ["*"] }), { ...basic, AWS_SECRET, BACKQ }],
    ["all and one of ours", make({ inherit: ["*", "BACKQ_BROKER"] }), { ...basic, AWS_SECRET, BACKQ, BACKQ_BROKER }],
    ["a beginning", make({ inherit: ["B*"] }), { ...basic, BACKQ }],
    ["all of ours", make({ inherit: ["BACKQ_*"] }), { ...basic, BACKQ_BROKER, BACKQ_APNS_KEY }],
    ["some of ours", make({ inherit: ["BACKQ_A*"] }), { ...basic, BACKQ_APNS_KEY }],
    ["both", ProcessPolicy.both(open, make({ programs: ["ls"] })), basic],
    ["both", ProcessPolicy.both(make({ inherit: ["BACKQ_*", "A*"] }), open), { ...basic, AWS_SECRET }],
    ["both", ProcessPolicy.both(make({ inherit: ["BACKQ_*"] }), make({ inherit: ["BACKQ_BROKER"] })), {
      ...basic,
      BACKQ_BROKER
    }]
  ]
  it.each(cases)("%s", (_name, policy, expected) => {
    assert.deepEqual({ ...environmentOf(policy, {}, own) }, { ...expected })
    assert.deepEqual({ ...environmentOf(policy, { extendEnv: false }, own) }, {})
  })

  it("the payload's variables come last, with any names", () => {
    const env = JSON.parse(`{"A":"1","HOME":null,"TZ":"X","__proto__":"p","constructor":"c","toString":null}`)
    const environment = environmentOf(make({ programs: ["ls"], environment: "any" }), { env }, own)
    assert.deepStrictEqual(Object.entries(environment), [
      ["PATH", "/bin"],
      ["LC_TIME", "C"],
      ["TZ", "X"],
      ["A", "1"],
      ["__proto__", "p"],
      ["constructor", "c"]
    ])
  })
})

/** The rule that refuses a payload, or "done". */
const ruleOf = (payload: ProcessPayload) =>
  Effect.map(Effect.result(run(payload)), (result) =>
    Result.match(result, {
      onSuccess: () => "done",
      onFailure: ({ reason }) => reason._tag === "Refused" ? reason.rule : reason._tag
    }))

const only = (...programs: ReadonlyArray<string>) => ProcessPolicy.layer(ProcessPolicy.make({ programs }))
const inner = ProcessRunner.layer
const open = ProcessPolicy.layer(ProcessPolicy.open)

/** Where a policy may be provided: each allows `true` and nothing else. */
const placements: Record<string, Layer.Layer<ProcessRunner>> = {
  "beside the runner": Layer.merge(inner, only("true")),
  "around the runner": Layer.provideMerge(inner, only("true")),
  "to the runner": Layer.provide(inner, only("true")),
  "to a runner with options": Layer.provide(ProcessRunner.layerOptions({ grace: "1 second" }), only("true")),
  "to the runner and beside it": Layer.merge(Layer.provide(inner, only("true")), only("true")),
  "to the runner, with more beside it": Layer.merge(Layer.provide(inner, only("true")), only("true", "false")),
  "beside the runner, with more to it": Layer.merge(Layer.provide(inner, only("true", "false")), only("true")),
  "half to the runner, half beside it": Layer.merge(Layer.provide(inner, only("true", "a")), only("true", "false")),
  "to the runner, all open beside it": Layer.merge(Layer.provide(inner, only("true")), open),
  "beside the runner, all open to it": Layer.merge(Layer.provide(inner, open), only("true"))
}

describe("a policy applies when it is provided", () => {
  it.effect.each(Object.keys(placements))("%s", (name) =>
    Effect.gen(function*() {
      assert.strictEqual(yield* ruleOf({ command: ["true"] }), "done")
      assert.strictEqual(yield* ruleOf({ command: ["false"] }), "programs")
      const outcome = yield* perform(ProcessJob.handler(), { command: ["false"] })
      assert.strictEqual(outcome._tag, "Buried")
    }).pipe(Effect.provide(placements[name]!)))

  const workers: Record<string, Layer.Layer<never, unknown, Broker>> = {
    "to the runner of a worker": Worker.layer({}, ProcessJob.handler()).pipe(
      Layer.provide(inner.pipe(Layer.provide(only("sh"))))
    ),
    "around a worker": Worker.layer({}, ProcessJob.handler()).pipe(Layer.provide(inner), Layer.provide(only("sh"))),
    "beside the runner of a worker": Worker.layer({}, ProcessJob.handler()).pipe(
      Layer.provide([inner, only("sh")])
    )
  }

  it.live.each(Object.keys(workers))("%s", (name) =>
    Effect.gen(function*() {
      const { peekNext, statsJob } = yield* Inspector
      yield* Publisher.publish(ProcessJob.job, { command: ["touch", "/dev/null"] })
      const buried = yield* Effect.repeat(peekNext("process", "buried"), {
        until: Option.isSome,
        schedule: Schedule.spaced("5 millis")
      })
      assert.include((yield* statsJob(Option.getOrThrow(buried).id)).reason, "refused (programs): touch")
    }).pipe(
      Effect.provide(Layer.merge(workers[name]!, Publisher.layer).pipe(Layer.provideMerge(MemoryBroker.layer)))
    ))

  it.effect("only to the runner, which it opens", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* ruleOf({ command: "true" }), "done")
    }).pipe(Effect.provide(Layer.provide(inner, open))))

  it.effect("to a runner that is called directly", () =>
    Effect.gen(function*() {
      const runner = yield* ProcessRunner
      const error = yield* Effect.flip(runner.run({ command: ["false"] }))
      assert.strictEqual(error.reason._tag, "Refused")
    }).pipe(Effect.provide(Layer.provide(inner, only("true")))))

  it.effect("to one of two runners, and not to the other", () =>
    Effect.gen(function*() {
      const rules: Array<string> = []
      const ask = (name: string) =>
        Layer.effectDiscard(Effect.map(ruleOf({ command: ["echo"] }), (rule) => rules.push(`${name}: ${rule}`)))
      const free = Layer.provide(ask("free"), inner)
      const strict = Layer.provide(ask("strict"), Layer.provide(inner, only("true")))
      yield* Layer.build(Layer.provideMerge(free, strict))
      yield* Layer.build(Layer.provideMerge(strict, free))
      assert.deepStrictEqual(rules, ["strict: programs", "free: done", "free: done", "strict: programs"])
    }))
})

describe("both", () => {
  const { both, make } = ProcessPolicy
  const checked = (a: ProcessPolicy.Options, b: ProcessPolicy.Options, payload: ProcessPayload) =>
    ProcessPolicy.check(both(make(a), make(b)), payload)

  it("allows what both policies allow", () => {
    const policies = new Set(table.map(([, policy]) => policy))
    for (const [, , payload] of table) {
      for (const a of policies) {
        for (const b of policies) {
          const allowed = [a, b].every((policy) => verdict(policy, payload) === "allowed")
          const together = verdict(both(a, b), payload)
          // a payload without a directory needs none that both policies allow
          if (allowed && together === "directories" && payload.cwd === undefined) continue
          assert.strictEqual(together === "allowed", allowed, JSON.stringify(payload))
        }
      }
    }
  })

  it("fills in the defaults that both allow", () => {
    const filled = Result.getOrThrow(checked(
      { maxTimeout: "10 minutes", directories: ["/srv", "/tmp/a"] },
      { maxTimeout: "5 minutes", directories: ["/srv/images", "/tmp"] },
      { command: ["ls"] }
    ))
    assert.deepStrictEqual(filled, { command: ["ls"], timeout: Duration.minutes(5), cwd: "/srv/images" })
    const nowhere = checked({ directories: ["/srv"] }, { directories: ["/tmp"] }, { command: ["ls"] })
    assert.strictEqual(Result.isFailure(nowhere) && nowhere.failure.rule, "directories")
  })
})
