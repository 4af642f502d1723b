/**
 * The statements, for a schema.
 *
 * No join decides the plan of one that runs often: a queue's table was empty
 * when it was last vacuumed, and the planner then takes a scan of all for
 * cheap. `id = ANY (ARRAY(SELECT ...))` has one plan whatever the statistics
 * say. Times are the server's; programs send and get durations.
 */
import * as Concerns from "./concerns.ts"
import * as History from "./history.ts"

/** Delays and leases that have ended are handled in portions, so that many of them block nothing for long. */
export const portion = 200

/** Leases of a process that has died are returned in portions. */
export const gonePortion = 1000

const ms = (parameter: string): string => `${parameter} * interval '1 millisecond'`

const micros = (time: string): string => `(extract(epoch FROM ${time}) * 1000000)::bigint`

const time = (place: string): string => `timestamptz 'epoch' + ${place}::bigint * interval '1 microsecond'`

const ready = "state = 0, due = NULL, holder = NULL, lease = NULL"

/** The lease of one delivery that is not over. What is added hides the rest of the condition from partial indexes. */
const isHeld = "state + 0 = 2 AND due + interval '0' > pg_catalog.clock_timestamp()"

const held = `id = ANY ($1::bigint[]) AND holder = $2 AND lease = ANY ($3::int[]) AND ${isHeld}`

/** A parameter of a statement that any client can send: all are texts. */
const fromText = (place: number, type: string): string => `$${place}::text::${type}`

const native = (place: number, type: string): string => `$${place}::${type}`

/** The columns of {@link Counters}, in their order. */
const counters = "priority, ttr, deliveries, forgiven, lost, buries"

const age = "greatest(0, floor(extract(epoch FROM clock_timestamp() - put_at) * 1000))::bigint"

const failureAt = "floor(extract(epoch FROM failure_at) * 1000)::bigint"

/** The columns that are known of a job, in the order in which `rows.ts` reads them. */
const known = `id, ${counters}, state, ${age},
  CASE WHEN due IS NULL THEN 0 ELSE greatest(0, ceil(extract(epoch FROM due - clock_timestamp()) * 1000)) END::bigint,
  reason, failure_tag, failure_message, ${failureAt}`

export type Statements = ReturnType<typeof make>

