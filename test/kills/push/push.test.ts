/** The ledger of push jobs finds what it is there to find, and a small campaign of `npm run soak -- push-devices`. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Beanstalkd from "../../support/beanstalkd.ts"
import { allow, withPrograms } from "../../support/limits.ts"
import { Random } from "../../support/Random.ts"
import * as Ledger from "./ledger.ts"
import { run } from "./push.ts"

allow(withPrograms)

describe("the ledger of push jobs", () => {
  const done = ["start a 1 a1,a2", "Done a 1", "start b 1 b1", "Done b 1"]
  const good: ReadonlyArray<readonly [string, number]> = [["a1", 200], ["a2", 429], ["b1", 410], ["a2", 201]]
  const violations = (lines: ReadonlyArray<string>, pushes = good, reported = ["b1"]) =>
    Ledger.audit({
      targets: ["a1", "a2", "b1"],
      dead: new Set(["b1"]),
      lines,
      pushes: pushes.map(([target, status]) => ({ target, status })),
      reported
    }).violations

  it("accepts one push for each target, and a second one after a kill", () => {
    assert.deepStrictEqual(violations(done), [])
    const cut = ["start b 1 b1", "Done b 1", "start a 1 a1,a2", "kill worker 1", "start a 2 a1,a2", "Done a 2"]
    assert.deepStrictEqual(violations(cut, [...good, ["a1", 200], ["a2", 200]], ["b1"]), [])
    // The process goes on for a moment after the kill was written down.
    assert.deepStrictEqual(violations([...done, "kill worker 1", "start a 1 a1,a2"], [...good, ["a1", 200]]), [])
    const reported = ["start b 1 b1", "kill worker 1", "start b 2 b1", "Done b 2"]
    assert.deepStrictEqual(violations(reported, good, ["b1", "b1"]), [])
  })

  const faults: Record<string, readonly [string, ReadonlyArray<string>]> = {
    "a push that is lost": ["a2 is lost", violations(done, good.slice(0, 3))],
    "a push to nobody": ["c1 is of no job", violations(done, [...good, ["c1", 429]])],
    "a second push": ["a1 was pushed to after acceptance 1", violations(done, [...good, ["a1", 429]])],
    "a second push of a target whose neighbour was cut off": [
      "a1 was pushed to after acceptance 1",
      violations([...done, "start a#after-1 1 a2", "kill worker 1"], [...good, ["a1", 200]])
    ],
    "a third push after one kill": [
      "a1 was pushed to after acceptance 2",
      violations([...done, "start a 1 a1", "kill worker 1"], [...good, ["a1", 200], ["a1", 200]])
    ],
    "a delivery without an end": ["a was begun and not settled", violations(done.toSpliced(1, 1))],
    "a dead target that is not reported": ["b1 is dead and was not reported", violations(done, good, [])],
    "a dead target that is reported twice": ["b1 was reported 2 times", violations(done, good, ["b1", "b1"])],
    "a living target that is reported": ["a1 was reported and is alive", violations(done, good, ["a1", "b1"])],
    "a dead target that is accepted": ["b1 is dead and was accepted", violations(done, [...good, ["b1", 200]])]
  }
  it.each(Object.entries(faults))("finds %s", (_, [expected, found]) => {
    assert.deepStrictEqual(found, [expected])
  })
})

describe("push jobs, and a worker that is killed", () => {
  const small = { jobs: 60, kills: 1, random: new Random("small") }

  Beanstalkd.real("FCM through beanstalkd", () => run({ kind: "fcm", broker: "beanstalkd", ...small }))

  it.live("Web Push through a file", () => Effect.asVoid(run({ kind: "webpush", broker: "sqlite", ...small })))
})
