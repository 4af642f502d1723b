/**
 * A worker for process jobs, to be copied.
 *
 *     BACKQ_BROKER=beanstalk://127.0.0.1:11300 npx tsx scripts/examples/process-worker.ts
 *
 * SIGTERM, SIGHUP or Ctrl-C stops it: what runs may finish, the rest goes back.
 * A second one, or SIGQUIT, ends it at once, and its processes with it. A
 * supervisor has to start `node` or `tsx` itself: npx does not pass SIGTERM on.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
// in a project: from "backq", "backq/broker-url", "backq/main" and "backq/process"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { Worker } from "../../src/index.ts"
import { Main } from "../../src/main/index.ts"
import { ExitPolicy, Process, ProcessJob, ProcessPolicy } from "../../src/process/index.ts"

const handler = ProcessJob.handler({
  // the codes of sysexits.h: bad usage and bad data never get better, a temporary failure may
  exitPolicy: ExitPolicy.make({ permanent: [64, 65], retryAfter: { 75: "1 minute" } })
})

// Whoever can publish can run commands: name the `programs` that may run where publishers aren't trusted.
const policy = ProcessPolicy.layer(ProcessPolicy.make({ maxTimeout: "1 hour" }))

Worker.run({ concurrency: 8, grace: "30 seconds" }, handler).pipe(
  Effect.provide(Layer.mergeAll(BrokerUrl.layerConfig(), Process.ProcessRunner.layer, policy)),
  Main.run
)
