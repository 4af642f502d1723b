/** The statements of docs/postgres.md that move waiting jobs from other libraries, on the columns that their tables have. */
import { assert, describe } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as PostgresBroker from "../../src/brokers/postgres/PostgresBroker.ts"
import * as Envelope from "../../src/Envelope.ts"
import { allow, withServers } from "../support/limits.ts"
import { cluster, isMissing, real } from "../support/postgres.ts"

allow(withServers)

const page = readFileSync(join(import.meta.dirname, "..", "..", "docs", "postgres.md"), "utf8")

const [fromBoss, fromGraphile] = Array.from(page.matchAll(/```sql\n([^]*?)```/g), ([, sql]) => sql!)
  .filter((sql) => sql.includes("WITH moved"))

// As pg-boss 12.38 and graphile-worker 0.18 make them.
const boss = `CREATE SCHEMA pgboss;
  CREATE TYPE pgboss.job_state AS ENUM ('created', 'retry', 'active', 'completed', 'cancelled', 'failed');
  CREATE TABLE pgboss.job (id uuid NOT NULL DEFAULT gen_random_uuid(), name text NOT NULL, priority int NOT NULL DEFAULT 0,
    data jsonb, state pgboss.job_state NOT NULL DEFAULT 'created', start_after timestamptz NOT NULL DEFAULT now(),
    created_on timestamptz NOT NULL DEFAULT now());
  INSERT INTO pgboss.job (name, data, state, priority, start_after, created_on) VALUES
    ('send-welcome', '{"n":2}', 'created', 0, now(), '2026-01-02'), ('send-welcome', '{"n":1}', 'retry', 0, now(), '2026-01-01'),
    ('send-welcome', '{"n":3}', 'created', 5, now() + interval '1 hour', now()),
    ('send-welcome', '{"n":4}', 'active', 0, now(), now()), ('other', '{"n":5}', 'created', 0, now(), now())`

const graphile = `CREATE SCHEMA graphile_worker;
  CREATE TABLE graphile_worker._private_tasks (id int PRIMARY KEY, identifier text NOT NULL);
  CREATE TABLE graphile_worker._private_jobs (id bigint PRIMARY KEY, task_id int NOT NULL, payload json NOT NULL DEFAULT '{}',
    priority smallint NOT NULL DEFAULT 0, run_at timestamptz NOT NULL DEFAULT now(), attempts smallint NOT NULL DEFAULT 0,
    max_attempts smallint NOT NULL DEFAULT 25, locked_at timestamptz,
    is_available boolean NOT NULL GENERATED ALWAYS AS (locked_at IS NULL AND attempts < max_attempts) STORED);
  INSERT INTO graphile_worker._private_tasks VALUES (1, 'send-welcome'), (2, 'other');
  INSERT INTO graphile_worker._private_jobs (id, task_id, payload, priority, run_at, attempts, locked_at) VALUES
    (7, 1, '{"n":2}', 0, now(), 0, NULL), (6, 1, '{"n":1}', 0, now(), 3, NULL),
    (8, 1, '{"n":3}', -5, now() + interval '1 hour', 0, NULL), (9, 1, '{"n":4}', 0, now(), 1, now()),
    (10, 1, '{"n":6}', 0, now(), 25, NULL), (11, 2, '{"n":5}', 0, now(), 0, NULL)`

describe.skipIf(isMissing)("moving from", () => {
  for (
    const [library, tables, statement, left] of [
      ["pg-boss", boss, fromBoss!, "SELECT data->>'n' FROM pgboss.job ORDER BY 1"],
      ["graphile-worker", graphile, fromGraphile!, "SELECT payload->>'n' FROM graphile_worker._private_jobs ORDER BY 1"]
    ] as const
  ) {
    real(`${library}: what waits is on the queue, and what a worker has stays`, () =>
      Effect.gen(function*() {
        const { psql, url } = yield* cluster()
        const { inspector } = yield* PostgresBroker.make({ url })
        yield* psql(tables)
        yield* psql(statement)
        assert.strictEqual(yield* psql(statement), "", "a second time there is nothing to move")
        const jobs = Effect.fnUntraced(function*(state: "ready" | "delayed") {
          const { jobs } = yield* inspector.list("send-welcome", { state })
          return yield* Effect.forEach(jobs, ({ body, priority, timeLeft }) =>
            Effect.map(Effect.fromResult(Envelope.decode(body)), ({ id, job, payload }) => ({
              id,
              job,
              payload,
              priority,
              minutes: Math.ceil(Duration.toMinutes(timeLeft))
            })))
        })
        const ready = yield* jobs("ready")
        assert.deepStrictEqual(
          ready.map(({ payload }) =>
            payload
          ),
          [{ n: 1 }, { n: 2 }]
        )
        assert.include(ready[0]!, { job: "send-welcome", priority: 1024, minutes: 0 })
        assert.match(ready[0]!.id, library === "pg-boss" ? /^[0-9a-f-]{36}$/ : /^graphile-6$/)
        assert.deepInclude((yield* jobs("delayed"))[0]!, { payload: { n: 3 }, priority: 1019, minutes: 60 })
        assert.strictEqual(yield* psql(left), library === "pg-boss" ? "4\n5" : "4\n5\n6")
      }))
  }
})
