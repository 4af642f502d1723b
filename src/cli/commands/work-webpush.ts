/** `backq work webpush`: a worker that sends the messages of a queue to browsers. */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Publisher from "../../Publisher.ts"
import { WebPushJob, WebPushPayload } from "../../push/webpush/index.ts"
import { webPushFlags, webPushLayer } from "../flags/webpush.ts"
import { atMostOnce, retryFlags, runWorker, withRetries, workFlags } from "../flags/working.ts"

/** A job has up to 200 messages, whose encryption takes CPU. */
const concurrency = 64

const config = {
  ...webPushFlags,
  atMostOnce: atMostOnce("message"),
  ...workFlags({ queue: "webpush", what: "jobs", concurrency }),
  ...retryFlags()
}

/** `backq work webpush`. */
export const webpush = Command.make("webpush", config, (flags) =>
  Effect.suspend(() => {
    const handler = WebPushJob.handler({
      onUnknown: flags.atMostOnce ? "Drop" : "Repeat",
      job: withRetries(WebPushJob.job, WebPushPayload.WebPushPayload, flags)
    })
    return runWorker(
      { ...flags, concurrency: flags.concurrency ?? concurrency },
      handler,
      Layer.merge(webPushLayer(flags), Publisher.layer)
    )
  })).pipe(
    Command.withDescription(
      "Send the messages of a queue to browsers. Publishes dead subscriptions on the queue webpush-subscriptions. " +
        "Exit codes: 0 idle, done or stopped, 1 usage or a bad key, 2 broker unreachable or not usable"
    ),
    Command.withShortDescription("Send the messages of a queue to browsers"),
    Command.withExamples([
      {
        command: "backq work webpush --key vapid.json --subject mailto:ops@example.com",
        description: "With a key of backq vapid-keys"
      }
    ])
  )
