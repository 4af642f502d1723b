/**
 * Workers and publishers die by `kill -9` at random moments, and every job is
 * accounted for. `npm run soak -- postgres-kills` kills for an hour.
 */
import { describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { postgresKills } from "../../kills/postgres.ts"
import { allow, withPrograms } from "../../support/limits.ts"
import { isMissing, real } from "../../support/postgres.ts"

allow(withPrograms)

describe.skipIf(isMissing)("kill -9 with PostgreSQL", () => {
  real(
    "every job is done, buried or waiting, and runs once at a time and never after it was done",
    () => Effect.asVoid(postgresKills("2026", 0, 2, 2))
  )
})
