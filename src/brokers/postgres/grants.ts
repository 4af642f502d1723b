/**
 * What a role may do in a schema. Pure.
 *
 * A worker changes rows, and can't change the schema. A publisher adds jobs: it
 * can't read their bodies, reserve, settle or delete them.
 */

import * as Effect from "effect/Effect"
import { type BrokerError, optionInvalid } from "../../BrokerError.ts"
import * as Options from "../../internal/options.ts"

/** Whom to give rights, by what they do. */
export interface Roles {
  readonly workers: ReadonlyArray<string>
  readonly publishers: ReadonlyArray<string>
}

/** PostgreSQL truncates a longer name, and would grant the rights to another role. */
const maxRoleBytes = 63

const isRole = (name: unknown): name is string =>
  typeof name === "string" && name !== "" && !name.includes("\0") && Buffer.byteLength(name) <= maxRoleBytes

/** Checks the names of roles. */
export const check = (
  { publishers = [], workers = [] }: { readonly [Field in keyof Roles]?: Roles[Field] | undefined }
): Effect.Effect<Roles, BrokerError> => {
  const wrong = [...workers, ...publishers].find((name) => !isRole(name))
  return wrong === undefined
    ? Effect.succeed({ workers, publishers })
    : Effect.fail(optionInvalid("role", Options.mustBe(`a name of 1 to ${maxRoleBytes} bytes`, wrong)))
}

const quoted = (name: string): string => `"${name.replaceAll("\"", "\"\"")}"`

const ofWorker = (s: string, role: string): ReadonlyArray<string> => [
  `GRANT USAGE ON SCHEMA ${s} TO ${role}`,
  `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${s} TO ${role}`,
  `REVOKE INSERT, UPDATE, DELETE ON ${s}.meta FROM ${role}`,
  `GRANT USAGE ON ALL SEQUENCES IN SCHEMA ${s} TO ${role}`,
  `GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA ${s} TO ${role}`
]

const ofPublisher = (s: string, role: string): ReadonlyArray<string> => [
  `GRANT USAGE ON SCHEMA ${s} TO ${role}`,
  `GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA ${s} TO ${role}`,
  `GRANT SELECT ON ${s}.meta, ${s}.process, ${s}.waiting TO ${role}`,
  `GRANT SELECT, INSERT, DELETE ON ${s}.tally TO ${role}`,
  `GRANT SELECT (id, name), INSERT (name) ON ${s}.queue TO ${role}`,
  `GRANT SELECT (id), INSERT ON ${s}.job TO ${role}`
]

/** The owner of the schema may be named as a worker, and must keep its rights: it migrates. */
const keepOwner = (schema: string): string =>
  `DO $owner$ BEGIN
  EXECUTE (SELECT format('GRANT ALL ON %I.meta TO %I', schemaname, tableowner)
    FROM pg_tables WHERE schemaname = '${schema}' AND tablename = 'meta');
END $owner$`

/** The statements that give roles their rights in a schema. */
export const statements = (schema: string, { publishers, workers }: Roles): ReadonlyArray<string> => {
  const s = `"${schema}"`
  return [
    ...workers.flatMap((role) => ofWorker(s, quoted(role))),
    ...(workers.length === 0 ? [] : [keepOwner(schema)]),
    ...publishers.flatMap((role) => ofPublisher(s, quoted(role)))
  ]
}

// PostgreSQL's messages, in its default language.
const denied = /^permission denied for (schema|table|sequence|function|database) (\S+)$/

/** What to do about a right that is missing, by what the server says of it. */
export const advice = (schema: string, detail: string): string => {
  const s = `"${schema}"`
  const all = "backq migrate --print --worker ROLE (or --publisher ROLE) prints all that a program needs"
  const [, kind, name] = denied.exec(detail) ?? []
  switch (kind) {
    case "schema":
      return `run GRANT USAGE ON SCHEMA ${s} TO ROLE; ${all}`
    case "table":
      return `run GRANT ${
        name === "meta" ? "SELECT" : "SELECT, INSERT, UPDATE, DELETE"
      } ON ${s}.${name} TO ROLE; ${all}`
    case "sequence":
      return `run GRANT USAGE ON SEQUENCE ${s}.${name} TO ROLE; ${all}`
    case "function":
      return `run GRANT EXECUTE ON FUNCTION ${s}.${name} TO ROLE; ${all}`
    case "database":
      return `run GRANT CREATE ON DATABASE ${name} TO ROLE, or run backq migrate as another role`
    default:
      return all
  }
}
