import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { Broker, JobId, putRequest } from "../../src/Broker.ts"
import type { BrokerError } from "../../src/BrokerError.ts"
import * as BeanstalkBroker from "../../src/brokers/beanstalk/BeanstalkBroker.ts"
import { Inspector, type Services } from "../../src/Inspector.ts"
import * as Fuzz from "../support/fuzz.ts"
import { answering, answers, callAll } from "./client.ts"

const id = JobId.make("42")
const request = Result.getOrThrow(putRequest(Buffer.from("body")))

/** Takes jobs for a moment, and settles them in each way. */
const work = (broker: Broker["Service"]) =>
  Effect.scoped(Effect.gen(function*() {
    const consumer = yield* broker.consume(["q", "r"])
    const leases = yield* Effect.timeoutOrElse(consumer.reserve(4), {
      duration: "60 millis",
      orElse: () => Effect.succeed([])
    })
    yield* consumer.touch(leases)
    yield* consumer.inspect(leases)
    yield* consumer.settle(
      leases.map((lease, i) => i % 2 === 0 ? { _tag: "Delete", lease } : { _tag: "Requeue", lease })
    )
  }))

const calls = ({ broker, inspector }: Services): ReadonlyArray<Effect.Effect<unknown, BrokerError>> => [
  broker.ping,
  broker.put("q", request),
  broker.putAll("q", [request, request, request]),
  broker.idleWorkers("q"),
  inspector.peek(id),
  inspector.peekNext("q", "ready"),
  inspector.delete(id),
  inspector.kick("q", 10),
  inspector.buryJob(id, "reason"),
  inspector.moveJob(id, "r"),
  inspector.stats,
  inspector.statsQueue("q"),
  inspector.statsJob(id),
  inspector.queues,
  work(broker),
  work(broker)
]

interface Input {
  readonly answers: ReadonlyArray<Uint8Array>
  readonly order: ReadonlyArray<number>
}

export const target = Fuzz.make<Input>({
  name: "beanstalk broker",
  about: "a server that sends anything to publishers, workers and operators",
  rounds: 20,
  make: (random, size) => ({
    answers: answers(random, size),
    order: Array.from({ length: 6 }, () => random.below(16))
  }),
  feed: ({ answers, order }) =>
    Effect.scoped(Effect.gen(function*() {
      const port = yield* answering(answers)
      const layer = BeanstalkBroker.layer({ port, replyTimeout: "40 millis", reconnectFor: "100 millis" })
      yield* Effect.gen(function*() {
        const all = calls({ broker: yield* Broker, inspector: yield* Inspector })
        yield* callAll(order.map((index) => all[index]!))
      }).pipe(Effect.provide(layer))
    }))
})
