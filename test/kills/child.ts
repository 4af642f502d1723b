/**
 * A process that publishes or works until it is killed: `node child.ts ROLE URL LEDGER`.
 *
 * It writes all that happens into the ledger. Anything that reaches it as a
 * failure ends it with a complaint on stderr.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Broker } from "../../src/Broker.ts"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { Job, Publisher, Worker } from "../../src/index.ts"
import { feedPauseMillis, serveConcurrency } from "./kills.ts"
import * as Ledger from "./ledger.ts"

const [role = "", url = "", path = ""] = process.argv.slice(2)

const ready = Effect.sync(() => process.stdout.write("ready\n"))

const Chore = Job.make("chore", {
  payload: Schema.Struct({ kind: Schema.Literals(["easy", "flaky", "hopeless"]) }),
  retry: Schedule.spaced("5 millis").pipe(Schedule.upTo({ times: 3 }))
})

const [easy, flaky, hopeless] = (["easy", "flaky", "hopeless"] as const).map((kind) => ({ kind }))
const chores = [easy!, easy!, easy!, easy!, flaky!, flaky!, flaky!, hopeless!]

const upTo = (millis: number) => Effect.flatMap(Random.nextBetween(0, millis), (chosen) => Effect.sleep(chosen))

/** Publishes forever: one job, and several at once, some with a delay. */
const feed = Effect.gen(function*() {
  const ledger = Ledger.open(path)
  const publisher = yield* Publisher.Publisher
  const one = Effect.map(publisher.publish(Chore, easy!), (id) => ledger.write("put", id))
  const several = Effect.map(
    publisher.publishAll(Chore, chores, (_, i) => ({ delay: i % 4 === 0 ? "3 millis" : 0 })),
    (results) => {
      for (const result of results) ledger.write("put", Result.getOrThrow(result))
    }
  )
  yield* ready
  return yield* Effect.forever(
    Effect.andThen(Effect.all([one, one, several], { concurrency: 3 }), upTo(feedPauseMillis))
  )
})

const words: Record<string, Ledger.Word> = { Done: "done", Retried: "retried", Buried: "buried" }

/** Works forever, and records when a handler begins and ends and the broker's answers. */
const serve = Effect.gen(function*() {
  const ledger = Ledger.open(path)
  const handler = Worker.handler(Chore, ({ kind }, delivery) =>
    Effect.gen(function*() {
      ledger.write("start", delivery.jobId)
      yield* upTo(3)
      const isFlaky = kind === "flaky" && (yield* delivery.attempt) === 1
      if (kind === "easy" || kind === "flaky" && !isFlaky) return ledger.write("handled", delivery.jobId)
      ledger.write("failed", delivery.jobId)
      return yield* (kind === "hopeless" ? Job.bury("hopeless") : Effect.fail("flaky"))
    }))
  yield* ready
  return yield* Stream.runForEach(
    Worker.stream({ concurrency: serveConcurrency }, handler),
    ({ _tag, jobId }) => Effect.sync(() => ledger.write(words[_tag] ?? "odd", jobId))
  )
})

const roles: Record<string, Effect.Effect<unknown, unknown, Broker | Publisher.Publisher>> = { feed, serve }

NodeRuntime.runMain(
  roles[role]!.pipe(
    Effect.tapCause((cause) => Effect.sync(() => console.error(String(cause)))),
    Effect.provide([
      Publisher.layer.pipe(Layer.provideMerge(BrokerUrl.layer(url))),
      Logger.layer([])
    ])
  )
)
