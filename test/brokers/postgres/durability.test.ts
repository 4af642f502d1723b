/** What an answer means: with `full` the commit is on the disk, with `normal` the server may still lose it. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as PostgresBroker from "../../../src/brokers/postgres/PostgresBroker.ts"
import { allow, withServers } from "../../support/limits.ts"
import * as Postgres from "../../support/postgres.ts"

allow(withServers)

describe("durability", () => {
  Postgres.real(
    "full waits for the disk, normal does not, and the statistics say so",
    () =>
      Effect.scoped(Effect.gen(function*() {
        const { url } = yield* Postgres.cluster({ settings: ["fsync=on"] })
        const isDurable = Effect.fnUntraced(function*(options: PostgresBroker.BrokerOptions) {
          const { inspector } = yield* PostgresBroker.make({ url, ...options })
          return (yield* inspector.stats).durable
        }, Effect.scoped)
        assert.isTrue(yield* isDurable({}))
        assert.isTrue(yield* isDurable({ durability: "full" }))
        assert.isFalse(yield* isDurable({ durability: "normal" }))
      }))
  )
})
