/** `backq migrate`: brings the schema of PostgreSQL up to date, or prints how. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as BrokerUrl from "../../brokers/url.ts"
import * as Flags from "../flags/flags.ts"
import { print, printJson, withDone } from "../output.ts"
import { interruptible, root, withLogging } from "../root.ts"

const role = (name: string, does: string) =>
  Flag.String(name).pipe(
    Flag.withMetavar("ROLE"),
    Flag.withDescription(`A role that ${does}: it gets its rights. Can be repeated`),
    Flags.repeated
  )

const run = Effect.fnUntraced(function*(roles: Parameters<typeof BrokerUrl.migrate>[1], json: boolean) {
  const { broker } = yield* root
  const migrated = yield* BrokerUrl.migrate(broker, roles)
  const { from, schema, to } = migrated
  const was = from === 0 ? "was missing" : from === to ? "was already" : `was at ${from}`
  const line = `schema ${schema} is at version ${to}; it ${was}`
  yield* withDone(line, json ? printJson(migrated) : print(line))
})

const show = Effect.fnUntraced(function*(roles: Parameters<typeof BrokerUrl.migrate>[1], json: boolean) {
  const { broker } = yield* root
  const sql = yield* BrokerUrl.migrationScript(broker, roles)
  yield* json ? printJson({ sql }) : print(...sql.trimEnd().split("\n"))
})

/** `backq migrate`. */
export const migrate = Command.make("migrate", {
  print: Flag.Boolean("print").pipe(
    Flag.withDescription("Print the SQL instead of running it"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  ),
  worker: role("worker", "publishes, works and operates"),
  publisher: role("publisher", "only publishes"),
  json: Flags.json
}, ({ json, print: isPrinted, publisher, worker }) => {
  const roles = { workers: worker, publishers: publisher }
  return interruptible(withLogging(isPrinted ? show(roles, json) : run(roles, json)))
}).pipe(
  Command.withDescription(
    "Create the schema of a broker in PostgreSQL or bring it up to date, and give roles their rights in it. Every " +
      "program does the first by itself, unless migrate=false is in its URL"
  ),
  Command.withShortDescription("Bring the schema of PostgreSQL up to date"),
  Command.withExamples([
    { command: "backq migrate --broker postgres://owner@db/app --worker app" },
    { command: "backq migrate --broker postgres://db/app --print", description: "The SQL, for an administrator" }
  ])
)
