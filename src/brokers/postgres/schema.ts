/**
 * What is in the schema, and how it comes to be.
 *
 * Migrations only go forward and only add, so that programs of two versions
 * can share a schema; their text is never changed. One transaction, which holds
 * an advisory lock, runs all that are missing: of any number of programs that
 * start together one migrates, and the others find it done. The script that an
 * administrator runs is that same transaction. Every name in it is qualified,
 * and it has a search path of its own.
 */
import * as Effect from "effect/Effect"
import { type BrokerError, make as brokerError, optionInvalid, Unsupported } from "../../BrokerError.ts"
import * as Options from "../../internal/options.ts"
import type { Rows } from "./driver.ts"
import { functions } from "./functions.ts"
import * as Grants from "./grants.ts"

/** The schema of programs that name none. */
export const defaultSchema = "backq"

const schemaName = /^[a-z_][a-z0-9_]{0,47}$/

/** The channel of a schema, on which processes tell each other of jobs. */
export const channelOf = (schema: string): string => `backq.${schema}`

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
const first = (s: string): ReadonlyArray<string> => [
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
]

/** Jobs that are done are kept until `keep_until`, where a program asks for that. `seq` is the order of their ends. */
const second = (s: string, channel: string): ReadonlyArray<string> => [
  `CREATE TABLE ${s}.done (
     seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, job bigint NOT NULL, finished_at timestamptz NOT NULL,
     keep_until timestamptz NOT NULL, put_at timestamptz NOT NULL, failure_at timestamptz, priority bigint NOT NULL,
     ttr bigint NOT NULL, queue int NOT NULL, deliveries int NOT NULL, forgiven int NOT NULL, lost int NOT NULL,
     buries int NOT NULL, reason text, failure_tag text, failure_message text, body bytea NOT NULL)`,
  `ALTER TABLE ${s}.done ALTER COLUMN body SET STORAGE EXTERNAL`,
  `CREATE INDEX done_listed ON ${s}.done (queue, seq)`,
  `CREATE INDEX done_over ON ${s}.done (keep_until)`,
  ...functions(s, channel)
]

/** The statements of each version of a schema, from the first on. */
export const migrations = (schema: string): ReadonlyArray<ReadonlyArray<string>> => {
  const s = `"${schema}"`
  return [first(s), second(s, channelOf(schema))]
}

/** The version that this code reads and writes. */
export const currentVersion = migrations(defaultSchema).length

const indented = (statement: string): string => `    ${statement};`

/** Brings a schema to the current version from any other. */
const upgrade = (schema: string): string => {
  const s = `"${schema}"`
  const steps = migrations(schema).map((statements, i) =>
    `  IF found < ${i + 1} THEN\n${statements.map(indented).join("\n")}\n  END IF;`
  )
  return `DO $migrate$
DECLARE
  found int := 0;
BEGIN
  IF EXISTS (SELECT FROM pg_tables WHERE schemaname = '${schema}' AND tablename = 'meta') THEN
    SELECT meta.version INTO found FROM ${s}.meta;
  END IF;
  IF found > ${currentVersion} THEN
    RAISE EXCEPTION 'schema ${schema} is of version %, and this backq knows ${currentVersion}: update backq', found;
  END IF;
  IF found = 0 THEN
    -- CREATE SCHEMA IF NOT EXISTS would ask for a right even where there is one.
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = '${schema}') THEN
      CREATE SCHEMA ${s};
    END IF;
    CREATE TABLE ${s}.meta (one boolean PRIMARY KEY DEFAULT true CHECK (one), version int NOT NULL);
    INSERT INTO ${s}.meta (version) VALUES (0);
  END IF;
${steps.join("\n")}
  UPDATE ${s}.meta SET version = ${currentVersion} WHERE version <> ${currentVersion};
END $migrate$`
}

/** The transaction that brings a schema up to date, and gives roles their rights. Each statement returns no row. */
const transaction = (schema: string, roles: Grants.Roles): ReadonlyArray<string> => [
  // Otherwise a program that waited for the lock would not see the other's migration.
  "BEGIN ISOLATION LEVEL READ COMMITTED",
  "SET LOCAL search_path = pg_catalog",
  "SET LOCAL statement_timeout = 0",
  "SET LOCAL lock_timeout = '60s'",
  `DO $lock$ BEGIN PERFORM pg_advisory_xact_lock(hashtextextended('backq.migrate:${schema}', 0)); END $lock$`,
  "SET LOCAL lock_timeout = '10s'",
  upgrade(schema),
  ...Grants.statements(schema, roles),
  "COMMIT"
]

