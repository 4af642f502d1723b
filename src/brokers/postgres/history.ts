/**
 * Jobs that are done and kept for some time (the option `history`).
 *
 * The process that finishes a job decides how long it is kept, in the statement
 * that deletes it. Any process that works removes what is over, in small parts.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { BrokerError } from "../../BrokerError.ts"
import type { Rows } from "./driver.ts"

/** One statement removes at most this many jobs. */
const portion = 500

const sweepEvery = "5 seconds"
/** A full sweep is rare, because it is slow while something keeps dead rows. */
const sweepAllMillis = 600_000

const kept = "put_at, failure_at, priority, ttr, queue, deliveries, forgiven, lost, buries, reason, failure_tag, " +
  "failure_message, body"

/**
 * The end of jobs: they are deleted, and kept where `millis` is more than 0. `s` is the schema's name, quoted. `columns`
 * are what the statement returns of them, by the name of their id.
 */
export const end = (s: string, condition: string, millis: number, columns: (id: string) => string): string => {
  if (millis === 0) {
    return `WITH gone AS (DELETE FROM ${s}.job WHERE ${condition} RETURNING id) SELECT ${columns("id")} FROM gone`
  }
  const until = millis === Infinity ? "timestamptz 'infinity'" : `now.at + ${millis} * interval '1 millisecond'`
  return `WITH gone AS (DELETE FROM ${s}.job WHERE ${condition} RETURNING *),
    kept AS (INSERT INTO ${s}.done (job, finished_at, keep_until, ${kept})
      SELECT gone.id, now.at, ${until}, ${kept}
      FROM gone, (SELECT pg_catalog.clock_timestamp() AS at OFFSET 0) AS now RETURNING job)
    SELECT ${columns("job")} FROM kept`
}

/** Removes what was kept until now, and from `$1` seconds ago on. Returns a row for each. */
export const forget = (s: string): string =>
  `DELETE FROM ${s}.done WHERE seq = ANY (ARRAY(SELECT seq FROM ${s}.done WHERE keep_until <= statement_timestamp()
    AND keep_until >= statement_timestamp() - $1::float8 * interval '1 second'
    ORDER BY keep_until LIMIT ${portion} FOR UPDATE SKIP LOCKED)) RETURNING seq`

/** Seconds: since ever. */
const ever = 1e9

/** Removes what is over for as long as it is not interrupted. */
export const sweep = (
  query: (sql: string, parameters: ReadonlyArray<unknown>) => Effect.Effect<Rows, BrokerError>,
  sql: string
): Effect.Effect<never> =>
  Effect.suspend(() => {
    let sweptAt = -Infinity
    let sweptAllAt = -Infinity
    const once = Effect.gen(function*() {
      const now = yield* Clock.currentTimeMillis
      const isAll = now - sweptAllAt >= sweepAllMillis
      yield* Effect.repeat(query(sql, [isAll ? ever : (now - sweptAt) / 1000 + 1]), {
        while: (rows) => rows.length === portion
      })
      sweptAt = now
      if (isAll) sweptAllAt = now
    })
    return Effect.forever(Effect.andThen(Effect.ignore(once), Effect.sleep(sweepEvery)))
  })
