/**
 * A tool for the operators of one service. It shows why jobs were buried. When
 * a reason is fixed, it kicks the jobs with that reason.
 *
 *     npx tsx scripts/examples/operator.ts QUEUE            shows the reasons, with the number of jobs for each
 *     npx tsx scripts/examples/operator.ts QUEUE REASON     kicks the jobs whose reason begins with REASON
 *
 * `backq peek` and `backq kick` do this for whole queues.
 */
import { Console, Effect } from "effect"
// in a project: from "backq", "backq/broker-url" and "backq/main"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { type Broker, Operator } from "../../src/index.ts"
import { Main } from "../../src/main/index.ts"

/** All buried jobs of a queue: page after page, so that a queue of any length fits in memory. */
const buried = Effect.fn("buried")(function*(queue: string) {
  const reasons = new Map<string, Array<Broker.JobId>>()
  let after: string | undefined
  do {
    const page = yield* Operator.look(queue, { state: "buried", limit: 1000, after })
    for (const { id, reason = "no reason was kept" } of page.jobs) {
      reasons.set(reason, [...reasons.get(reason) ?? [], id])
    }
    after = page.next
  } while (after !== undefined)
  return reasons
})

const program = Effect.gen(function*() {
  const [queue, wanted] = process.argv.slice(2)
  if (queue === undefined) {
    yield* Console.error("usage: npx tsx scripts/examples/operator.ts QUEUE [REASON]")
    process.exitCode = 2
    return
  }
  for (const [reason, ids] of yield* buried(queue)) {
    const isWanted = wanted !== undefined && reason.startsWith(wanted)
    if (isWanted) yield* Effect.forEach(ids, Operator.kickJob, { concurrency: 64, discard: true })
    yield* Console.log(`${ids.length} ${isWanted ? "kicked" : "buried"}: ${reason}`)
  }
})

program.pipe(Effect.provide(BrokerUrl.layerConfig()), Main.run)
