/**
 * A process with transactions of one client, until it is killed: `node transactionsChild.ts ROLE CLIENT URL`.
 *
 * It says `ready`, then a dot for every transaction that ended.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Random from "effect/Random"
import type { Broker } from "../../src/Broker.ts"
import * as PostgresBroker from "../../src/brokers/postgres/PostgresBroker.ts"
import { Publisher, Worker } from "../../src/index.ts"
import { type Client, clients, type Name } from "../brokers/postgres/clients.ts"
import { Charge, Welcome } from "./transactions.ts"

const [role = "", name = "", url = ""] = process.argv.slice(2)

class Undone extends Data.TaggedError("Undone") {}

const say = (text: string) => Effect.sync(() => process.stdout.write(text))

const upTo = (millis: number) => Effect.flatMap(Random.nextBetween(0, millis), (chosen) => Effect.sleep(chosen))

const chance = (probability: number) => Effect.map(Random.next, (drawn) => drawn < probability)

/** Writes users and publishes a job for each, in transactions of which about half roll back. */
const publish = ({ transaction }: Client) => {
  let count = 0
  const one = transaction(({ query, within }) =>
    Effect.gen(function*() {
      const users = Array.from({ length: yield* Random.nextIntBetween(1, 4) }, () => `${process.pid}-${++count}`)
      for (const user of users) {
        const queue = `welcome-${yield* Random.nextIntBetween(0, 3)}`
        yield* query(`INSERT INTO users VALUES ('${user}')`)
        yield* within(Publisher.publish(Welcome, user, { queue, delay: (yield* chance(0.2)) ? "1 hour" : 0 }))
      }
      if (yield* chance(0.5)) return yield* new Undone()
    })
  )
  return Effect.andThen(
    say("ready\n"),
    Effect.forever(Effect.andThen(Effect.exit(one), say("."))).pipe((loop) =>
      Effect.all(Array.from({ length: 6 }, () => loop), { concurrency: "unbounded" })
    )
  )
}

/** Works: each job is written down and done in one transaction, some of which roll back. */
const work = ({ transaction }: Client) =>
  Effect.andThen(
    say("ready\n"),
    Worker.run(
      { concurrency: 8 },
      Worker.handler(Charge, (charge, delivery) =>
        Effect.gen(function*() {
          yield* transaction(({ query, within }) =>
            Effect.gen(function*() {
              // Sometimes at the beginning, sometimes at the end.
              const isFirst = yield* chance(0.5)
              const done = within(PostgresBroker.done(delivery))
              if (isFirst) yield* done
              yield* query(`INSERT INTO ledger VALUES (${charge})`)
              yield* upTo(10)
              if (!isFirst) yield* done
              if (yield* chance(0.1)) return yield* new Undone()
            })
          )
          yield* say(".")
          yield* upTo(10)
          if (yield* chance(0.1)) return yield* new Undone()
        }))
    )
  )

const roles: Record<string, (client: Client) => Effect.Effect<unknown, unknown, Broker | Publisher.Publisher>> = {
  publish,
  work
}

const main = Effect.scoped(
  Effect.flatMap(
    clients[name as Name](url),
    (client) => Effect.provide(roles[role]!(client), Layer.provideMerge(Publisher.layer, client.broker))
  )
)

NodeRuntime.runMain(
  main.pipe(
    Effect.tapCause((cause) => Effect.sync(() => console.error(String(cause)))),
    Effect.provide(Logger.layer([]))
  )
)
