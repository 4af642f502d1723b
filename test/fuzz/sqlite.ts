/**
 * Files from elsewhere: a small real one with bits flipped, cut off, with a
 * changed schema, or with rows that no backq writes. Every command of the broker
 * is tried on each.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { type Broker, type JobId, putRequest } from "../../src/Broker.ts"
import type { BrokerError } from "../../src/BrokerError.ts"
import * as SqliteBroker from "../../src/brokers/sqlite/SqliteBroker.ts"
import type { Services } from "../../src/Inspector.ts"
import * as Fuzz from "../support/fuzz.ts"
import * as Hostile from "../support/hostile.ts"
import type { Random } from "../support/Random.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "backq-fuzz-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

const request = (text: string, delay: Duration.Input = 0) =>
  Result.getOrThrow(putRequest(Hostile.bytesOf(text), { delay }))

/** Jobs of every state, small and large, in two queues. */
const fill = (path: string) =>
  Effect.gen(function*() {
    const { broker, inspector } = yield* SqliteBroker.make({ path, history: "1 day" })
    for (const queue of ["q", "other"]) {
      for (let i = 0; i < 5; i++) {
        yield* broker.put(queue, request(`job ${i}`))
        yield* broker.put(queue, request(`delayed ${i}`, "1 hour"))
        yield* broker.put(queue, request("x".repeat(5000)))
      }
      const consumer = yield* broker.consume([queue])
      const [done, buried, released] = yield* consumer.reserve(3)
      yield* consumer.settle([
        { _tag: "Delete", lease: done },
        { _tag: "Bury", lease: buried!, reason: "broken", failure: { tag: "Oops", message: "it broke" } },
        { _tag: "Release", lease: released!, delay: Duration.zero, reason: "again" }
      ])
    }
    yield* inspector.pause("paused", Duration.hours(1))
  }).pipe(Effect.scoped)

const real = await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
  const path = join(yield* folder, "queue.db")
  yield* fill(path)
  return new Uint8Array(readFileSync(path))
})))

/** The real file, changed by statements. */
const changed = (file: Uint8Array, ...statements: ReadonlyArray<string>): Uint8Array => {
  const database = new DatabaseSync(":memory:", { defensive: false })
  // SQLite has no log for a database in memory, and refuses a file with one
  const plain = file.slice()
  plain.fill(1, 18, 20)
  database.deserialize(plain)
  for (const statement of statements) database.exec(statement)
  const bytes = database.serialize()
  database.close()
  return bytes
}

const editSchema = (set: string, where = "1") =>
  `PRAGMA writable_schema = ON; UPDATE sqlite_schema SET ${set} WHERE ${where}; PRAGMA writable_schema = RESET`

const columns: ReadonlyArray<readonly [table: string, column: string]> = ([
  [
    "job",
    "queue state priority due burial holder put_at ttr deliveries forgiven lost buries reason failure_tag failure_message failure_at small"
  ],
  ["queue", "name total paused_until"],
  ["process", "pid started world"],
  ["large", "body"],
  ["done", "job queue finished_at keep_until priority put_at ttr deliveries reason failure_tag failure_at body"]
] as const).flatMap(([table, names]) => names.split(" ").map((column) => [table, column] as const))

const values: ReadonlyArray<string> = [
  ["NULL", "'text'", "''", "x'00ff'", "zeroblob(100000)", "0", "1", "-1", "1.5", "1e999", "-1e999", "5e-324"],
  ["9007199254740991", "9007199254740993", "9223372036854775807", "-9223372036854775808", "4294967296"],
  ["'../../etc'", "char(27) || '[31m'", "char(0x202e)", "replace(hex(zeroblob(5000)), '00', 'é')"]
].flat()

const schemaOf = new Map(
  (() => {
    const database = new DatabaseSync(":memory:")
    const plain = real.slice()
    plain.fill(1, 18, 20)
    database.deserialize(plain)
    const rows = database.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'table'").all()
    database.close()
    return rows.map((row) => [String(row["name"]), String(row["sql"])] as const)
  })()
)

