import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Job, Worker } from "../../src/index.ts"
import { ExitPolicy, Process, ProcessJob, ProcessPolicy } from "../../src/process/index.ts"
import { ApnsJob, DeadTokenJob, TestApns } from "../../src/push/apns/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import * as Fuzz from "../support/fuzz.ts"
import * as Hostile from "../support/hostile.ts"
import type { Random } from "../support/Random.ts"
import { work } from "../support/work.ts"
import { fields } from "./envelope.ts"

class User extends Schema.Class<User>("User")({
  id: Schema.BigInt,
  mail: Schema.String.pipe(Schema.check(Schema.isPattern(/^[^@\s]+@[^@\s]+$/)))
}) {}

interface Tree {
  readonly name: string
  readonly children: ReadonlyArray<Tree>
}

const Tree = Schema.Struct({
  name: Schema.String,
  children: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree))
})

/** The values in payloads of others. */
const UserJob = Job.make("user", {
  queue: "q",
  payload: Schema.Struct({
    user: User,
    at: Schema.Date,
    every: Schema.Duration,
    maybe: Schema.Option(Schema.String),
    bytes: Schema.Uint8Array,
    tree: Tree,
    map: Schema.ReadonlyMap(Schema.String, Schema.Finite),
    either: Schema.Union([Schema.TaggedStruct("A", { a: Schema.Int }), Schema.NullOr(Schema.URL)]),
    anything: Schema.Unknown
  })
})

const push = {
  tokens: ["0a".repeat(32)],
  topic: "com.example.app",
  pushType: "alert",
  priority: 10,
  expiration: 32503680000,
  collapseId: "order-42",
  payload: { aps: { alert: { title: "Order 42", body: "Shipped" }, badge: 0, "thread-id": "a" }, order: 42 }
}

const process = {
  command: ["convert", "in.png"],
  cwd: "/srv",
  env: { LANG: "C", DISPLAY: null },
  input: { base64: "AAEC" },
  timeout: 30000,
  outputLimit: 10,
  extendEnv: true
}

const user = {
  user: { id: "12345678901234567890", mail: "a@b.c" },
  at: "2026-11-30T00:00:00.000Z",
  every: { _tag: "Millis", value: 5 },
  maybe: { _tag: "Some", value: "x" },
  bytes: "AAEC",
  tree: { name: "root", children: [{ name: "leaf", children: [] }] },
  map: [["a", 1]],
  either: { _tag: "A", a: 1 },
  anything: {}
}

const dead = { token: "0a", topic: "com.example.app", environment: "sandbox", kind: "Dead", timestamp: 1764000000000 }

const kinds: ReadonlyArray<readonly [job: string, payload: Record<string, unknown>]> = [
  ["apns", push],
  ["process", process],
  ["user", user],
  ["dead-token", dead]
]

const envelope = (job: string, payload: string): Uint8Array =>
  Hostile.bytesOf(`{"backq":1,"id":${JSON.stringify(fields.id)},"job":${JSON.stringify(job)},"payload":${payload}}`)

/** A payload with some bad fields, at any depth. */
const bend = (random: Random, size: number, value: unknown): string => {
  if (random.chance(0.08)) return Hostile.json(random, size)
  if (random.chance(0.08)) return JSON.stringify(Hostile.text(random, random.pick([5, 50, size])))
  if (Array.isArray(value)) return `[${value.map((one) => bend(random, size, one)).join(",")}]`
  if (typeof value !== "object" || value === null) return JSON.stringify(value)
  const parts = Object.entries(value).map(([key, one]) => `${JSON.stringify(key)}:${bend(random, size, one)}`)
  if (random.chance(0.2)) parts.push(`${JSON.stringify(Hostile.text(random, 10))}:${Hostile.json(random, size)}`)
  return `{${parts.join(",")}}`
}

const policy = ProcessPolicy.make({
  programs: ["convert"],
  directories: ["/srv"],
  environment: ["LANG", "DISPLAY"],
  maxTimeout: "1 minute"
})

const services = Layer.mergeAll(TestBroker.layer, TestApns.layer(), Process.ProcessRunner.layerTest()).pipe(
  Layer.merge(ProcessPolicy.layer(policy))
)

const handlers = [
  Worker.handler(UserJob, () => Effect.void),
  Worker.handler(DeadTokenJob.job, () => Effect.void),
  ApnsJob.handler(),
  ProcessJob.handler({ exitPolicy: ExitPolicy.make() })
] as const

export const target = Fuzz.make<ReadonlyArray<Uint8Array>>({
  name: "payloads",
  about: "the payloads of all kinds of jobs, as their handlers run them",
  rounds: 200,
  make: (random, size) =>
    kinds.flatMap(([job, payload]) => [
      envelope(job, bend(random, size, payload)),
      envelope(job, bend(random, 20, payload)),
      envelope(job, Hostile.jsonObject(random, size, payload))
    ]),
  feed: (bodies) => Effect.provide(work(bodies, ...handlers), services),
  grow: [
    ...Hostile.runs.flatMap((run) => [
      (size: number) => [envelope("process", JSON.stringify({ ...process, env: { [Hostile.fill(run, size)]: 1 } }))],
      (size: number) => [envelope("process", JSON.stringify({ ...process, command: [Hostile.fill(run, size)] }))],
      (size: number) => [envelope("process", JSON.stringify({ ...process, cwd: Hostile.fill(run, size) }))],
      (size: number) => [envelope("apns", JSON.stringify({ ...push, topic: Hostile.fill(run, size) }))],
      (size: number) => [envelope("apns", JSON.stringify({ ...push, tokens: [Hostile.fill(run, size)] }))],
      (size: number) => [
        envelope("apns", JSON.stringify({ ...push, payload: { aps: { [Hostile.fill(run, size)]: 1 } } }))
      ],
      (size: number) => [
        envelope("apns", JSON.stringify({ ...push, payload: { aps: { alert: Hostile.fill(run, size) } } }))
      ]
    ]),
    (
      size
    ) => [envelope("apns", JSON.stringify({ ...push, tokens: Array.from({ length: size / 64 }, (_, i) => `${i}`) }))],
    (size) => [envelope("process", JSON.stringify({ ...process, command: Array(size / 4).fill("a") }))]
  ]
})
