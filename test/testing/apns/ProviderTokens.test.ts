/** What a connection's provider tokens are refused for. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Key from "../../../src/testing/apns/Key.ts"
import * as ProviderTokens from "../../../src/testing/apns/providerTokens.ts"

const now = Date.parse("2026-03-04T05:06:07Z")
const minute = 60_000

const bearer = (key: Key.Key, issuedAt = now) => Effect.map(Key.signToken(key, issuedAt), (jwt) => `bearer ${jwt}`)

const reasonOf = (verdict: ProviderTokens.Verdict) => verdict._tag === "Refused" ? verdict.reason : undefined

const shownBy = (verdict: ProviderTokens.Verdict) => verdict._tag === "Accepted" ? verdict.shown : undefined

describe("ProviderTokens", () => {
  it.effect("accepts a token of a known key for an hour after its issue", () =>
    Effect.gen(function*() {
      const key = yield* Key.makeKey({ bundleIds: ["com.example.app"] })
      const judge = ProviderTokens.make([key], "sandbox")
      const authorization = yield* bearer(key)
      assert.deepStrictEqual(judge(authorization, now, undefined), {
        _tag: "Accepted",
        shown: { teamId: key.teamId, keyId: key.keyId, issuedAt: Math.floor(now / 1000) },
        bundleIds: ["com.example.app"]
      })
      assert.isUndefined(reasonOf(judge(authorization, now + 60 * minute, undefined)))
      assert.strictEqual(reasonOf(judge(authorization, now + 60 * minute + 1, undefined)), "ExpiredProviderToken")
      assert.isUndefined(reasonOf(judge(authorization, now - 60 * minute, undefined)))
      assert.strictEqual(reasonOf(judge(authorization, now - 60 * minute - 1, undefined)), "InvalidProviderToken")
    }))

  it.effect("refuses malformed tokens and tokens of other keys and teams", () =>
    Effect.gen(function*() {
      const key = yield* Key.makeKey()
      const judge = ProviderTokens.make([key], "sandbox")
      assert.strictEqual(reasonOf(judge(undefined, now, undefined)), "MissingProviderToken")
      const good = yield* bearer(key)
      const [header, claims, signature] = good.split(".")
      const otherTeam = yield* bearer({ ...key, teamId: "OTHERTEAM1" })
      const stranger = yield* bearer(yield* Key.makeKey({ teamId: key.teamId }))
      const forged = yield* bearer({ ...(yield* Key.makeKey()), keyId: key.keyId, teamId: key.teamId })
      for (
        const authorization of [
          "",
          "bearer",
          "bearer a.b.c",
          "bearer e30.e30.e30",
          `basic ${good}`,
          good.replace("bearer ", ""),
          `${header}.${claims}`,
          `${header}.${claims}.AAAA`,
          `${header}.${otherTeam.split(".")[1]}.${signature}`,
          otherTeam,
          stranger,
          forged
        ]
      ) assert.strictEqual(reasonOf(judge(authorization, now, undefined)), "InvalidProviderToken", authorization)
    }))

  it.effect("accepts every well-formed token if it knows no keys", () =>
    Effect.gen(function*() {
      const judge = ProviderTokens.make(undefined, "sandbox")
      assert.isUndefined(reasonOf(judge(yield* bearer(yield* Key.makeKey()), now, undefined)))
      assert.strictEqual(reasonOf(judge("bearer a.b.c", now, undefined)), "InvalidProviderToken")
    }))

  it.effect("limits a connection to one team and one key", () =>
    Effect.gen(function*() {
      const key = yield* Key.makeKey()
      const sameTeam = yield* Key.makeKey({ teamId: key.teamId })
      const other = yield* Key.makeKey()
      const judge = ProviderTokens.make([key, sameTeam, other], "sandbox")
      const shown = shownBy(judge(yield* bearer(key), now, undefined))
      assert.strictEqual(reasonOf(judge(yield* bearer(sameTeam), now, shown)), "UnrelatedKeyIdInToken")
      assert.strictEqual(reasonOf(judge(yield* bearer(other), now, shown)), "InvalidProviderToken")
    }))

  it.effect("refuses a key of the other environment", () =>
    Effect.gen(function*() {
      const key = yield* Key.makeKey({ environment: "production" })
      const authorization = yield* bearer(key)
      const judge = (environment: "production" | "sandbox") =>
        reasonOf(ProviderTokens.make([key], environment)(authorization, now, undefined))
      assert.strictEqual(judge("sandbox"), "BadEnvironmentKeyIdInToken")
      assert.isUndefined(judge("production"))
    }))

  it.effect("refuses tokens that are issued less than 20 minutes apart, and still accepts the first", () =>
    Effect.gen(function*() {
      const key = yield* Key.makeKey()
      const judge = ProviderTokens.make([key], "sandbox")
      const first = yield* bearer(key)
      const shown = shownBy(judge(first, now, undefined))
      // the same time of issue under another signature is the same token
      assert.isUndefined(reasonOf(judge(yield* bearer(key), now, shown)))
      const later = now + 30 * minute
      const tooSoon = yield* bearer(key, now + 20 * minute - 1000)
      assert.strictEqual(reasonOf(judge(tooSoon, later, shown)), "TooManyProviderTokenUpdates")
      assert.isUndefined(reasonOf(judge(first, later, shown)))
      const accepted = judge(yield* bearer(key, now + 20 * minute), later, shown)
      assert.strictEqual(shownBy(accepted)?.issuedAt, Math.floor(now / 1000) + 1200)
    }))
})
