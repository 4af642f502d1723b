/**
 * `backq publish apns`: publishes one notification for any number of devices,
 * and prints the ids of the jobs.
 */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { ApnsJob } from "../../push/apns/index.ts"
import { notificationFlags, pushOf } from "../flags/notification.ts"
import { publishFlags, publishJobs, publishOptionsOf } from "../flags/publishing.ts"
import { interruptible } from "../root.ts"

/** `backq publish apns`. */
export const apns = Command.make(
  "apns",
  { ...notificationFlags, ...publishFlags("apns") },
  (flags) =>
    Effect.gen(function*() {
      const { notification, tokens } = yield* pushOf(flags)
      yield* publishJobs(ApnsJob.publish(notification, tokens, publishOptionsOf(flags)))
    }).pipe(interruptible)
).pipe(
  Command.withDescription(
    "Publish a notification for one or many devices, in jobs of 500 devices. Prints the ids of the jobs. " +
      "Exit codes: 0 accepted, 1 usage, 2 broker unreachable, 3 no idle workers, 4 refused"
  ),
  Command.withShortDescription("Publish a push notification"),
  Command.withExamples([
    {
      command: "backq publish apns --topic com.example.app --title Hello --body \"How are you?\" --token 0a1b2c3d",
      description: "An alert"
    },
    {
      command: "backq publish apns --payload news.json --tokens devices.txt --expiration 1h",
      description: "Your own payload, to many devices"
    }
  ])
)
