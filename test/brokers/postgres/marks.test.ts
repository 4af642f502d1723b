/** Dead rows cost a reserve nothing: it begins at its mark, and sweeps seldom. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as JobStatements from "../../../src/brokers/postgres/jobStatements.ts"
import { beginning, earliest, Mark } from "../../../src/brokers/postgres/marks.ts"
import * as PostgresBroker from "../../../src/brokers/postgres/PostgresBroker.ts"
import { allow, withServers } from "../../support/limits.ts"
import * as Postgres from "../../support/postgres.ts"

allow(withServers)

const at = (id: number, priority = 1024) => ({ priority, id })

/** A mark on job 50, whose sweep took a millisecond and ended at 1. */
const marked = () => {
  const mark = new Mark()
  mark.swept(0, 1)
  mark.found(at(50))
  return mark
}

describe("Mark", () => {
  it("begins at the very beginning before it knows a job", () => {
    const mark = new Mark()
    assert.strictEqual(mark.begin(0), beginning)
    mark.swept(0, 1)
    assert.strictEqual(mark.begin(2), beginning)
  })

  it("begins at the first job of the reserve before, and sweeps each 100 ms", () => {
    const mark = marked()
    assert.deepStrictEqual(mark.begin(2), at(50))
    assert.deepStrictEqual(mark.begin(100), at(50))
    assert.strictEqual(mark.begin(101), beginning)
  })

  it("sweeps for a twentieth of the time at most", () => {
    const mark = marked()
    mark.swept(1000, 1200)
    assert.isFalse(mark.maySweep(5199))
    assert.deepStrictEqual(mark.begin(5199), at(50))
    assert.isTrue(mark.maySweep(5200))
    assert.strictEqual(mark.begin(5200), beginning)
  })

  it("begins at an earlier job that became ready", () => {
    const mark = marked()
    mark.lower(at(40))
    mark.lower(at(45))
    assert.deepStrictEqual(mark.begin(2), at(40))
    mark.lower(at(900, 1))
    assert.deepStrictEqual(mark.begin(2), at(900, 1))
    mark.lower(beginning)
    assert.strictEqual(mark.begin(2), beginning)
  })

  it("remembers a job that became ready while a reserve was under way", () => {
    const mark = marked()
    mark.begin(2)
    mark.lower(at(40))
    mark.found(at(60))
    assert.deepStrictEqual(mark.begin(3), at(40))
  })

  it("sweeps as soon as it may when another process tells of jobs", () => {
    const mark = marked()
    mark.suspect()
    assert.deepStrictEqual(mark.begin(20), at(50))
    assert.strictEqual(mark.begin(21), beginning)
  })

  it("orders places by priority, then by id", () => {
    assert.deepStrictEqual(earliest(at(1, 2), at(9, 1)), at(9, 1))
    assert.deepStrictEqual(earliest(at(2, 1), at(1, 1)), at(1, 1))
  })
})

describe("reserve", () => {
  Postgres.real("reads no dead row before its mark", () =>
    Effect.scoped(Effect.gen(function*() {
      const { psql, url } = yield* Postgres.cluster({ settings: ["max_prepared_transactions=1"] })
      yield* Effect.scoped(PostgresBroker.make({ url, schema: "s" }))
      const put = (n: number) =>
        psql(
          `INSERT INTO s.job (queue, state, priority, ttr, body)
           SELECT 1, 0, 1024, 60000, 'x' FROM generate_series(1, ${n})`
        )
      // An open transaction keeps the rows of 5,000 jobs that were leased and deleted.
      yield* psql("BEGIN; SELECT txid_current(); PREPARE TRANSACTION 'open'")
      yield* psql("INSERT INTO s.queue (name) VALUES ('q')")
      yield* put(5000)
      yield* psql("UPDATE s.job SET state = 2, due = now()")
      yield* psql("DELETE FROM s.job")
      yield* psql("VACUUM s.job")
      yield* put(20)
      /** How many entries of the index a reserve of 10 jobs reads. */
      const read = (id: number) =>
        Effect.map(
          psql(
            `PREPARE reserve AS ${JobStatements.make("s").reserve};
             SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_bitmapscan = off;
             EXECUTE reserve ('{q}', 10, 1, 1, 1024, ${id});
             SELECT pg_stat_get_xact_tuples_returned('s.job_ready'::regclass)`
          ),
          (printed) => Number(printed.split("\n").at(-1))
        )
      assert.strictEqual(yield* read(5001), 10)
      assert.isAtLeast(yield* read(0), 5010)
    })))
})
