/** The job in a lease, and its handler: one row per rule. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { JobId, Lease, LeaseInfo } from "../../src/Broker.ts"
import * as Envelope from "../../src/Envelope.ts"
import { Job, Worker } from "../../src/index.ts"
import { type Decoded, decodeLease, type Rules } from "../../src/worker/decodeLease.ts"

const now = 1_000_000

const Mail = Job.make("mail", { payload: Schema.Struct({ to: Schema.String }), version: 2, queue: "q" })
const Exact = Job.make("exact", { payload: Schema.Unknown, exactNumbers: true, queue: "q" })
const handlers = new Map([Mail, Exact].map((job: Job.Job<any>) => [job.name, Worker.handler(job, () => Effect.void)]))

const rules: Rules = { handlers, foreign: undefined, poisonLimit: 3 }
const withForeign = (foreign: Envelope.ForeignDecoder): Rules => ({ ...rules, foreign })

const infoOf = (changes: Partial<LeaseInfo>): LeaseInfo => ({
  attempt: 1,
  abandoned: 0,
  buries: 0,
  priority: 1024,
  ttr: Duration.minutes(1),
  ...changes
})

const leaseOf = (body: unknown, info?: LeaseInfo): Lease => ({
  id: "7" as JobId,
  queue: "q",
  body: Buffer.from(typeof body === "string" ? body : JSON.stringify(body)),
  info
})

const good = { backq: 1, id: "an-id", job: "mail", version: 2, payload: { to: "Ada" } } as const

/** The work, or the decision, in short. */
const brief = ({ next }: Decoded): unknown => {
  if (!("decision" in next)) return { work: next.payload }
  const { _tag, ...rest } = next.decision
  return {
    [_tag]: "reason" in rest ? rest.reason : "expiresAt" in rest ? rest.expiresAt : undefined,
    for: next.job?.name
  }
}

describe("decodeLease", () => {
  const rows: ReadonlyArray<readonly [rule: string, lease: Lease, rules: Rules, expected: unknown]> = [
    ["a good job is work", leaseOf(good), rules, { work: { to: "Ada" } }],
    [
      "a payload without a version has the first",
      leaseOf({ backq: 1, id: "an-id", job: "exact", payload: 1 }),
      rules,
      { work: 1 }
    ],
    ["a body that is not JSON is buried", leaseOf("{"), rules, { Bury: "the body is not JSON", for: undefined }],
    [
      "a body that is not an envelope is buried",
      leaseOf({ backq: 2 }),
      rules,
      { Bury: "the body is not an envelope: Expected 1 at [\"backq\"]", for: undefined }
    ],
    [
      "a job without a handler is buried",
      leaseOf({ ...good, job: "other" }),
      rules,
      { Bury: "no handler for job \"other\": this worker handles mail, exact", for: undefined }
    ],
    ["a job expires at its time", leaseOf({ ...good, expiresAt: now }), rules, { Expire: now, for: "mail" }],
    ["but not before", leaseOf({ ...good, expiresAt: now + 1 }), rules, { work: { to: "Ada" } }],
    [
      "a job that killed its workers is buried",
      leaseOf(good, infoOf({ abandoned: 3 })),
      rules,
      { Bury: "poison: 3 deliveries ended with a crash of the worker or an expired lease", for: undefined }
    ],
    ["below the limit it is work", leaseOf(good, infoOf({ abandoned: 2 })), rules, { work: { to: "Ada" } }],
    [
      "a kick allows as many deliveries again",
      leaseOf(good, infoOf({ abandoned: 5, buries: 1 })),
      rules,
      { work: { to: "Ada" } }
    ],
    [
      "an unknown newer version is a failed attempt",
      leaseOf({ ...good, version: 3 }),
      rules,
      { Failed: "the payload has version 3, and this worker knows 2: update the worker", for: "mail" }
    ],
    [
      "a payload that the job does not expect is buried",
      leaseOf({ ...good, payload: { to: 1 } }),
      rules,
      {
        Bury: "the payload is not what job \"mail\" expects: Expected string at [\"to\"]",
        for: undefined
      }
    ],
    [
      "a foreign body is read by its decoder",
      leaseOf("Ada"),
      withForeign((body) => Result.succeed({ job: "mail", version: 2, payload: { to: Buffer.from(body).toString() } })),
      { work: { to: "Ada" } }
    ],
    [
      "an envelope is not given to that decoder",
      leaseOf(good),
      withForeign(() => Result.fail("never asked")),
      { work: { to: "Ada" } }
    ],
    [
      "a foreign body that its decoder refuses is buried",
      leaseOf("Ada"),
      withForeign(() => Result.fail("no\nmail")),
      { Bury: "no mail", for: undefined }
    ],
    [
      "a foreign body whose decoder throws is buried, without the message",
      leaseOf("Ada"),
      withForeign(() => {
        throw new RangeError("the secret of Ada")
      }),
      { Bury: "the decoder of foreign bodies threw RangeError", for: undefined }
    ]
  ]

  it.each(rows)("%s", (_, lease, rules, expected) => {
    assert.deepStrictEqual(brief(decodeLease(lease, rules, now)), expected)
  })

  it("the result has the fields around the payload, and the broker's id for a foreign body", () => {
    const more = { publishedAt: 5, expiresAt: now + 5, traceparent: "00-0-0-01" }
    const { next: _, ...decoded } = decodeLease(leaseOf({ ...good, ...more }), rules, now)
    assert.deepStrictEqual(decoded, { job: "mail", id: "an-id", ...more })
    const foreign = withForeign(() => Result.succeed({ job: "exact", payload: 1 }))
    assert.include(decodeLease(leaseOf("1"), foreign, now), { job: "exact", id: "7", publishedAt: undefined })
    assert.include(decodeLease(leaseOf("{"), rules, now), { job: undefined, id: undefined })
  })

  it("numbers that JavaScript would change keep their digits if the job has this option", () => {
    const body = `{"backq":1,"id":"an-id","job":"exact","payload":12345678901234567890}`
    const { next } = decodeLease(leaseOf(body), rules, now)
    assert.strictEqual("decision" in next ? undefined : JSON.stringify(next.payload), "12345678901234567890")
  })
})
