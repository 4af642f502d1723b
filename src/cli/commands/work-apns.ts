/** `backq work apns`: a worker that pushes the notifications of a queue. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Publisher from "../../Publisher.ts"
import { ApnsJob, ApnsPayload } from "../../push/apns/index.ts"
import { apnsFlags, apnsLayer } from "../flags/apns.ts"
import * as Flags from "../flags/flags.ts"
import { atMostOnce, retryFlags, runWorker, withRetries, workFlags } from "../flags/working.ts"

/** High, because a push mostly waits for Apple. */
const concurrency = 256

const config = {
  ...apnsFlags,
  topic: Flag.String("topic").pipe(
    Flag.withDescription("The bundle id for notifications without a topic. Default: BACKQ_APNS_TOPIC"),
    Flags.optional
  ),
  atMostOnce: atMostOnce("push"),
  ...workFlags({ queue: "apns", what: "jobs", concurrency }),
  ...retryFlags()
}

/** `backq work apns`. */
export const apns = Command.make("apns", config, (flags) =>
  Effect.suspend(() => {
    const handler = ApnsJob.handler({
      onUnknown: flags.atMostOnce ? "Drop" : "Repeat",
      job: withRetries(ApnsJob.job, ApnsPayload.ApnsPayload, flags)
    })
    return runWorker(
      { ...flags, concurrency: flags.concurrency ?? concurrency },
      handler,
      Layer.merge(apnsLayer(flags), Publisher.layer)
    )
  })).pipe(
    Command.withDescription(
      "Push the notifications of a queue. Publishes dead tokens on the queue apns-tokens. " +
        "Exit codes: 0 idle, done or stopped, 1 usage or a bad key or certificate, 2 broker unreachable or not usable"
    ),
    Command.withShortDescription("Push the notifications of a queue"),
    Command.withExamples([
      {
        command: "backq work apns --key AuthKey_ABC123DEFG.p8 --team-id DEF123GHIJ --topic com.example.app",
        description: "With a key"
      },
      {
        command: "BACKQ_APNS_PASSPHRASE=... backq work apns --certificate push.p12 --environment sandbox",
        description: "With a certificate"
      }
    ])
  )
