/** `backq work fcm`: a worker that pushes the messages of a queue to Google's devices. */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Publisher from "../../Publisher.ts"
import { FcmJob, FcmPayload } from "../../push/fcm/index.ts"
import { fcmFlags, fcmLayer } from "../flags/fcm.ts"
import { atMostOnce, retryFlags, runWorker, withRetries, workFlags } from "../flags/working.ts"

/** High, because a push mostly waits for Google. */
const concurrency = 256

const config = {
  ...fcmFlags,
  atMostOnce: atMostOnce("push"),
  ...workFlags({ queue: "fcm", what: "jobs", concurrency }),
  ...retryFlags()
}

/** `backq work fcm`. */
export const fcm = Command.make("fcm", config, (flags) =>
  Effect.suspend(() => {
    const handler = FcmJob.handler({
      onUnknown: flags.atMostOnce ? "Drop" : "Repeat",
      job: withRetries(FcmJob.job, FcmPayload.FcmPayload, flags)
    })
    return runWorker(
      { ...flags, concurrency: flags.concurrency ?? concurrency },
      handler,
      Layer.merge(fcmLayer(flags), Publisher.layer)
    )
  })).pipe(
    Command.withDescription(
      "Push the messages of a queue to devices of Google. Publishes dead tokens on the queue fcm-tokens. " +
        "Exit codes: 0 idle, done or stopped, 1 usage or a bad account, 2 broker unreachable or not usable"
    ),
    Command.withShortDescription("Push the messages of a queue to devices of Google"),
    Command.withExamples([
      { command: "backq work fcm --account service-account.json", description: "With a service account" }
    ])
  )