/** The same as a script that psql runs, whatever the version of the schema is. */
export const script = (schema: string, roles: Grants.Roles): string =>
  `-- Brings the schema ${schema} of backq to version ${currentVersion}. It can be run again.\n${
    transaction(schema, roles).map((statement) => `${statement};\n`).join("")
  }`

/** Runs statements of one session. */
export type Run = (sql: string, parameters?: ReadonlyArray<unknown>) => Effect.Effect<Rows, BrokerError>

const noRoles: Grants.Roles = { workers: [], publishers: [] }

/** The version of a schema; 0 where there is none. */
const versionOf = Effect.fnUntraced(function*(run: Run, schema: string) {
  // Not by `to_regclass`, which may remember that there was none before another program's migration.
  const found = yield* run("SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = $1 AND tablename = 'meta'", [schema])
  if (found.length === 0) return 0
  const [row] = yield* run(`SELECT version FROM "${schema}".meta`)
  return Number(row?.[0] ?? 0)
})

const refuse = (broker: string, schema: string, hint: string) =>
  Effect.fail(brokerError(new Unsupported({ broker, operation: `its work in schema "${schema}"`, hint })))

const refuseNewer = (broker: string, schema: string, version: number) =>
  version > currentVersion
    ? refuse(broker, schema, `it is of version ${version}, and this backq knows ${currentVersion}: update backq`)
    : Effect.void

const stateOf = (version: number): string => version === 0 ? "there is no such schema" : `it is of version ${version}`

/** A role that may use the schema, and may not change it. */
const refuseRole = (broker: string, schema: string, from: number) => (error: BrokerError) =>
  error.reason._tag === "Unsupported" && /permission denied|must be owner/.test(error.reason.hint)
    ? refuse(
      broker,
      schema,
      `${stateOf(from)}, this backq needs version ${currentVersion}, and the role of the URL may not bring it there: ${
        from === 0
          ? "run GRANT CREATE ON DATABASE ... TO it, or backq migrate with a role that may create schemas"
          : "run backq migrate with the role that owns the schema"
      }`
    )
    : Effect.fail(error)

/** The result of a migration. */
export interface Migrated {
  /** Its version before; 0 where there was none. */
  readonly from: number
  readonly to: number
}

/** Brings a schema up to date, and gives roles their rights. One of a newer version is refused untouched. */
export const migrate = Effect.fnUntraced(function*(
  broker: string,
  schema: string,
  run: Run,
  roles: Grants.Roles = noRoles
): Effect.fn.Return<Migrated, BrokerError> {
  const from = yield* versionOf(run, schema)
  yield* refuseNewer(broker, schema, from)
  if (from < currentVersion || roles.workers.length + roles.publishers.length > 0) {
    yield* Effect.forEach(transaction(schema, roles), (statement) => run(statement), { discard: true }).pipe(
      Effect.onError(() => Effect.ignore(run("ROLLBACK"))),
      Effect.catch(refuseRole(broker, schema, from))
    )
  }
  return { from, to: currentVersion }
})

/** Checks that a schema is up to date. */
const check = Effect.fnUntraced(function*(
  broker: string,
  schema: string,
  run: Run
): Effect.fn.Return<void, BrokerError> {
  const version = yield* versionOf(run, schema)
  yield* refuseNewer(broker, schema, version)
  if (version === currentVersion) return
  return yield* refuse(
    broker,
    schema,
    `${stateOf(version)}, and this backq needs version ${currentVersion}: run backq migrate`
  )
})

/** Brings a schema up to date, or only checks that it is. One of a newer version is refused untouched. */
export const prepare = (
  broker: string,
  schema: string,
  run: Run,
  isMigrated: boolean
): Effect.Effect<void, BrokerError> =>
  isMigrated ? Effect.asVoid(migrate(broker, schema, run)) : check(broker, schema, run)
