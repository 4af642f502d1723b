/**
 * Workers and publishers on one file die by `kill -9` at random moments, and
 * every job is accounted for. `npm run soak -- sqlite-kills` kills for minutes.
 */
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Liveness from "../../../src/brokers/sqlite/liveness.ts"
import { sqliteKills } from "../../kills/sqlite.ts"
import { allow, withPrograms } from "../../support/limits.ts"

allow(withPrograms)

describe.skipIf(Liveness.self().started === null)("kill -9", () => {
  it.live("every job is done, buried or waiting, and runs once at a time and never after it was done", () =>
    Effect.asVoid(sqliteKills("2026", 0, 5)))
})
