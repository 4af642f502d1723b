/**
 * What is in the schema, and how it comes to be.
 *
 * Migrations only go forward and only add, so that programs of two versions
 * can share a schema; their text is never changed. All that are missing run in
 * one transaction that holds an advisory lock: of any number of programs that
 * start together one migrates, and the others find it done.
 */
import * as Effect from "effect/Effect"
import { type BrokerError, make as brokerError, optionInvalid, Unsupported } from "../../BrokerError.ts"
import * as Options from "../../internal/options.ts"
import type { Rows } from "./driver.ts"

/** The schema of programs that name none. */
export const defaultSchema = "backq"

const schemaName = /^[a-z_][a-z0-9_]{0,47}$/

/** Checks the name of a schema. */
export const checkSchema = (schema: unknown): Effect.Effect<string, BrokerError> =>
  typeof schema === "string" && schemaName.test(schema) ? Effect.succeed(schema) : Effect.fail(
    optionInvalid("schema", Options.mustBe("1 to 48 of the characters a-z 0-9 _, without a digit in front", schema))
  )

/**
 * `state`: 0 ready, 1 delayed, 2 reserved, 3 buried. `due`: when a delay or a
 * lease ends. `holder` and `lease`: the process that has the job, and its own
 * count of reserves. A partial index for each state, so that a job is only in
 * those that its state needs; the parts of their conditions that are always
 * true keep each from serving the other one's statements. `tally` has a row for
 * each put, since a counter would make puts wait for each other. `waiting` is
 * gone after a crash, and so are those who waited. `alive_until`: a process
 * moves it forward while it lives.
 */
export const migrations = (s: string): ReadonlyArray<ReadonlyArray<string>> => [[
  `CREATE TABLE ${s}.queue (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE,
     paused_until timestamptz)`,
  `CREATE TABLE ${s}.tally (queue int NOT NULL, jobs bigint NOT NULL)`,
  `CREATE INDEX tally_queue ON ${s}.tally (queue)`,
  `CREATE SEQUENCE ${s}.process_id AS int`,
  `CREATE TABLE ${s}.process (id int PRIMARY KEY, alive_until timestamptz NOT NULL)`,
  `CREATE UNLOGGED TABLE ${s}.waiting (process int NOT NULL, queue int NOT NULL, workers int NOT NULL,
     PRIMARY KEY (queue, process))`,
  `CREATE SEQUENCE ${s}.burial`,
  `CREATE TABLE ${s}.job (
     id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, priority bigint NOT NULL, due timestamptz,
     put_at timestamptz NOT NULL DEFAULT clock_timestamp(), ttr bigint NOT NULL, burial bigint, failure_at timestamptz,
     queue int NOT NULL, holder int, lease int, deliveries int NOT NULL DEFAULT 0, forgiven int NOT NULL DEFAULT 0,
     lost int NOT NULL DEFAULT 0, buries int NOT NULL DEFAULT 0, state smallint NOT NULL, reason text,
     failure_tag text, failure_message text, body bytea NOT NULL)`,
  `ALTER TABLE ${s}.job ALTER COLUMN body SET STORAGE EXTERNAL`,
  `ALTER TABLE ${s}.job SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
     autovacuum_vacuum_insert_scale_factor = 0.2, autovacuum_analyze_scale_factor = 0.2,
     autovacuum_analyze_threshold = 10000, autovacuum_vacuum_cost_delay = 0)`,
  `CREATE INDEX job_ready ON ${s}.job (queue, priority, id) WHERE state = 0`,
  `CREATE INDEX job_delayed ON ${s}.job (queue, due, id) WHERE state = 1 AND queue IS NOT NULL`,
  `CREATE INDEX job_delay ON ${s}.job (due) WHERE state = 1 AND due IS NOT NULL`,
  `CREATE INDEX job_lease ON ${s}.job (due) WHERE state = 2`,
  `CREATE INDEX job_buried ON ${s}.job (queue, burial) WHERE state = 3`
]]

/** Runs statements of one transaction. */
type Run = (sql: string, parameters?: ReadonlyArray<unknown>) => Effect.Effect<Rows, BrokerError>

const versionOf = Effect.fnUntraced(function*(run: Run, schema: string) {
  // Not by `to_regclass`, which may remember that there was none before somebody else's migration.
  const found = yield* run("SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = 'meta'", [schema])
  if (found.length === 0) return 0
  const [row] = yield* run(`SELECT version FROM "${schema}".meta`)
  return Number(row?.[0] ?? 0)
})

const refuse = (broker: string, schema: string, hint: string) =>
  Effect.fail(brokerError(new Unsupported({ broker, operation: `its work in schema "${schema}"`, hint })))

const migrateFrom = Effect.fnUntraced(function*(run: Run, schema: string, version: number) {
  const s = `"${schema}"`
  if (version === 0) {
    yield* run(`CREATE SCHEMA IF NOT EXISTS ${s}`)
    yield* run(`CREATE TABLE ${s}.meta (one boolean PRIMARY KEY DEFAULT true CHECK (one), version int NOT NULL)`)
    yield* run(`INSERT INTO ${s}.meta (version) VALUES (0)`)
  }
  const missing = migrations(s).slice(version)
  for (const statement of missing.flat()) yield* run(statement)
  yield* run(`UPDATE ${s}.meta SET version = $1`, [version + missing.length])
})

/**
 * Brings a schema up to date, or with `migrate: false` checks that it is. One of a newer version is refused untouched.
 */
export const prepare = (
  broker: string,
  schema: string,
  run: Run,
  migrate: boolean
): Effect.Effect<void, BrokerError> => {
  const known = migrations("").length
  const check = (version: number) => {
    if (version > known) {
      return refuse(broker, schema, `it is of version ${version}, and this backq knows ${known}: update backq`)
    }
    return version < known && !migrate
      ? refuse(broker, schema, `it must be of version ${known}, not ${version}: start a program with migrate on`)
      : Effect.void
  }
  const inTransaction = Effect.gen(function*() {
    yield* run("SET LOCAL lock_timeout = '10s'")
    yield* run("SELECT pg_advisory_xact_lock(hashtextextended('backq.migrate:' || $1, 0))", [schema])
    const version = yield* versionOf(run, schema)
    yield* check(version)
    if (version < known) yield* migrateFrom(run, schema, version)
  })
  return Effect.gen(function*() {
    const version = yield* versionOf(run, schema)
    yield* check(version)
    if (version === known) return
    yield* run("BEGIN")
    yield* Effect.onError(Effect.andThen(inTransaction, run("COMMIT")), () => Effect.ignore(run("ROLLBACK")))
  })
}
