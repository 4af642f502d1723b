/**
 * The broker in a PostgreSQL database.
 *
 * The way of an operation, such as a `put`:
 *
 * 1. `PostgresBroker` or `inspector` checks the arguments. If the caller is in a
 *    transaction (`transaction`, `executors`), the put becomes part of it.
 * 2. Otherwise `Puts` groups what many fibers put, and `Store` runs one statement
 *    of `jobStatements` for the group.
 * 3. `Link` keeps one session open. `servers` finds the primary, and `driver` is
 *    the only file that knows `@effect/sql-pg`.
 * 4. `Store` wakes this process's `Waiters`, and notifies other processes.
 *
 * A reserve goes from `consumer` to `Waiters` to `Store`. `marks` decides where it
 * begins. `done` and `lease` settle a job in its handler's transaction.
 *
 * Beside it: `presence` requeues the jobs of dead processes, `pooling` detects a
 * pooler, `history` keeps finished jobs, `reach` reads the options, and `schema`,
 * `grants` and `functions` are what `backq migrate` installs.
 */
export * as PostgresBroker from "./PostgresBroker.ts"
