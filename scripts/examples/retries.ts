/**
 * Delayed and retried jobs: a schedule decides when to retry a failure, or the
 * handler decides itself.
 *
 *     npx tsx scripts/examples/retries.ts
 *
 * It prints the outcome of each attempt, and ends when every job has ended.
 */
import { Console, Duration, Effect, Layer, Schedule, Schema, Stream } from "effect"
// in a project: from "backq", "backq/broker-url" and "backq/main"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { Job, type Outcome, Publisher, Worker } from "../../src/index.ts"
import { Main } from "../../src/main/index.ts"

const Charge = Job.make("charge", {
  payload: Schema.Struct({ order: Schema.String }),
  // at most 3 more attempts, 0.1 s apart; after that the job is buried with its reason
  retry: Schedule.spaced("100 millis").pipe(Schedule.upTo({ times: 3 })),
  // one attempt may take 10 seconds, and the job no longer runs after a day
  timeout: "10 seconds",
  deadline: "1 day"
})

class BankError extends Schema.TaggedError<BankError>()("BankError", { message: Schema.String }) {}

const handler = Worker.handler(Charge, ({ order }, delivery) =>
  Effect.gen(function*() {
    const attempt = yield* delivery.attempt
    switch (order) {
      case "flaky":
        // a failure: retried by the schedule
        return attempt < 3 ? yield* new BankError({ message: "the bank does not answer" }) : "charged"
      case "busy":
        // the handler names the time of the next attempt
        return attempt < 2 ? yield* Job.retryAfter("200 millis", "the bank asks us to wait") : "charged"
      case "unknown":
        // no attempt will ever succeed: keep the job for an operator
        return yield* Job.bury("there is no such order")
      case "cancelled":
        // nothing to do, and nothing to keep
        return yield* Job.discard("the order was cancelled")
      case "broken":
        return yield* new BankError({ message: "the bank refuses us" })
      default:
        // `delivery.id` is the same in every attempt: give it to the bank as idempotency key
        return "charged"
    }
  }))

const describe = (outcome: Outcome.Outcome): string => {
  switch (outcome._tag) {
    case "Retried":
      return `retried in ${Duration.format(outcome.delay)}: ${outcome.reason}`
    case "Buried":
      return `buried: ${outcome.reason}`
    case "Discarded":
      return `discarded: ${outcome.reason}`
    default:
      return outcome._tag.toLowerCase()
  }
}

const orders = ["plain", "flaky", "busy", "unknown", "cancelled", "broken"]

const program = Effect.gen(function*() {
  for (const order of orders) yield* Publisher.publish(Charge, { order }, { id: order })
  yield* Publisher.publish(Charge, { order: "later" }, { id: "later", delay: "500 millis" })

  yield* Worker.stream({ idleTimeout: "1 second" }, handler).pipe(
    Stream.runForEach((outcome) => Console.log(`${outcome.id}: ${describe(outcome)}`))
  )
})

program.pipe(
  Effect.provide(Publisher.layer.pipe(Layer.provideMerge(BrokerUrl.layerConfig()))),
  Main.run
)
