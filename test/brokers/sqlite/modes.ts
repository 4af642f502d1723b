/**
 * A program that publishes by some paths, each followed by where its file is, and prints the modes of each file, its log
 * and its shared memory.
 */
import * as Effect from "effect/Effect"
import { statSync } from "node:fs"
import * as SqliteBroker from "../../../src/brokers/sqlite/SqliteBroker.ts"
import { request } from "./harness.ts"

const [, , ...paths] = process.argv

const publish = (path: string, real: string) =>
  Effect.scoped(Effect.gen(function*() {
    const { broker } = yield* SqliteBroker.make({ path })
    yield* broker.put("q", request("a"))
    console.log(["", "-wal", "-shm"].map((end) => (statSync(`${real}${end}`).mode & 0o777).toString(8)).join(" "))
  }))

for (let i = 0; i < paths.length; i += 2) await Effect.runPromise(publish(paths[i]!, paths[i + 1]!))
