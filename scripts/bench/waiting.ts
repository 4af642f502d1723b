/**
 * What many waiting jobs cost in a file: the same work on a queue that is
 * almost empty and on one with a million jobs, in turn, and what counting takes.
 *
 *     npm run bench -- waiting [--waiting 1000000] [--rounds 20] [--durability full]
 *
 * CPU time is that of this process, all threads. Elapsed time includes the
 * disk, whose speed varies: read the ratios, and those of CPU time first.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Broker from "../../src/Broker.ts"
import * as SqliteBroker from "../../src/brokers/sqlite/SqliteBroker.ts"
import { record, times } from "./record.ts"

const { values } = parseArgs({
  options: {
    waiting: { type: "string", default: "1000000" },
    rounds: { type: "string", default: "20" },
    durability: { type: "string", default: "full" }
  }
})
const rounds = Number(values.rounds)
const durability = values.durability === "normal" ? "normal" : "full"
const window = 500
const batch = 64
/** A step takes at most the jobs that exist. */
const floor = 32 * batch
const waiting = Math.max(floor, Number(values.waiting))

const folder = mkdtempSync(join(tmpdir(), "backq-waiting-"))
const request = Result.getOrThrow(Broker.putRequest(new Uint8Array(170).fill(120)))
const requests = (count: number) => Array.from({ length: count }, () => request)

const mib = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(0)} MiB`
const memory = () => {
  globalThis.gc?.()
  const { heapUsed, rss } = process.memoryUsage()
  return `heap ${mib(heapUsed)}, resident ${mib(rss)}`
}

/** A queue of its own file, with the work that is measured: each step does `jobs` jobs and leaves as many as before. */
const queue = Effect.fnUntraced(function*(name: string) {
  const path = join(folder, `${name}.db`)
  const { broker, inspector } = yield* SqliteBroker.make({ path, durability })
  const consumer = yield* broker.consume(["q"])
  const put = (count: number) =>
    Effect.map(broker.putAll("q", requests(count)), (results) => void results.forEach(Result.getOrThrow))
  const work = Effect.fnUntraced(function*(count: number, size: number) {
    for (let left = count; left > 0;) {
      const leases = yield* consumer.reserve(Math.min(size, left))
      const results = yield* consumer.settle(leases.map((lease) => ({ _tag: "Delete" as const, lease })))
      results.forEach(Result.getOrThrow)
      left -= leases.length
    }
  })
  return { path, broker, inspector, put, work }
})

type Queue = Effect.Success<ReturnType<typeof queue>>

const steps: ReadonlyArray<{
  readonly title: string
  readonly jobs: number
  readonly step: (queue: Queue) => Effect.Effect<unknown, unknown>
  readonly undo?: (queue: Queue) => Effect.Effect<unknown, unknown>
}> = [
  {
    title: "put, one at a time",
    jobs: 50,
    step: ({ broker }) => Effect.repeat(broker.put("q", request), { times: 49 }),
    undo: ({ work }) => work(50, batch)
  },
  {
    title: `put, ${window} at once`,
    jobs: 8 * window,
    step: ({ put }) => Effect.repeat(put(window), { times: 7 }),
    undo: ({ work }) => work(8 * window, window)
  },
  {
    title: `reserve and settle, ${batch} at once`,
    jobs: 32 * batch,
    step: ({ work }) => work(32 * batch, batch),
    undo: ({ put }) => put(32 * batch)
  },
  { title: "count a queue (statsQueue)", jobs: 1, step: ({ inspector }) => inspector.statsQueue("q") },
  { title: "count all (stats)", jobs: 1, step: ({ inspector }) => inspector.stats }
]

const median = (numbers: ReadonlyArray<number>) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!

const program = Effect.gen(function*() {
  const few = yield* queue("few")
  const many = yield* queue("many")
  yield* few.put(floor)
  console.log(`memory before ${waiting} jobs: ${memory()}`)
  for (let left = waiting; left > 0; left -= window) yield* many.put(Math.min(window, left))
  console.log(`memory after: ${memory()}; file: ${mib(statSync(many.path).size)}`)
  console.log(`\n${"us per job".padEnd(34)}  almost empty          ${waiting} waiting       ratio`)
  const rows: Array<[string, ...Array<string>]> = []
  for (const { jobs, step, title, undo } of steps) {
    const row: [string, ...Array<string>] = [title]
    rows.push(row)
    const taken = { few: { cpu: [], wall: [] }, many: { cpu: [], wall: [] } } as Record<
      "few" | "many",
      { cpu: Array<number>; wall: Array<number> }
    >
    for (let round = 0; round <= rounds; round++) {
      for (const [name, of] of [["few", few], ["many", many]] as const) {
        const [cpu, wall] = [process.cpuUsage(), performance.now()]
        yield* step(of)
        const { system, user } = process.cpuUsage(cpu)
        // The first round warms up.
        if (round > 0) {
          taken[name].cpu.push((system + user) / jobs)
          taken[name].wall.push((performance.now() - wall) * 1000 / jobs)
        }
        if (undo !== undefined) yield* undo(of)
      }
    }
    for (const kind of ["cpu", "wall"] as const) {
      const [a, b] = [median(taken.few[kind]), median(taken.many[kind])]
      row.push(times(b, a))
      console.log(
        `${`${title}, ${kind === "cpu" ? "CPU" : "elapsed"}`.padEnd(42)} ${a.toFixed(1).padStart(10)} ${
          b.toFixed(1).padStart(18)
        } ${(b / a).toFixed(2).padStart(14)} x`
      )
    }
  }
  record({
    title: `${waiting} jobs waiting, to an almost empty file (${durability})`,
    columns: ["CPU", "elapsed"],
    rows
  })
  console.log(`\nmemory at the end: ${memory()}`)
})

try {
  await Effect.runPromise(Effect.scoped(program))
} finally {
  rmSync(folder, { recursive: true, force: true })
}