/** Rows with values that SQLite would not write there. */
const withRows = (random: Random): Uint8Array => {
  const edits = Array.from({ length: 1 + random.below(3) }, () => random.pick(columns))
  const loose = changed(
    real,
    editSchema(
      "sql = replace(replace(replace(sql, ' STRICT', ''), 'WITHOUT ROWID', ''), ' NOT NULL', '')",
      "type = 'table' AND name IN ('job', 'queue', 'process', 'large', 'done')"
    )
  )
  const edited = changed(
    loose,
    ...edits.map(([table, column]) =>
      `UPDATE OR IGNORE ${table} SET ${column} = ${random.pick(values)}${
        random.chance(0.5) ? "" : " WHERE rowid % 2 = 0"
      }`
    )
  )
  return changed(
    edited,
    ...[...schemaOf].map(([name, sql]) => editSchema(`sql = '${sql.replaceAll("'", "''")}'`, `name = '${name}'`))
  )
}

const schemas: ReadonlyArray<string> = [
  "CREATE TRIGGER t AFTER INSERT ON job BEGIN DELETE FROM job; END",
  "CREATE TRIGGER t AFTER UPDATE ON job BEGIN UPDATE job SET lost = lost + 1; END",
  "CREATE VIEW v AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
  "DROP TABLE process; CREATE VIEW process AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id, 1 AS pid, '' AS started, '' AS world FROM n",
  "CREATE TABLE mine (a)",
  "CREATE INDEX mine ON job (ttr)",
  "DROP INDEX job_ready",
  "DROP TABLE large",
  "ALTER TABLE job ADD COLUMN mine BLOB AS (zeroblob(1000))",
  "ALTER TABLE queue ADD COLUMN mine INTEGER",
  "CREATE VIRTUAL TABLE mine USING fts4(a)",
  "PRAGMA user_version = 1",
  "PRAGMA user_version = 0",
  "PRAGMA user_version = -3",
  "PRAGMA user_version = 99",
  "PRAGMA user_version = 2147483647",
  "PRAGMA application_id = 0",
  "PRAGMA application_id = 7",
  "ANALYZE",
  editSchema("rootpage = 2"),
  editSchema("rootpage = 999999"),
  editSchema("sql = 'x'", "name = 'job'"),
  editSchema("sql = NULL", "type = 'table'"),
  editSchema("type = 'trigger'", "name = 'job_ready'"),
  editSchema("name = char(27) || '[2J'", "name = 'large'"),
  editSchema("tbl_name = 'queue'", "name = 'job_ready'"),
  editSchema("sql = replace(sql, 'state = 0', 'randomblob(9) <> state')", "name = 'job_ready'")
]

const damagedBits = (random: Random): Uint8Array => {
  const file = real.slice()
  const flips = random.pick([1, 1, 2, 8, 64, 500])
  for (let i = 0; i < flips; i++) {
    file[random.chance(0.3) ? random.below(200) : random.below(file.length)]! ^= 1 << random.below(8)
  }
  return file
}

const pageSize = 4096

/** A page in the place of another. */
const shuffled = (random: Random): Uint8Array => {
  const file = real.slice()
  const page = () => random.below(file.length / pageSize) * pageSize
  const from = page()
  file.copyWithin(page(), from, from + pageSize)
  return file
}

/** Fails with an error of the broker; all else is a defect. */
type Command = (services: Services) => Effect.Effect<unknown, BrokerError>

const ids = ["1", "2", "3", "7", "12", "13", "31", "999"].map((id) => id as JobId)

const commands: ReadonlyArray<Command> = [
  ({ broker }) => broker.ping,
  ({ inspector }) => inspector.stats,
  ({ inspector }) => inspector.queues,
  ({ broker }) => broker.put("q", request("more")),
  ({ broker }) => broker.put("new", request("x".repeat(5000), "10 millis")),
  ({ broker }) =>
    Effect.map(broker.putAll("q", [request("a"), request("b")]), (results) => results.map(Result.getOrUndefined)),
  ...["q", "other", "none"].flatMap((queue): ReadonlyArray<Command> => [
    ({ inspector }) => inspector.statsQueue(queue),
    ({ broker }) => broker.idleWorkers(queue),
    ...(["ready", "delayed", "buried"] as const).map((state): Command => ({ inspector }) =>
      inspector.peekNext(queue, state)
    ),
    ...(["ready", "delayed", "reserved", "buried", "done"] as const).map((state): Command => ({ inspector }) =>
      Effect.flatMap(
        inspector.list(queue, { state, limit: 3 }),
        ({ next }) => next === undefined ? Effect.void : inspector.list(queue, { state, after: next })
      )
    )
  ]),
  ...ids.flatMap((
    id
  ): ReadonlyArray<Command> => [({ inspector }) => inspector.statsJob(id), ({ inspector }) => inspector.peek(id)]),
  ({ inspector }) => inspector.kickJob(ids[1]!),
  ({ inspector }) => inspector.buryJob(ids[2]!, "aside"),
  ({ inspector }) => inspector.moveJob(ids[3]!, "other"),
  ({ inspector }) => inspector.delete(ids[4]!),
  ({ inspector }) => inspector.pause("q", Duration.minutes(1)),
  ({ inspector }) => inspector.resume("q"),
  ({ inspector }) => inspector.kick("q", 3),
  ({ inspector }) => inspector.kick("other", 1000)
]

