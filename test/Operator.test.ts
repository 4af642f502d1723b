/** The functions of `Operator`: each calls the operation of the `Inspector` that has its name. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import type { JobId } from "../src/Broker.ts"
import type { BrokerError } from "../src/BrokerError.ts"
import { Inspector, type ListOptions } from "../src/Inspector.ts"
import * as Operator from "../src/Operator.ts"

type Operation = Exclude<keyof Inspector["Service"], "name" | "features">

const id = "7" as JobId
const page: ListOptions = { state: "ready", limit: 3 }
const second = Duration.seconds(1)

/** A call of each function, and the arguments that the inspector must get. */
const calls: Record<Operation, readonly [Effect.Effect<unknown, BrokerError, Inspector>, ...ReadonlyArray<unknown>]> = {
  peek: [Operator.peek(id), id],
  peekNext: [Operator.peekNext("q", "buried"), "q", "buried"],
  list: [Operator.list("q", page), "q", page],
  delete: [Operator.delete(id), id],
  kick: [Operator.kick("q", 2), "q", 2],
  kickJob: [Operator.kickJob(id), id],
  buryJob: [Operator.buryJob(id, "broken"), id, "broken"],
  moveJob: [Operator.moveJob(id, "r"), id, "r"],
  restore: [Operator.restore("q", []), "q", []],
  pause: [Operator.pause("q", second), "q", second],
  resume: [Operator.resume("q"), "q"],
  stats: [Operator.stats],
  statsQueue: [Operator.statsQueue("q"), "q"],
  statsJob: [Operator.statsJob(id), id],
  queues: [Operator.queues],
  concerns: [Operator.concerns]
}

/** An inspector whose operations succeed with their own name and arguments. */
const echo = Object.fromEntries(
  Object.entries(calls).map(([name, [, ...args]]) => [
    name,
    args.length === 0
      ? Effect.succeed([name])
      : (...given: ReadonlyArray<unknown>) => Effect.succeed([name, ...given])
  ])
) as unknown as Inspector["Service"]

describe("Operator", () => {
  for (const [name, [call, ...args]] of Object.entries(calls)) {
    it.effect(`${name} calls the inspector with the same arguments`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* Effect.provideService(call, Inspector, echo), [name, ...args])
      }))
  }
})
