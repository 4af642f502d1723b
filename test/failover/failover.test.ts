/** What `npm run soak -- postgres-failover` does, once. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { allow, withPrograms } from "../support/limits.ts"
import { isMissing, real } from "../support/postgres.ts"
import { round } from "./failover.ts"

allow(withPrograms)

describe.skipIf(isMissing)("a primary that is killed", () => {
  real(
    "loses nothing that was acknowledged, and work goes on at the promotion of its standby",
    () => Effect.map(round("killed"), ({ took }) => assert.isBelow(took, 3000))
  )
})
