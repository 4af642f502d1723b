/**
 * A worker that runs only the programs of a list, regardless of the publisher.
 *
 *     npx tsx scripts/examples/process-policy.ts
 *
 * It does not start a command that the policy refuses: it buries the job with
 * the rule that the command breaks.
 */
import { Console, Effect, Layer, Stream } from "effect"
// in a project: from "backq", "backq/broker-url", "backq/main" and "backq/process"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { Publisher, Worker } from "../../src/index.ts"
import { Main } from "../../src/main/index.ts"
import { OutputTail, Process, ProcessJob, type ProcessPayload, ProcessPolicy } from "../../src/process/index.ts"

// With a list of programs, shell lines do not run, and payloads may set only the variables of `environment`.
const policy = ProcessPolicy.make({
  programs: ["date", "uname"],
  environment: ["TZ"],
  maxTimeout: "1 minute"
})

const commands: ReadonlyArray<ProcessPayload.ProcessPayload> = [
  { command: ["date", "+%Y"], env: { TZ: "UTC" } },
  { command: ["rm", "-r", "reports"] },
  { command: "uname; rm -r reports" },
  { command: ["uname"], env: { LD_PRELOAD: "/tmp/evil.so" } }
]

const outputOf = (result: unknown): string => OutputTail.toText((result as Process.Exited).stdout).trim()

const program = Effect.gen(function*() {
  yield* Publisher.publishAll(ProcessJob.job, commands)
  yield* Worker.stream({ concurrency: 1, maxJobs: commands.length }, ProcessJob.handler()).pipe(
    Stream.runForEach((outcome) =>
      Console.log(
        outcome._tag === "Buried"
          ? `buried: ${outcome.reason}`
          : `${outcome._tag}: ${outcome._tag === "Done" ? outputOf(outcome.result) : ""}`
      )
    )
  )
})

program.pipe(
  Effect.provide([Process.ProcessRunner.layer, ProcessPolicy.layer(policy)]),
  Effect.provide(Publisher.layer.pipe(Layer.provideMerge(BrokerUrl.layerConfig()))),
  Main.run
)
