/**
 * A worker for process jobs. Copy it into your project.
 *
 *     BACKQ_BROKER=beanstalk://127.0.0.1:11300 npx tsx scripts/examples/process-worker.ts
 *
 * SIGTERM, SIGHUP or Ctrl-C stops it: running jobs may finish, and it requeues
 * the rest. A second SIGTERM or Ctrl-C, or SIGQUIT, ends it and its processes at
 * once. A supervisor must start `node` or `tsx` itself: npx does not forward
 * SIGTERM.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
// in a project: from "backq", "backq/broker-url", "backq/main" and "backq/process"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { Worker } from "../../src/index.ts"
import { Main } from "../../src/main/index.ts"
import { ExitPolicy, Process, ProcessJob, ProcessPolicy } from "../../src/process/index.ts"

const handler = ProcessJob.handler({
  // the codes of sysexits.h: a retry does not help against bad usage and bad data, but may after a temporary failure
  exitPolicy: ExitPolicy.make({ permanent: [64, 65], retryAfter: { 75: "1 minute" } })
})

// Anyone who can publish can run commands. If you don't trust the publishers, name the allowed `programs`.
const policy = ProcessPolicy.layer(ProcessPolicy.make({ maxTimeout: "1 hour" }))

Worker.run({ concurrency: 8, grace: "30 seconds" }, handler).pipe(
  Effect.provide(Layer.mergeAll(BrokerUrl.layerConfig(), Process.ProcessRunner.layer, policy)),
  Main.run
)
