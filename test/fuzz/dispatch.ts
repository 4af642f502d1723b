import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Broker, putRequest } from "../../src/Broker.ts"
import { Job, Worker } from "../../src/index.ts"
import { TestBroker } from "../../src/testing/index.ts"
import * as Fuzz from "../support/fuzz.ts"
import * as Hostile from "../support/hostile.ts"
import { fields } from "./envelope.ts"

const Welcome = Job.make("send-welcome", {
  payload: Schema.Struct({ userId: Schema.String, at: Schema.optionalKey(Schema.DateFromString) }),
  version: 3,
  queue: "q",
  upgrade: (payload) => payload
})

const Anything = Job.make("anything", { payload: Schema.Unknown, queue: "q" })

const envelope = { ...fields, backq: 1, job: "send-welcome" }

/** A good job that follows the others: who handles it survived them. */
const last = Hostile.bytesOf(JSON.stringify({ ...envelope, id: "last", job: "anything" }))

/** Bodies that a queue holds, and what becomes of each. */
const work = (bodies: ReadonlyArray<Uint8Array>) =>
  Effect.gen(function*() {
    const broker = yield* Broker
    for (const body of [...bodies, last]) yield* broker.put("q", Result.getOrThrow(putRequest(body)))
    const outcomes = yield* TestBroker.drainWith(
      { queue: "q", concurrency: 4 },
      Worker.handler(Welcome, () => Effect.void),
      Worker.handler(Anything, () => Effect.void)
    )
    if (outcomes.length !== bodies.length + 1) throw new Error(`${outcomes.length} outcomes`)
    for (const outcome of outcomes) {
      switch (outcome._tag) {
        case "Done":
        case "Expired":
          break
        case "Buried":
        case "Retried":
          Fuzz.checkBounded(outcome.reason)
          break
        default:
          throw new Error(`${outcome._tag}`)
      }
    }
    if (!outcomes.some(({ _tag, id }) => _tag === "Done" && id === "last")) throw new Error("the last job was not done")
  }).pipe(Effect.provide(TestBroker.layer))

export const target = Fuzz.make({
  name: "dispatch",
  about: "the bodies on a queue, worked on",
  rounds: 200,
  make: (random, size) =>
    Array.from({ length: 8 }, () =>
      random.chance(0.2)
        ? Hostile.bytes(random, size)
        : Hostile.bytesOf(Hostile.jsonObject(random, size, {
          ...envelope,
          job: random.pick(["send-welcome", "anything", Hostile.text(random, 50)]),
          version: random.pick([1, 2, 3, 4, -1, 1.5])
        }))),
  feed: work,
  grow: [
    ...Hostile.runs.flatMap((run) => [
      (size: number) => [Hostile.bytesOf(JSON.stringify({ ...envelope, job: Hostile.fill(run, size) }))],
      (size: number) => [
        Hostile.bytesOf(JSON.stringify({ ...envelope, payload: { [Hostile.fill(run, size)]: 1, userId: 1 } }))
      ]
    ]),
    (size) => Array.from({ length: size / 64 }, () => Hostile.bytesOf("{}"))
  ]
})
