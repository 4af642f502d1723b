/** Files that are moved away and back. */
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import { mkdirSync, readdirSync, renameSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { Broker } from "../../../src/Broker.ts"
import { open } from "../../../src/brokers/sqlite/file.ts"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { request } from "./harness.ts"

/** The log messages, one line each. */
export const logs = () => {
  const lines: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => lines.push(`${logLevel} ${String(message)}`))
  return { lines, layer: Logger.layer([logger]) }
}

/** Moves a file with all that lies beside it. */
export const moveAll = (path: string, to: string) => {
  mkdirSync(to, { recursive: true })
  for (const name of readdirSync(dirname(path))) {
    if (name.startsWith(basename(path))) renameSync(join(dirname(path), name), join(to, name))
  }
}

/** Puts a job as another program does, that makes the file where there is none. */
export const putElsewhere = (path: string, body: string) =>
  Effect.scoped(Effect.flatMap(SqliteBroker.make({ path }), ({ broker }) => broker.put("q", request(body))))

/** The bodies of the jobs in a file, in any state. */
export const bodiesIn = (path: string): ReadonlyArray<string> => {
  const database = open(path)
  const rows = database.prepare("SELECT small FROM job").all()
  database.close()
  return rows.map((row) => Buffer.from(row["small"] as Uint8Array).toString())
}

export const waiting = (broker: Broker["Service"]) =>
  Effect.repeat(broker.idleWorkers("q"), { until: (waiting) => waiting === 1 })