/** Takes what there is, and settles it in every way. */
const work = (broker: Broker["Service"], queues: readonly [string, ...Array<string>]) =>
  Effect.gen(function*() {
    const consumer = yield* broker.consume(queues)
    const leases = yield* Effect.orElseSucceed(
      Effect.timeoutOrElse(consumer.reserve(8), {
        duration: "20 millis",
        orElse: () => Effect.succeed([])
      }),
      () => []
    )
    yield* consumer.touch(leases)
    yield* consumer.inspect(leases)
    yield* consumer.settle(leases.map((lease, i) => {
      switch (i % 4) {
        case 0:
          return { _tag: "Delete", lease }
        case 1:
          return { _tag: "Bury", lease, reason: "broken" }
        case 2:
          return { _tag: "Release", lease, delay: Duration.zero, reason: "again" }
        default:
          return { _tag: "Requeue", lease }
      }
    }))
  }).pipe(Effect.scoped)

/** Opens a file, and tries everything. The failure of a command is the file's as good as its success. */
const use = (file: Uint8Array) =>
  Effect.gen(function*() {
    const path = join(yield* folder, "queue.db")
    writeFileSync(path, file)
    const services = yield* SqliteBroker.make({ path, durability: "normal", history: "1 hour" })
    const failures: Array<BrokerError> = []
    const attempt = <A>(effect: Effect.Effect<A, BrokerError>) =>
      Effect.catch(effect, (error) => Effect.sync(() => failures.push(error)))
    for (const command of commands) yield* attempt(command(services))
    yield* attempt(work(services.broker, ["q"]))
    yield* attempt(work(services.broker, ["q", "other"]))
    for (const { message } of failures) Fuzz.checkWords(message)
  }).pipe(Effect.scoped)

const rows = (count: number, values: string): Uint8Array =>
  changed(
    real,
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count}) ${values}`
  )

export const target = Fuzz.make({
  name: "sqlite",
  about: "damaged files, and files of other programs",
  rounds: 250,
  make: (random) =>
    random.pick([
      () => damagedBits(random),
      () => real.slice(0, random.chance(0.3) ? random.below(200) : random.below(real.length)),
      () => shuffled(random),
      () => changed(real, random.pick(schemas)),
      () => withRows(random),
      () => withRows(random)
    ])(),
  feed: use,
  largest: 1 << 16,
  patienceMillis: 20_000,
  grow: [
    (size) => changed(real, ...Array.from({ length: size / 64 }, (_, i) => `CREATE VIEW v${i} AS SELECT ${i}`)),
    (size) => changed(real, `UPDATE job SET reason = replace(hex(zeroblob(${size})), '00', 'é')`),
    (size) => changed(real, `UPDATE large SET body = zeroblob(${size})`),
    (size) => rows(size / 8, "INSERT INTO process (pid) SELECT i FROM n"),
    (size) => rows(size / 64, "INSERT INTO queue (name) SELECT 'q' || i FROM n"),
    (size) =>
      rows(size / 8, "INSERT INTO job (queue, state, priority, put_at, ttr, small) SELECT 1, 0, 1, 1, 1, x'00' FROM n"),
    (size) =>
      rows(
        size / 8,
        "INSERT INTO job (queue, state, due, holder, deliveries, priority, put_at, ttr, small) SELECT 1, 2, 1, 77, 1, 1, 1, 1, x'00' FROM n"
      )
  ]
})
