/**
 * What backq does, in a few seconds and without a server: a publisher and a
 * worker in one program, over the broker in memory.
 *
 *     npm start
 *
 * `BACKQ_BROKER=beanstalk://127.0.0.1:11300 npm start` runs it over beanstalkd.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { tmpdir } from "node:os"
import * as BrokerUrl from "../src/BrokerUrl.ts"
import { Job, Publisher, Worker } from "../src/index.ts"
import { Process, ProcessJob, ProcessPayload } from "../src/process/index.ts"

const Demo = Job.make("process", {
  queue: "demo",
  payload: ProcessPayload.ProcessPayload,
  retry: Schedule.exponential("200 millis").pipe(Schedule.upTo({ times: 2 }))
})

const publish = Effect.gen(function*() {
  const mark = `${tmpdir()}/backq-${process.pid}`
  const failsOnce = `if [ -e ${mark} ]; then rm ${mark}; else touch ${mark}; exit 1; fi`
  yield* Publisher.publish(Demo, { command: ["echo", "a process that succeeds"] })
  yield* Publisher.publish(Demo, { command: ["sh", "-c", failsOnce] })
  yield* Publisher.publish(Demo, { command: ["ls", "/no/such/folder"] })
  yield* Publisher.publish(Demo, { command: ["no-such-program"] })
  yield* Publisher.publish(Demo, { command: ["date"] }, { delay: "2 seconds" })
  yield* Effect.log("published 5 jobs: 2 that succeed, 1 that fails once, 2 that can't succeed")
})

const work = Worker.stream({ idleTimeout: "3 seconds" }, ProcessJob.handler({ job: Demo })).pipe(
  Stream.filter((outcome) => outcome._tag === "Done"),
  Stream.runForEach(({ duration, jobId }) => Effect.log(`job ${jobId} done in ${duration} ms`))
)

const broker = Layer.unwrap(Effect.map(
  Config.String("BACKQ_BROKER").pipe(Config.withDefault("memory:")),
  (url) => BrokerUrl.layer(url)
))

publish.pipe(
  Effect.andThen(work),
  Effect.provide(Layer.mergeAll(Publisher.layer, Process.ProcessRunner.layer).pipe(Layer.provideMerge(broker))),
  NodeRuntime.runMain
)
