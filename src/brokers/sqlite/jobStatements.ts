/**
 * The statements that read and change jobs. Each finds its rows of `job` by an
 * index; `test/brokers/sqlite/plans.test.ts` checks that.
 */
import { statsColumns, usedUp } from "./rows.ts"

/** One statement ends at most this many delays or leases, so that no transaction is long. */
const dueBatchSize = 200

/** One statement adds this many jobs at half the cost per job of a statement for one. */
export const rowsPerInsert = 8

const insert = (rows: number): string =>
  `INSERT INTO job (queue, state, priority, due, put_at, ttr, small)
    VALUES ${Array.from({ length: rows }, () => "(?, ?, ?, ?, ?, ?, ?)").join(", ")}`

const ended = "state = 0, due = NULL, holder = NULL"
/** The lease of one delivery, unless it has expired. */
const held = "id = $id AND state = 2 AND deliveries = $delivery AND due > $now"
const keepFailure = `failure_tag = coalesce($failureTag, failure_tag),
    failure_message = CASE WHEN $failureTag IS NULL THEN failure_message ELSE $failureMessage END,
    failure_at = CASE WHEN $failureTag IS NULL THEN failure_at ELSE $now END`
const nextBurial = `1 + (SELECT coalesce(max(other.burial), 0) FROM job AS other
      WHERE other.state = 3 AND other.queue = job.queue)`
const heldByPlace = "id = ?1 AND state = 2 AND deliveries = ?2 AND due > ?3"

const deliver = "UPDATE job SET state = 2, due = ?2 + ttr + 1000, holder = ?3, deliveries = deliveries + 1"
const delivered = "RETURNING id, small AS body, priority, ttr, deliveries, forgiven, lost, buries"

