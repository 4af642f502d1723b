/** The findings of `backq doctor`. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import type { Features, JobId } from "../../src/Broker.ts"
import type { FileSeen, Finding } from "../../src/cli/render/findings.ts"
import { ofBeanstalkd, ofFeatures, ofFile, ofJobs, ofQueue } from "../../src/cli/render/findings.ts"
import type { QueueNumbers } from "../../src/cli/render/numbers.ts"
import * as Envelope from "../../src/Envelope.ts"
import type { BrokerStats, ListedJob } from "../../src/Inspector.ts"

const short = (findings: ReadonlyArray<Finding>) => findings.map(({ check, level }) => `${level} ${check}`)

const allSayWhatToDo = (findings: ReadonlyArray<Finding>) =>
  assert.isTrue(findings.every(({ level, todo }) => (todo === undefined) === (level === "ok")))

describe("beanstalkd", () => {
  const stats: BrokerStats = {
    version: "1.13",
    uptime: Duration.days(1),
    ready: 0,
    delayed: 0,
    reserved: 0,
    buried: 0,
    idleWorkers: 0,
    maxJobSize: 65535,
    draining: false,
    durable: true
  }
  const way = { host: "127.0.0.1", tls: false }

  it.each<[string, Partial<BrokerStats>, typeof way, ReadonlyArray<string>]>([
    ["all is well", {}, way, ["ok durability"]],
    ["without -b", { durable: false }, way, ["error durability"]],
    ["little more room than an envelope", { maxJobSize: 128 }, way, ["ok durability", "error job size"]],
    ["no room", { maxJobSize: 0 }, way, ["ok durability", "error job size"]],
    ["room for small jobs", { maxJobSize: 1024 }, way, ["ok durability", "warning job size"]],
    ["hardly room for a push", { maxJobSize: 16_383 }, way, ["ok durability", "warning job size"]],
    ["room for every built-in job", { maxJobSize: 16_384 }, way, ["ok durability"]],
    ["draining", { draining: true }, way, ["ok durability", "error draining"]],
    ["an old one", { version: "1.10" }, way, ["ok durability", "warning version"]],
    ["an unknown version", { version: "unknown" }, way, ["ok durability"]],
    ["far away without TLS", {}, { host: "queue.internal", tls: false }, ["ok durability", "warning network"]],
    ["far away with TLS", {}, { host: "queue.internal", tls: true }, ["ok durability"]],
    ["on IPv6's loopback", {}, { host: "[::1]", tls: false }, ["ok durability"]]
  ])("%s", (_, changed, way, expected) => {
    const findings = ofBeanstalkd({ ...stats, ...changed }, way)
    assert.deepStrictEqual(short(findings), expected)
    allSayWhatToDo(findings)
  })
})

describe("features", () => {
  const all: Features = {
    resolution: "millisecond",
    canList: true,
    canBury: true,
    canMove: true,
    keepsReasons: true,
    keepsDone: true,
    keepsAttempts: true
  }
  const lacks: ReadonlyArray<readonly [Partial<Features>, string]> = [
    [{ canList: false }, "list all jobs of a queue"],
    [{ canBury: false }, "bury a job that no worker holds"],
    [{ canMove: false }, "move a job to another queue"],
    [{ keepsReasons: false }, "keep the reasons of releases and burials"],
    [{ keepsDone: false }, "list finished jobs"],
    [{ keepsAttempts: false }, "keep the attempts of transferred jobs"],
    [{ resolution: "second" }, "count time in less than a second"]
  ]

  it("a complete broker gets no note", () => {
    assert.deepStrictEqual(ofFeatures(all), [])
  })

  it.each(lacks)("%j is described in words", (lacking, words) => {
    assert.deepStrictEqual(ofFeatures({ ...all, ...lacking }, "set history"), [
      { level: "note", check: "features", queue: undefined, message: `the broker can't ${words}`, todo: "set history" }
    ])
  })

  it("one note names all missing features", () => {
    const none = Object.assign({}, all, ...lacks.map(([lacking]) => lacking))
    assert.deepStrictEqual(ofFeatures(none).map(({ message }) => message), [
      `the broker can't ${lacks.map(([, words]) => words).join("; ")}`
    ])
  })
})

describe("a file", () => {
  const gib = 1024 ** 3
  const seen: FileSeen = {
    path: "/var/lib/app/jobs.db",
    durability: "full",
    mode: 0o100600,
    isOwn: true,
    isReachable: true,
    isReplaceable: false,
    logSize: 4_000_000,
    free: 50 * gib,
    size: 100 * gib,
    type: 0xef53
  }

  it.each<[string, Partial<FileSeen>, ReadonlyArray<string>]>([
    ["all is well", {}, ["ok durability"]],
    ["normal durability", { durability: "normal" }, ["warning durability"]],
    ["4 % free", { free: 4 * gib }, ["ok durability", "warning disk"]],
    ["10 MiB free", { free: 10_000_000 }, ["ok durability", "error disk"]],
    ["on NFS", { type: 0x6969 }, ["ok durability", "error disk"]],
    ["on SMB, as a signed number", { type: 0xff534d42 | 0 }, ["ok durability", "error disk"]],
    ["in memory", { type: 0x01021994 }, ["ok durability", "warning disk"]],
    ["a log that grows", { logSize: gib }, ["ok durability", "warning log"]],
    ["writable by everybody", { mode: 0o100666 }, ["ok durability", "error permissions"]],
    ["readable by everybody", { mode: 0o100644 }, ["ok durability", "warning permissions"]],
    ["readable by everybody, in a private folder", { mode: 0o100644, isReachable: false }, ["ok durability"]],
    ["replaceable by everybody", { isReplaceable: true }, ["ok durability", "error permissions"]],
    ["of somebody else", { isOwn: false }, ["ok durability", "warning permissions"]]
  ])("%s", (_, changed, expected) => {
    const findings = ofFile({ ...seen, ...changed })
    assert.deepStrictEqual(short(findings), expected)
    allSayWhatToDo(findings)
  })
})

describe("a queue", () => {
  const queue: QueueNumbers = {
    queue: "mail",
    ready: 0,
    delayed: 0,
    reserved: 0,
    buried: 0,
    idleWorkers: 1,
    total: 9,
    pausedFor: Duration.zero,
    nextAge: undefined,
    rates: undefined
  }

  it.each<[string, Partial<QueueNumbers>, ReadonlyArray<string>]>([
    ["an empty one", {}, []],
    ["a queue with a worker", { ready: 3, reserved: 1 }, ["ok queue"]],
    ["nobody works", { ready: 3, idleWorkers: 0 }, ["warning workers"]],
    ["paused, and nobody works", { ready: 3, idleWorkers: 0, pausedFor: Duration.hours(1) }, ["warning paused"]],
    ["buried jobs", { buried: 1 }, ["warning buried"]],
    ["a long wait", { ready: 3, reserved: 1, nextAge: Duration.hours(2) }, ["warning backlog"]]
  ])("%s", (_, changed, expected) => {
    const findings = ofQueue({ ...queue, ...changed })
    assert.deepStrictEqual(short(findings), expected)
    allSayWhatToDo(findings)
    assert.isTrue(findings.every((one) => one.queue === "mail"))
  })
})

describe("jobs", () => {
  const now = 1_764_000_000_000
  const job = (envelope: Partial<Envelope.Envelope>, changed: Partial<ListedJob> = {}): ListedJob => ({
    id: "1" as JobId,
    queue: "mail",
    state: "ready",
    attempt: 0,
    abandoned: 0,
    buries: 0,
    priority: 1024,
    ttr: Duration.seconds(60),
    age: Duration.seconds(5),
    timeLeft: Duration.zero,
    reason: undefined,
    lastFailure: undefined,
    finishedAt: undefined,
    body: Envelope.encode({ backq: 1, id: "a", job: "send", payload: {}, publishedAt: now - 5000, ...envelope }),
    ...changed
  })

  it.each<[string, ListedJob, ReadonlyArray<string> | undefined, ReadonlyArray<string>]>([
    ["all is well", job({}), undefined, []],
    ["known", job({}), ["send"], []],
    ["unknown", job({}), ["other"], ["error unknown"]],
    ["not an envelope", job({}, { body: Buffer.from("\x1b[2J") }), undefined, ["error body"]],
    ["a process that may run longer than its ttr", job({ job: "process", payload: { timeout: 90_000 } }), undefined, [
      "warning ttr"
    ]],
    ["a process within its ttr", job({ job: "process", payload: { timeout: 30_000 } }), undefined, []],
    ["another job with a field of that name", job({ payload: { timeout: 90_000 } }), undefined, []],
    ["past its deadline", job({ expiresAt: now - 1 }), undefined, ["warning expired"]],
    ["a clock that is ahead", job({ publishedAt: now + 60_000 }), undefined, ["warning clock"]],
    ["moved long after its publication, so that its age started again", job({ publishedAt: 0 }), undefined, []],
    [
      "no time of publication",
      job({}, {
        body: Envelope.encode({ backq: 1, id: "a", job: "send", payload: {} })
      }),
      undefined,
      []
    ],
    ["abandoned twice", job({}, { abandoned: 2 }), undefined, ["warning abandoned"]]
  ])("%s", (_, job, known, expected) => {
    const findings = ofJobs("mail", [job], { now, known })
    assert.deepStrictEqual(short(findings), expected)
    allSayWhatToDo(findings)
    // oxlint-disable-next-line no-control-regex
    assert.isFalse(findings.some(({ message }) => /[\u0000-\u001f]/.test(message)))
  })

  it("what several jobs have in common is said once", () => {
    const jobs = [job({ expiresAt: 1 }), job({}), job({ expiresAt: 2 }, { id: "2" as JobId })]
    const [finding, ...others] = ofJobs("mail", jobs, { now, known: undefined })
    assert.deepStrictEqual(others, [])
    assert.include(finding!.message, "2 of 3 jobs checked: the deadline has passed")
    assert.include(finding!.message, "for example job 1")
  })
})
