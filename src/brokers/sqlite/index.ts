/**
 * The broker in a file of SQLite.
 *
 * The way of an operation, such as a `put`:
 *
 * 1. `SqliteBroker` or `inspector` checks the arguments, splits a large call
 *    (`batches`), and describes the work.
 * 2. `Access` and `Presence` run it on the current session. If the file was
 *    moved, `Openings` opens what is at the path, and the work runs once more. A
 *    consumer holds its session itself, and `Consumers` gives it the next one.
 * 3. `session` is one opening of the file and wires its parts. `Commits` runs the
 *    works of one turn in one transaction; `sync` makes it durable.
 * 4. In the transaction, `Jobs` and `Queues` change the rows by the statements of
 *    `jobStatements`, and `Waiters` gives ready jobs to waiting consumers.
 *
 * Beside it: `processes` and `liveness` requeue the jobs of dead processes,
 * `checkpoints` and `housekeeping` keep the files small, and `file`, `schema` and
 * `guard` check what is opened.
 */
export * as SqliteBroker from "./SqliteBroker.ts"