/** Statements that run once per job have numbered parameters, because SQLite binds them faster than named ones. */
export const sql = {
  delayOver: `UPDATE job SET ${ended} WHERE id IN (
    SELECT id FROM job WHERE state = 1 AND due <= $now ORDER BY due LIMIT ${dueBatchSize})`,
  leaseOver: `UPDATE job SET ${ended}, lost = lost + 1 WHERE id IN (
    SELECT id FROM job WHERE state = 2 AND due <= $now ORDER BY due LIMIT ${dueBatchSize})`,
  holderGone: `UPDATE job SET ${ended}, lost = lost + 1 WHERE state = 2 AND due IS NOT NULL AND holder = $holder`,
  holderLeft:
    `UPDATE job SET ${ended}, forgiven = forgiven + 1 WHERE state = 2 AND due IS NOT NULL AND holder = $holder`,
  holds: "SELECT 1 FROM job WHERE state = 2 AND due IS NOT NULL AND holder = $holder LIMIT 1",
  nextDelay: "SELECT min(due) AS due FROM job WHERE state = 1 AND due IS NOT NULL",
  nextLease: "SELECT min(due) AS due FROM job WHERE state = 2 AND due IS NOT NULL",
  insert: insert(1),
  insertMany: insert(rowsPerInsert),
  restore: `INSERT INTO job (queue, state, priority, due, put_at, ttr, small, deliveries, lost, buries, reason,
      failure_tag, failure_message, failure_at, burial)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, CASE WHEN ?2 = 3 THEN
      1 + (SELECT coalesce(max(other.burial), 0) FROM job AS other WHERE other.state = 3 AND other.queue = ?1) END)`,
  ready: "SELECT id, priority FROM job WHERE queue = $queue AND state = 0 ORDER BY priority, id LIMIT $max",
  deliver: `${deliver} WHERE id = ?1 ${delivered}`,
  deliverNext: `${deliver} WHERE id IN (
    SELECT id FROM job WHERE queue = ?1 AND state = 0 ORDER BY priority, id LIMIT ?4) ${delivered}`,
  done: `DELETE FROM job WHERE ${heldByPlace}`,
  release: `UPDATE job SET state = $state, due = $due, holder = NULL, priority = coalesce($priority, priority),
    reason = $reason, ${keepFailure} WHERE ${held}`,
  bury: `UPDATE job SET state = 3, due = NULL, holder = NULL, priority = coalesce($priority, priority),
    reason = $reason, ${keepFailure}, buries = buries + 1, burial = ${nextBurial} WHERE ${held}`,
  requeue: `UPDATE job SET ${ended}, forgiven = forgiven + 1 WHERE ${held}`,
  touch: `UPDATE job SET due = $now + ttr + 1000 WHERE ${held}`,
  inspect: `SELECT priority, ttr, deliveries, forgiven, lost, buries FROM job WHERE ${held}`,
  kickBuried: `UPDATE job SET ${ended}, forgiven = forgiven + 1 WHERE id IN (
    SELECT id FROM job WHERE queue = $queue AND state = 3 ORDER BY burial LIMIT $max)`,
  kickDelayed: `UPDATE job SET ${ended}, forgiven = forgiven + 1 WHERE id IN (
    SELECT id FROM job WHERE queue = $queue AND state = 1 ORDER BY due, id LIMIT $max)`,
  kickJob: `UPDATE job SET ${ended}, forgiven = forgiven + 1 WHERE id = $id AND state IN (1, 3)`,
  buryJob: `UPDATE job SET state = 3, due = NULL, reason = $reason, deliveries = deliveries + 1, buries = buries + 1,
    burial = ${nextBurial} WHERE id = $id AND state IN (0, 1)`,
  copy: `INSERT INTO job (queue, state, priority, put_at, ttr, small)
    SELECT ?2, 0, priority, ?3, ttr, small FROM job WHERE id = ?1`,
  usedUp: usedUp("job"),
  large: "SELECT body FROM large WHERE job = ?",
  addLarge: "INSERT INTO large (job, body) VALUES (?, ?)",
  size:
    "SELECT length(small) + coalesce((SELECT length(body) FROM large WHERE job = job.id), 0) AS bytes FROM job WHERE id = $id",
  copyLarge: "INSERT INTO large (job, body) SELECT $to, body FROM large WHERE job = $from",
  removeLarge: "DELETE FROM large WHERE job = ?",
  mayMove: "SELECT queue FROM job WHERE id = $id AND state <> 2",
  remove: "DELETE FROM job WHERE id = $id AND state <> 2 RETURNING queue",
  peek: "SELECT id, small AS body FROM job WHERE id = $id",
  peekReady: "SELECT id, small AS body FROM job WHERE queue = $queue AND state = 0 ORDER BY priority, id LIMIT 1",
  peekDelayed: "SELECT id, small AS body FROM job WHERE queue = $queue AND state = 1 ORDER BY due, id LIMIT 1",
  peekBuried: "SELECT id, small AS body FROM job WHERE queue = $queue AND state = 3 ORDER BY burial LIMIT 1",
  listReady: `SELECT id, priority AS place, due, small AS body, ${statsColumns} FROM job
    WHERE queue = $queue AND state = 0 AND (priority, id) > ($order, $number) ORDER BY priority, id LIMIT $max`,
  listDelayed: `SELECT id, due AS place, due, small AS body, ${statsColumns} FROM job
    WHERE queue = $queue AND state = 1 AND (due, id) > ($order, $number) ORDER BY due, id LIMIT $max`,
  listReserved:
    `SELECT id, due AS place, due, small AS body, ${statsColumns} FROM job WHERE state = 2 AND due IS NOT NULL
    AND due >= $order AND (due, id) > ($order, $number) AND queue = $queue ORDER BY due, id LIMIT $max`,
  listBuried: `SELECT id, burial AS place, due, small AS body, ${statsColumns} FROM job
    WHERE queue = $queue AND state = 3 AND (burial, id) > ($order, $number) ORDER BY burial, id LIMIT $max`,
  stats: `SELECT name, state, due, ${statsColumns}
    FROM job JOIN queue ON queue.id = job.queue WHERE job.id = $id`,
  has: `SELECT 1 FROM queue WHERE id = $queue AND (
    EXISTS (SELECT 1 FROM job WHERE queue = $queue AND state = 0)
    OR EXISTS (SELECT 1 FROM job WHERE queue = $queue AND state = 1)
    OR EXISTS (SELECT 1 FROM job WHERE queue = $queue AND state = 2 AND due IS NOT NULL)
    OR EXISTS (SELECT 1 FROM job WHERE queue = $queue AND state = 3))`,
  countReady: "SELECT count(*) AS jobs FROM job WHERE queue = $queue AND state = 0",
  countDelayed: "SELECT count(*) AS jobs FROM job WHERE queue = $queue AND state = 1",
  countReserved: "SELECT count(*) AS jobs FROM job WHERE state = 2 AND due IS NOT NULL AND queue = $queue",
  countBuried: "SELECT count(*) AS jobs FROM job WHERE queue = $queue AND state = 3"
} as const