/** The statements for a schema, whose name is quoted already. Jobs that are done are kept for some milliseconds. */
export const make = (s: string, keepMillis = 0) => {
  const ofQueue = `(SELECT id FROM ${s}.queue WHERE name = $1)`
  const since = "statement_timestamp() - $1::float8 * interval '1 second'"
  const over = (state: number) =>
    `ARRAY(SELECT id FROM ${s}.job WHERE state = ${state} AND due <= statement_timestamp() AND due >= ${since}
      ORDER BY due LIMIT ${portion} FOR UPDATE SKIP LOCKED)`
  const listed = (order: string, state: number, after: string, by: string, ofOne = `queue = ${ofQueue}`) =>
    `SELECT ${order}, body, ${known} FROM ${s}.job WHERE ${ofOne} AND state = ${state} AND ${after}
      ORDER BY ${by} LIMIT $4`
  const next = (state: number, by: string) =>
    `SELECT id, body FROM ${s}.job WHERE queue = ${ofQueue} AND state = ${state} ORDER BY ${by} LIMIT 1`
  const has = (queue: string) =>
    `(EXISTS (SELECT 1 FROM ${s}.job WHERE queue = ${queue} AND state = 0)
      OR EXISTS (SELECT 1 FROM ${s}.job WHERE queue = ${queue} AND state = 1)
      OR EXISTS (SELECT 1 FROM ${s}.job WHERE queue = ${queue} AND state = 3)
      OR EXISTS (SELECT 1 FROM ${s}.job WHERE queue = ${queue} AND state = 2 AND due IS NOT NULL))`
  /**
   * Puts jobs. An array of numbers has one for each of them, or one for all: that is 1.5 us of 15 less for each job. It also
   * runs in transactions of others, whatever their search path. PostgreSQL takes several `unnest` for its own.
   */
  const put = (queue: string, parameter: typeof native, returning: string) => {
    const number = (name: string, place: number) => `coalesce(u.${name}, (${parameter(place, "bigint[]")})[1])`
    return `WITH q AS MATERIALIZED (${queue}),
      t AS (INSERT INTO ${s}.tally (queue, jobs) SELECT q.id, pg_catalog.cardinality(${parameter(2, "bytea[]")}) FROM q)
      INSERT INTO ${s}.job (queue, state, priority, due, ttr, body)
      SELECT q.id, CASE WHEN n.delay > 0 THEN 1 ELSE 0 END, n.priority,
        CASE WHEN n.delay > 0 THEN pg_catalog.clock_timestamp() + ${ms("n.delay")} END, n.ttr, u.body
      FROM q, unnest(${parameter(2, "bytea[]")}, ${parameter(3, "bigint[]")}, ${parameter(4, "bigint[]")},
          ${parameter(5, "bigint[]")}) WITH ORDINALITY AS u(body, priority, delay, ttr, ord),
        LATERAL (SELECT ${number("priority", 3)}, ${number("delay", 4)}, ${number("ttr", 5)}) AS n(priority, delay, ttr)
      RETURNING ${returning}`
  }
  const idle = (condition: string) =>
    `(SELECT coalesce(sum(workers), 0) FROM ${s}.waiting WHERE process <> $2 AND ${condition}
      AND process IN (SELECT id FROM ${s}.process WHERE alive_until >= clock_timestamp()))`
  /** The lock of a process is free, or its heart has stopped. One with a negative number has no lock. */
  const isDead = "(alive_until < clock_timestamp() OR id > 0 AND pg_try_advisory_xact_lock($2, id))"
  return {
    openQueue: `INSERT INTO ${s}.queue (name) VALUES ($1) ON CONFLICT (name) DO NOTHING`,
    openQueues: `INSERT INTO ${s}.queue (name) SELECT n.name FROM unnest($1::text[]) AS n(name)
      WHERE NOT EXISTS (SELECT 1 FROM ${s}.queue WHERE queue.name = n.name) ON CONFLICT (name) DO NOTHING`,
    put: put(`SELECT id FROM ${s}.queue WHERE name = $1`, native, "id"),
    queueId: `SELECT id FROM ${s}.queue WHERE name = $1`,
    /** In a transaction of the program. The queue is there already: two that make it would wait for each other. */
    putWithin: put(`SELECT ${fromText(1, "int")} AS id`, fromText, "id::text AS id"),
    /** The same, and tells all processes of it at the commit. The server sends equal notifications of a transaction once. */
    putWithinAndTell: put(
      `SELECT ${fromText(1, "int")} AS id`,
      fromText,
      "id::text AS id, (SELECT pg_catalog.pg_notify($6::text, $7::text)) IS NULL AS told"
    ),
    /** In a transaction of the program: settles one lease. */
    doneWithin: History.end(
      s,
      `id = ${fromText(1, "bigint")} AND holder = ${fromText(2, "int")} AND lease = ${
        fromText(3, "int")
      } AND ${isHeld}`,
      keepMillis,
      (id) => `${id}::text AS id`
    ),
    /** Puts jobs as another broker had them. */
    restore: `WITH q AS MATERIALIZED (SELECT id FROM ${s}.queue WHERE name = $1),
      t AS (INSERT INTO ${s}.tally (queue, jobs) SELECT q.id, cardinality($2::bytea[]) FROM q)
      INSERT INTO ${s}.job (queue, state, priority, due, ttr, body, deliveries, lost, buries, burial, reason, failure_tag,
        failure_message, failure_at)
      SELECT q.id, CASE WHEN u.buried > 0 THEN 3 WHEN u.delay > 0 THEN 1 ELSE 0 END, u.priority,
        CASE WHEN u.buried = 0 AND u.delay > 0 THEN clock_timestamp() + ${ms("u.delay")} END, u.ttr, u.body,
        u.deliveries, u.lost, u.buries, CASE WHEN u.buried > 0 THEN nextval('${s}.burial') END, u.reason, u.tag,
        u.message, timestamptz 'epoch' + ${ms("u.failed_at")}
      FROM q, unnest($2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[], $6::int[], $7::int[], $8::int[], $9::int[],
          $10::text[], $11::text[], $12::text[], $13::bigint[]) WITH ORDINALITY
        AS u(body, priority, delay, ttr, buried, deliveries, lost, buries, reason, tag, message, failed_at, ord)
      RETURNING id`,
    /** Tells other processes that wait on queues. It writes nothing that has to reach the disk before it is answered. */
    notify: `SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, q.name) FROM ${s}.queue AS q
      WHERE q.name = ANY ($2::text[]) AND EXISTS (
        SELECT 1 FROM ${s}.waiting AS w WHERE w.queue = q.id AND w.process <> $3)`,
    notifyOne: "SELECT pg_notify($1, $2)",
    /** Numbers of 8 bytes are read as float8, which has them exactly up to 2^53 and costs no `bigint` for each. */
    reserve: `UPDATE ${s}.job SET state = 2, due = clock_timestamp() + ${ms("ttr")}, holder = $3, lease = $4,
        deliveries = deliveries + 1
      WHERE id = ANY (ARRAY(SELECT c.id FROM unnest($1::text[]) AS n(name)
        CROSS JOIN LATERAL (SELECT q.id FROM ${s}.queue AS q WHERE q.name = n.name
          AND (q.paused_until IS NULL OR q.paused_until <= clock_timestamp()) OFFSET 0) AS q
        CROSS JOIN LATERAL (SELECT job.id, job.priority FROM ${s}.job WHERE job.queue = q.id AND job.state = 0
          AND (job.priority, job.id) >= ($5::bigint, $6::bigint)
          ORDER BY job.priority, job.id LIMIT $2 FOR UPDATE SKIP LOCKED) AS c
        ORDER BY c.priority, c.id LIMIT $2))
      RETURNING id::float8, queue, body, priority::float8, ttr::float8, deliveries, forgiven, lost, buries`,
    queueNames: `SELECT id, name FROM ${s}.queue WHERE id = ANY ($1::int[])`,
    /** Requeues the jobs of a reserve without an answer, which never ran. */
    takeBack: `UPDATE ${s}.job SET ${ready}, forgiven = forgiven + 1
      WHERE id = ANY (ARRAY(SELECT id FROM ${s}.job WHERE state = 2 AND holder = $1 AND lease = $2))`,
    /** What a process held by a number that the others took for dead. */
    returnHeld: `UPDATE ${s}.job SET ${ready}, lost = lost + 1 WHERE id = ANY (ARRAY(SELECT id FROM ${s}.job
      WHERE state = 2 AND holder = $1 LIMIT ${gonePortion} FOR UPDATE SKIP LOCKED)) RETURNING id`,
    /** Returns how many were done, and which, if not all were. A row for each makes a worker by 500 a tenth slower. */
    done: History.end(
      s,
      held,
      keepMillis,
      (id) => `count(*)::int, CASE WHEN count(*) < cardinality($1::bigint[]) THEN array_agg(${id}::float8) END`
    ),
    // how: 1 release, 2 bury, 3 requeue
    settle: `UPDATE ${s}.job SET
        (state, due, priority, forgiven, buries, burial, reason, failure_tag, failure_message, failure_at, holder, lease) = (
        SELECT CASE WHEN u.how = 2 THEN 3 WHEN u.how = 1 AND u.delay > 0 THEN 1 ELSE 0 END,
          CASE WHEN u.how = 1 AND u.delay > 0 THEN clock_timestamp() + ${ms("u.delay")} END,
          coalesce(u.priority, job.priority), job.forgiven + (u.how = 3)::int, job.buries + (u.how = 2)::int,
          CASE WHEN u.how = 2 THEN nextval('${s}.burial') END,
          CASE WHEN u.how = 3 THEN job.reason ELSE u.reason END, coalesce(u.tag, job.failure_tag),
          CASE WHEN u.tag IS NULL THEN job.failure_message ELSE u.message END,
          CASE WHEN u.tag IS NULL THEN job.failure_at ELSE clock_timestamp() END, NULL::int, NULL::int
        FROM (SELECT array_position($1::bigint[], job.id) AS i OFFSET 0) AS p,
          LATERAL (SELECT ($4::bigint[])[i] AS how, ($5::bigint[])[i] AS delay, ($6::bigint[])[i] AS priority,
            ($7::text[])[i] AS reason, ($8::text[])[i] AS tag, ($9::text[])[i] AS message) AS u)
      WHERE ${held} RETURNING id`,
    /**
     * What became of a lease that a transaction of the program settles: no row where the job is gone, or whether it has
     * the lease still, and whether no transaction locks it. It waits for none.
     */
    fate: `WITH free AS MATERIALIZED (SELECT id FROM ${s}.job WHERE id = ANY ($1::bigint[]) FOR UPDATE SKIP LOCKED)
      SELECT state = 2 AND coalesce(holder = $2 AND lease = ANY ($3::int[]), false), EXISTS (SELECT 1 FROM free)
      FROM ${s}.job WHERE id = ANY ($1::bigint[])`,
    /** The same as touch, for leases whose rows such a transaction may lock. */
    touchFree: `UPDATE ${s}.job SET due = clock_timestamp() + ${ms("ttr")} WHERE id = ANY (ARRAY(
      SELECT id FROM ${s}.job WHERE ${held} FOR UPDATE SKIP LOCKED)) RETURNING id`,
    touch: `UPDATE ${s}.job SET due = clock_timestamp() + ${ms("ttr")} WHERE ${held} RETURNING id`,
    inspect: `SELECT id, ${counters} FROM ${s}.job WHERE ${held}`,
    /** Delays and leases that are over; of the last `$1` seconds, since what is older has been seen. */
    advance: `UPDATE ${s}.job SET ${ready}, lost = lost + (state = 2)::int
      WHERE id = ANY (${over(1)} || ${over(2)}) RETURNING priority, id`,
    /** Milliseconds until a delay, a lease or a pause is over. */
    nextDue: `SELECT ceil(extract(epoch FROM least(
        (SELECT min(due) FROM ${s}.job WHERE state = 1 AND due IS NOT NULL AND due >= ${since}),
        (SELECT min(due) FROM ${s}.job WHERE state = 2 AND due >= ${since}
          AND due <= statement_timestamp() + interval '1 second'),
        (SELECT min(paused_until) FROM ${s}.queue WHERE paused_until > statement_timestamp())
      ) - clock_timestamp()) * 1000)::bigint`,
    kick: `WITH q AS MATERIALIZED (SELECT id FROM ${s}.queue WHERE name = $1),
      b AS MATERIALIZED (SELECT id FROM ${s}.job WHERE queue = (SELECT id FROM q) AND state = 3
        ORDER BY burial LIMIT $2 FOR UPDATE SKIP LOCKED),
      d AS MATERIALIZED (SELECT id FROM ${s}.job WHERE queue = (SELECT id FROM q) AND state = 1
        AND $3 AND NOT (SELECT EXISTS (SELECT 1 FROM ${s}.job WHERE queue = (SELECT id FROM q) AND state = 3))
        ORDER BY due, id LIMIT $2 FOR UPDATE SKIP LOCKED)
      UPDATE ${s}.job SET state = 0, due = NULL, burial = NULL, forgiven = forgiven + 1
      WHERE id = ANY (ARRAY(SELECT id FROM b UNION ALL SELECT id FROM d)) RETURNING state, (SELECT count(*) FROM b)`,
    kickJob: `UPDATE ${s}.job SET state = 0, due = NULL, burial = NULL, forgiven = forgiven + 1
      WHERE id = $1 AND state + 0 IN (1, 3) RETURNING (SELECT name FROM ${s}.queue WHERE queue.id = job.queue)`,
    buryJob: `UPDATE ${s}.job SET state = 3, due = NULL, reason = $2, deliveries = deliveries + 1, buries = buries + 1,
      burial = nextval('${s}.burial') WHERE id = $1 AND state + 0 IN (0, 1) RETURNING id`,
    remove: `DELETE FROM ${s}.job WHERE id = $1 AND state + 0 <> 2 RETURNING queue`,
    move: `WITH q AS MATERIALIZED (SELECT id FROM ${s}.queue WHERE name = $2),
      old AS (DELETE FROM ${s}.job WHERE id = $1 AND state + 0 <> 2 AND EXISTS (SELECT 1 FROM q) RETURNING *),
      t AS (INSERT INTO ${s}.tally (queue, jobs) SELECT q.id, 1 FROM q, old)
      INSERT INTO ${s}.job (queue, state, priority, ttr, body)
      SELECT q.id, 0, old.priority, old.ttr, old.body FROM old, q RETURNING id`,
    peek: `SELECT id, body FROM ${s}.job WHERE id = $1`,
    peekReady: next(0, "priority, id"),
    peekDelayed: next(1, "due, id"),
    peekBuried: next(3, "burial"),
    stats: `SELECT (SELECT name FROM ${s}.queue WHERE queue.id = job.queue), NULL::bytea, ${known} FROM ${s}.job
      WHERE id = $1`,
    listReady: listed("priority", 0, "(priority, id) > ($2::bigint, $3::bigint)", "priority, id"),
    listDelayed: listed(micros("due"), 1, `(due, id) > (${time("$2")}, $3::bigint) AND queue IS NOT NULL`, "due, id"),
    listReserved: listed(
      micros("due"),
      2,
      `(due, id) > (${time("$2")}, $3::bigint)`,
      "due, id",
      `queue + 0 = ${ofQueue}`
    ),
    listBuried: listed("burial", 3, "burial > $2::bigint AND $3::bigint IS NOT NULL", "burial"),
    listDone: `SELECT seq, body, job, ${counters}, 2, ${age}, 0::bigint, reason, failure_tag, failure_message,
        ${failureAt}, floor(extract(epoch FROM finished_at) * 1000)::bigint
      FROM ${s}.done WHERE queue = ${ofQueue} AND seq < $2::bigint ORDER BY seq DESC LIMIT $3`,
    forgetDone: History.forget(s),
    pause: `INSERT INTO ${s}.queue (name, paused_until) VALUES ($1, clock_timestamp() + ${ms("$2::bigint")})
      ON CONFLICT (name) DO UPDATE SET paused_until = excluded.paused_until`,
    resume: `UPDATE ${s}.queue SET paused_until = NULL WHERE name = $1`,
    statsQueue: `SELECT ${has("q.id")} OR coalesce(q.paused_until > clock_timestamp(), false),
        (SELECT count(*) FROM ${s}.job WHERE queue = q.id AND state = 0),
        (SELECT count(*) FROM ${s}.job WHERE queue = q.id AND state = 1),
        (SELECT count(*) FROM ${s}.job WHERE queue + 0 = q.id AND state = 2),
        (SELECT count(*) FROM ${s}.job WHERE queue = q.id AND state = 3),
        ${idle("queue = q.id")}, (SELECT coalesce(sum(jobs), 0)::bigint FROM ${s}.tally WHERE queue = q.id),
        greatest(0, ceil(extract(epoch FROM q.paused_until - clock_timestamp()) * 1000))::bigint
      FROM ${s}.queue AS q WHERE q.name = $1`,
    /** A queue that is gone and comes back starts with no counts. */
    forget: `WITH q AS MATERIALIZED (SELECT id FROM ${s}.queue WHERE name = $1)
      DELETE FROM ${s}.tally WHERE queue = (SELECT q.id FROM q WHERE NOT ${has("q.id")})`,
    idleWorkers: `SELECT ${idle(`queue = ${ofQueue}`)}`,
    statsAll: `SELECT (SELECT count(*) FROM ${s}.job WHERE state = 0), (SELECT count(*) FROM ${s}.job WHERE state = 1),
        (SELECT count(*) FROM ${s}.job WHERE state = 2), (SELECT count(*) FROM ${s}.job WHERE state = 3),
        ${idle("$1::text IS NULL")}, current_setting('server_version'),
        (extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) * 1000)::bigint,
        pg_is_in_recovery(), current_setting('fsync')::boolean AND current_setting('full_page_writes')::boolean
          AND current_setting('synchronous_commit') <> 'off'`,
    horizon: Concerns.horizon(s),
    settingsOff: Concerns.settingsOff,
    queues: `SELECT q.name FROM ${s}.queue AS q
      WHERE ${has("q.id")} OR coalesce(q.paused_until > clock_timestamp(), false)`,
    rollUp: `WITH old AS (DELETE FROM ${s}.tally WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM ${s}.tally LIMIT 5000 FOR UPDATE SKIP LOCKED)) RETURNING queue, jobs)
      INSERT INTO ${s}.tally (queue, jobs) SELECT queue, sum(jobs) FROM old GROUP BY queue`,
    // Processes
    newProcess: `SELECT nextval('${s}.process_id')`,
    lock: "SELECT pg_advisory_lock($1, $2)",
    addProcess: `INSERT INTO ${s}.process (id, alive_until) VALUES ($1, clock_timestamp() + ${ms("$2::bigint")})
      RETURNING id`,
    /**
     * A heartbeat of `$1`, and the dead processes if `$4`: each with whether its heart stopped. No row of `$1`: the others
     * took it for dead. One statement: each that an idle process sends every second costs 0.15 s of CPU a minute.
     */
    beat: `WITH me AS (UPDATE ${s}.process SET alive_until = clock_timestamp() + ${ms("$3::bigint")} WHERE id = $1
        RETURNING id)
      SELECT id, NULL::boolean FROM me
      UNION ALL SELECT id, alive_until < clock_timestamp() FROM ${s}.process WHERE $4 AND id <> $1 AND ${isDead}`,
    /** The row of a process with jobs stays: by it the others find them. */
    removeProcess: `WITH w AS (DELETE FROM ${s}.waiting WHERE process = $1)
      DELETE FROM ${s}.process WHERE id = $1
        AND NOT EXISTS (SELECT 1 FROM ${s}.job WHERE state = 2 AND holder = $1)`,
    /** Returns what dead processes held; they are forgotten with the last of it. */
    holderGone: `WITH dead AS MATERIALIZED (SELECT id FROM ${s}.process WHERE id = ANY ($1::int[])
        AND ${isDead}),
      freed AS (UPDATE ${s}.job SET ${ready}, lost = lost + 1 WHERE id = ANY (ARRAY(SELECT id FROM ${s}.job
        WHERE state = 2 AND holder = ANY (ARRAY(SELECT id FROM dead)) LIMIT ${gonePortion} FOR UPDATE SKIP LOCKED))
        RETURNING queue),
      gone AS (DELETE FROM ${s}.process WHERE id = ANY (ARRAY(SELECT id FROM dead))
        AND (SELECT count(*) FROM freed) < ${gonePortion}),
      w AS (DELETE FROM ${s}.waiting WHERE process = ANY (ARRAY(SELECT id FROM dead)))
      SELECT count(*) FROM freed`,
    reportIdle:
      `WITH q AS MATERIALIZED (SELECT queue.id, n.workers FROM unnest($2::text[], $3::int[]) AS n(name, workers)
        JOIN ${s}.queue ON queue.name = n.name),
      gone AS (DELETE FROM ${s}.waiting WHERE process = $1 AND NOT (queue = ANY (ARRAY(SELECT id FROM q))))
      INSERT INTO ${s}.waiting (process, queue, workers) SELECT $1, id, workers FROM q
      ON CONFLICT (queue, process) DO UPDATE SET workers = excluded.workers`
  } as const
}
