/**
 * What about a server harms its jobs: who keeps dead rows, which settings may
 * lose what was acknowledged, and a pooler. Statements, and their readings.
 *
 * PostgreSQL shows the transactions of a user to that user and to members of
 * `pg_read_all_stats`.
 */
import type { Concern } from "../../Inspector.ts"
import type { Rows } from "./driver.ts"

/**
 * Dead rows of the jobs, whether this role sees all transactions, and who has kept the rows for the longest: what, its
 * name, its age in seconds if it is known. Only transactions of the same database keep rows, and vacuums keep none. The
 * `catalog_xmin` of a slot keeps rows of the catalog only.
 */
export const horizon = (s: string): string =>
  `SELECT (SELECT n_dead_tup FROM pg_stat_all_tables WHERE relid = '${s}.job'::regclass),
        pg_has_role('pg_read_all_stats', 'USAGE'), h.what, h.name, h.seconds
      FROM (SELECT 1) AS one LEFT JOIN LATERAL (
        SELECT 'transaction of process ' || pid AS what, application_name AS name, age(backend_xmin) AS held,
          extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds
        FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid() AND datname = current_database()
          AND backend_type <> 'walsender' AND query NOT LIKE 'autovacuum: VACUUM%'
          AND (xact_start IS NULL OR xact_start < clock_timestamp() - interval '5 seconds')
        UNION ALL
        SELECT 'replication slot', slot_name, age(xmin), NULL FROM pg_replication_slots WHERE xmin IS NOT NULL
        UNION ALL
        SELECT 'prepared transaction', gid, age(transaction), extract(epoch FROM clock_timestamp() - prepared)::float8
        FROM pg_prepared_xacts WHERE database = current_database()
        UNION ALL
        SELECT 'standby with hot_standby_feedback', application_name, age(backend_xmin), NULL
        FROM pg_stat_replication WHERE backend_xmin IS NOT NULL
        ORDER BY 3 DESC, 4 DESC NULLS LAST LIMIT 1) AS h ON true`

/** More dead rows than autovacuum leaves unless something keeps them. */
const manyDead = 20_000

/** What keeps dead rows; empty if there are few. */
export const ofHorizon = ([row]: Rows): ReadonlyArray<Concern> => {
  const dead = Number(row?.[0] ?? 0)
  if (row === undefined || dead < manyDead) return []
  const [, seesAll, what, name, seconds] = row
  if (what === null) {
    return seesAll === true ? [] : [{
      check: "horizon",
      level: "note",
      message: `there are ${dead} dead rows of jobs, and this role may not see who keeps them`,
      todo: "run GRANT pg_read_all_stats TO ROLE"
    }]
  }
  const age = seconds === null ? "" : `, open for ${Math.round(Number(seconds))} seconds`
  return [{
    check: "horizon",
    level: "warning",
    message: `${dead} dead rows of jobs can't be removed: the ${String(what)}${
      name === null || name === "" ? "" : ` (${String(name)})`
    } keeps them${age}`,
    todo: String(what).startsWith("transaction")
      ? "end it, or have it end earlier: see idle_in_transaction_session_timeout"
      : "end it, or drop it if nobody needs it"
  }]
}

/** What a crash may cost where a setting is off. */
const risks = {
  fsync: "a crash of its machine may damage the whole database",
  full_page_writes: "a crash of its machine in the middle of a write may damage the database",
  synchronous_commit: "a crash may undo what the server acknowledged in the last moments (three times " +
    "wal_writer_delay): jobs may be missing, and finished jobs may run again"
} as const

/** The settings that are off, and where each comes from: `client` is this program. */
export const settingsOff = `SELECT name, source FROM pg_settings
  WHERE name IN (${Object.keys(risks).map((name) => `'${name}'`).join(", ")}) AND setting = 'off' ORDER BY name`

/** What a crash of the server may cost. */
export const ofSettings = (rows: Rows): ReadonlyArray<Concern> =>
  rows.map(([name, source]) => ({
    check: "durability",
    level: "warning",
    message: `${String(name)} is off: ${risks[name as keyof typeof risks]}`,
    todo: source === "client"
      ? "leave durability=normal out of the URL"
      : "set it to on in postgresql.conf, and for the role and the database"
  }))

/** What a pooler in transaction mode costs. */
export const pooled: Concern = {
  check: "pooler",
  level: "note",
  message:
    "a pooler in transaction mode is in between: jobs of other processes start within 0.1 seconds, those of a dead " +
    "worker are ready after 10, and the server plans each statement anew",
  todo: "name a URL of the server itself in listen, so that jobs start at once"
}
