/**
 * What backq does, in a few seconds and without a server: a publisher and a
 * worker in one program, over the queue in a file.
 *
 *     npm start
 *
 * The file is `./backq.db`; `BACKQ_BROKER=beanstalk://127.0.0.1:11300 npm start`
 * runs the same over beanstalkd.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Broker } from "../src/Broker.ts"
import * as BrokerUrl from "../src/BrokerUrl.ts"
import { Job, type Outcome, Publisher, Worker } from "../src/index.ts"
import { OutputTail, Process, ProcessJob, ProcessPayload } from "../src/process/index.ts"
import * as Board from "./demo/Board.ts"

const Demo = Job.make("process", {
  queue: "demo",
  payload: ProcessPayload.ProcessPayload,
  retry: Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 3 }))
})

/** Runs a shell line that counts its attempts in `$attempt`. */
const attempts = (folder: string, line: string): ProcessPayload.ProcessPayload => ({
  command: ["sh", "-c", `echo . >> "$0"; attempt=$(wc -l < "$0"); ${line}`, join(folder, "attempts")]
})

interface Planned {
  readonly title: string
  readonly payload: ProcessPayload.ProcessPayload
  readonly delay?: Duration.Input
}

const plan = (folder: string): ReadonlyArray<Planned> => [
  { title: "a process that succeeds", payload: { command: ["uname", "-sr"] } },
  { title: "one that takes its time", payload: { command: ["sh", "-c", "sleep 2; echo 2 seconds later"] } },
  {
    title: "one that fails twice",
    payload: attempts(folder, `[ $attempt -ge 3 ] && echo "attempt $attempt: connected" || exit 7`)
  },
  { title: "one that always fails", payload: { command: ["ls", "/no/such/folder"] } },
  { title: "one that can't be started", payload: { command: ["no-such-program"] } },
  { title: "one that was delayed", payload: { command: ["date", "+%T"] }, delay: "3 seconds" }
]

const lastLine = (output: OutputTail.Output): string => OutputTail.toText(output).trim().split("\n").at(-1) ?? ""

const isResult = (result: unknown): result is Process.Exited =>
  typeof result === "object" && result !== null && "stdout" in result

/** What the board says of an outcome. */
const rowOf = (outcome: Outcome.Outcome): Partial<Board.Row> => {
  switch (outcome._tag) {
    case "Done":
      return { state: "done", note: isResult(outcome.result) ? lastLine(outcome.result.stdout) : "" }
    case "Retried":
      return { state: "retry", note: `again in ${Duration.format(outcome.delay)}: ${outcome.reason}` }
    case "Buried":
      return { state: "buried", note: outcome.reason }
    default:
      return { state: "waiting", note: outcome._tag }
  }
}

/** Deletes what an earlier run has left. */
const clear = Effect.gen(function*() {
  const broker = yield* Broker
  for (const state of ["ready", "delayed", "buried"] as const) {
    for (let next = yield* broker.peekNext(Demo.queue, state); Option.isSome(next);) {
      yield* broker.delete(next.value.id)
      next = yield* broker.peekNext(Demo.queue, state)
    }
  }
})

const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "backq-demo-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
)

const terminal = {
  isTTY: process.stdout.isTTY,
  columns: process.stdout.columns || 80,
  write: (text: string) => process.stdout.write(text)
}

const run = Effect.gen(function*() {
  const planned = plan(yield* temporaryFolder)
  const board = yield* Board.make(terminal)
  const allEnded = yield* Deferred.make<void>()

  for (const { delay, payload, title } of planned) {
    yield* board.set(title, { title, state: "waiting", note: delay === undefined ? "" : `ready in ${delay}` })
    yield* Publisher.publish(Demo, payload, { id: title, delay })
  }

  const handler = ProcessJob.handler({ job: Demo })
  const shown = Worker.handler(Demo, (payload, delivery) =>
    Effect.andThen(
      board.set(delivery.id, { state: "running", note: "" }),
      handler.run(payload, delivery)
    ))

  yield* Worker.stream({ concurrency: 4, stop: Deferred.await(allEnded) }, shown).pipe(
    Stream.runForEach((outcome) =>
      Effect.andThen(
        board.set(outcome.id ?? outcome.jobId, rowOf(outcome)),
        Effect.suspend(() =>
          board.rows().every(({ state }) => state === "done" || state === "buried")
            ? Deferred.succeed(allEnded, undefined)
            : Effect.void
        )
      )
    )
  )
  return board.rows()
})

const demo = Effect.gen(function*() {
  const broker = yield* Broker
  yield* clear
  yield* Console.log(`Queue "${Demo.queue}" on ${broker.name}\n`)
  const start = yield* Clock.currentTimeMillis
  const rows = yield* Effect.scoped(run)
  const count = (state: Board.Row["state"]) => rows.filter((row) => row.state === state).length
  const seconds = (((yield* Clock.currentTimeMillis) - start) / 1000).toFixed(1)
  yield* Console.log(
    `\n${rows.length} jobs in ${seconds} s: ${count("done")} done, ${
      count("buried")
    } buried with their reason, none lost.

The buried ones wait in the queue until somebody decides. Look at them, and give them another chance:
  npm run -s backq -- peek ${Demo.queue} --state buried
  npm run -s backq -- kick ${Demo.queue}
  npm run -s backq -- work process --queue ${Demo.queue} --idle-timeout 3s`
  )
})

// The board shows what the worker would log.
const services = Layer.mergeAll(Publisher.layer, Process.ProcessRunner.layer, Logger.layer([])).pipe(
  Layer.provideMerge(BrokerUrl.layerConfig())
)

demo.pipe(Effect.provide(services), NodeRuntime.runMain)
