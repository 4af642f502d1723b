import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Job, Worker } from "../../src/index.ts"
import * as Fuzz from "../support/fuzz.ts"
import * as Hostile from "../support/hostile.ts"
import { work } from "../support/work.ts"
import { fields } from "./envelope.ts"

const Welcome = Job.make("send-welcome", {
  payload: Schema.Struct({ userId: Schema.String, at: Schema.optionalKey(Schema.DateFromString) }),
  version: 3,
  queue: "q",
  upgrade: (payload) => payload
})

const Anything = Job.make("anything", { payload: Schema.Unknown, queue: "q" })

const envelope = { ...fields, backq: 1, job: "send-welcome" }

/** A good job after the others: a worker that handles it survived them. */
const last = Hostile.bytesOf(JSON.stringify({ ...envelope, id: "last", job: "anything" }))

const handlers = [Worker.handler(Welcome, () => Effect.void), Worker.handler(Anything, () => Effect.void)] as const

export const target = Fuzz.make({
  name: "dispatch",
  about: "the bodies of jobs, as workers run them",
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
  feed: (bodies) =>
    Effect.map(work([...bodies, last], ...handlers), (outcomes) => {
      if (!outcomes.some(({ _tag, id }) => _tag === "Done" && id === "last")) {
        throw new Error("the last job was not done")
      }
    }),
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
