/** The brokers that an operator's commands are tested on: a real beanstalkd, a file, and a real PostgreSQL. */
import { afterAll, beforeAll, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { join } from "node:path"
import type { Broker } from "../../src/Broker.ts"
import * as BrokerUrl from "../../src/brokers/url.ts"
import type { Inspector } from "../../src/Inspector.ts"
import * as Servers from "../support/beanstalkd.ts"
import { folder } from "../support/folder.ts"
import * as Postgres from "../support/postgres.ts"
import { run } from "./command.ts"

/** A broker, and the command on it. */
export interface Target {
  readonly url: string
  readonly layer: Layer.Layer<Broker | Inspector, unknown>
  /** Runs a command on the broker. */
  readonly backq: (...args: ReadonlyArray<string>) => ReturnType<typeof run>
}

const target = (url: string): Target => ({
  url,
  layer: BrokerUrl.layer(url),
  backq: (...args) => run([...args, "--broker", url])
})

const targets = {
  beanstalkd: Effect.map(Servers.beanstalkd(), ({ port }) => target(`beanstalk://127.0.0.1:${port}`)),
  sqlite: Effect.map(folder, (path) => target(`sqlite:${join(path, "queue.db")}`))
}

/** Each test gets a schema of its own, on one server. */
const registerPostgres = (register: (of: Fresh, kind: Kind) => void): void => {
  const scope = Scope.makeUnsafe()
  let url = ""
  let schemas = 0
  beforeAll(async () => {
    url = (await Effect.runPromise(Scope.provide(Postgres.cluster(), scope))).url
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  register(Effect.sync(() => target(`${url}?schema=cli_${++schemas}`)), "postgres")
}

type Kind = keyof typeof targets | "postgres"

/** A new broker for a test. */
type Fresh = Effect.Effect<Target, never, Scope.Scope>

/** Registers tests for each of the brokers. */
export const onEach = (
  name: string,
  register: (of: Fresh, kind: Kind) => void
): void => {
  describe.skipIf(Servers.isMissing).concurrent(
    `${name} on beanstalkd`,
    () => register(targets.beanstalkd, "beanstalkd")
  )
  describe.concurrent(`${name} on sqlite`, () => register(targets.sqlite, "sqlite"))
  describe.skipIf(Postgres.isMissing).concurrent(`${name} on postgres`, () => registerPostgres(register))
}
