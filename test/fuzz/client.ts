import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { BrokerError } from "../../src/BrokerError.ts"
import * as Client from "../../src/brokers/beanstalk/Client.ts"
import * as Native from "../../src/brokers/beanstalk/Native.ts"
import { ServerStats } from "../../src/brokers/beanstalk/stats.ts"
import * as Fuzz from "../support/fuzz.ts"
import * as Hostile from "../support/hostile.ts"
import { scripted } from "../support/network.ts"
import type { Random } from "../support/Random.ts"
import { replies, reply } from "./replies.ts"

const stats = Object.keys(ServerStats.fields).map((key) => `${key}: ${key === "draining" ? "false" : "65535"}`)
const greeting = `---\n${stats.join("\n")}\n`

const framed = (body: string): Uint8Array => Buffer.from(`OK ${Buffer.byteLength(body)}\r\n${body}\r\n`)

const calls = (client: Client.Client["Service"]): ReadonlyArray<Effect.Effect<unknown, BrokerError>> => [
  client.put(Buffer.from("body")),
  client.reserveWithTimeout(0),
  client.peekReady,
  client.statsJob("42"),
  client.statsTube("default"),
  client.stats,
  client.listTubes,
  client.delete("42"),
  client.release("42"),
  client.kick(10),
  client.watch("a"),
  client.ignore("a"),
  client.reserveJob("42")
]

/** The server's answers to the first command of a connection, the second, and so on. Later it is silent. */
export const answers = (random: Random, size: number): ReadonlyArray<Uint8Array> => [
  random.chance(0.9) ? framed(greeting) : Hostile.mutate(random, framed(greeting)),
  ...Array.from(
    { length: 8 },
    () => random.chance(0.8) ? reply(random, Math.min(size, 1000)) : replies(random, Math.min(size, 1000))
  )
]

/** A server with these answers on every connection. Returns its port. */
export const answering = (answers: ReadonlyArray<Uint8Array>) =>
  scripted((socket) => {
    let next = 0
    // a put is one command of two lines: its answers come a little early
    socket.on("data", (data) => {
      for (let i = data.toString("latin1").split("\r\n").length - 1; i > 0 && next < answers.length; i--) {
        socket.write(answers[next++]!)
      }
    })
  })

/** Sequential calls, two at a time. Their errors may be shown. */
export const callAll = (calls: ReadonlyArray<Effect.Effect<unknown, BrokerError>>) =>
  Effect.forEach(
    calls,
    Effect.catch((error: BrokerError) => Effect.sync(() => Fuzz.checkError(error))),
    { concurrency: 2 }
  )

interface Input {
  readonly answers: ReadonlyArray<Uint8Array>
  readonly order: ReadonlyArray<number>
}

export const target = Fuzz.make<Input>({
  name: "beanstalk client",
  about: "a server that sends anything to the client",
  rounds: 150,
  make: (random, size) => ({
    answers: answers(random, size),
    order: Array.from({ length: 8 }, () => random.below(13))
  }),
  feed: ({ answers, order }) =>
    Effect.scoped(Effect.gen(function*() {
      const port = yield* answering(answers)
      const opened = yield* Effect.result(Client.make(Native.driver({ port, replyTimeout: "40 millis" })))
      if (Result.isFailure(opened)) return Fuzz.checkError(opened.failure)
      const all = calls(opened.success)
      yield* callAll(order.map((index) => all[index]!))
    }))
})
