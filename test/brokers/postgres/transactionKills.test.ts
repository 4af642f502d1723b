/**
 * Processes die by `kill -9` inside their transactions. `npm run soak -- postgres-publishes` and
 * `postgres-settles` go on for longer, with every client.
 */
import { describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Transactions from "../../kills/transactions.ts"
import { allow, withPrograms } from "../../support/limits.ts"
import { isMissing, real } from "../../support/postgres.ts"

allow(withPrograms)

describe.skipIf(isMissing)("kill -9 inside a transaction", () => {
  real(
    "a job exists if and only if the row that was written beside it does",
    () => Effect.asVoid(Transactions.publishes("2026", 0, 20, ["@effect/sql-pg", "pg"]))
  )

  real(
    "what a handler writes is there once for each job that its transaction settled",
    () => Effect.asVoid(Transactions.settles("2026", 0, 4, 2))
  )
})
