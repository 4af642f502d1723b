/**
 * `backq publish fcm`: publishes one message for any number of Google's devices, and
 * prints the ids of the jobs.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import { FcmJob } from "../../push/fcm/index.ts"
import { fcmMessageFlags, fcmMessageOf } from "../flags/fcmMessage.ts"
import * as Flags from "../flags/flags.ts"
import { publishFlags, publishJobs, publishOptionsOf } from "../flags/publishing.ts"
import { interruptible } from "../root.ts"

const project = Flag.String("project").pipe(
  Flag.withDescription("The project's id. Default: that of the worker"),
  Flags.optional
)

/** `backq publish fcm`. */
export const fcm = Command.make(
  "fcm",
  { ...fcmMessageFlags, project, ...publishFlags("fcm") },
  (flags) =>
    Effect.gen(function*() {
      const { message, targets } = yield* fcmMessageOf(flags)
      yield* publishJobs(FcmJob.publish(message, targets, { ...publishOptionsOf(flags), project: flags.project }))
    }).pipe(interruptible)
).pipe(
  Command.withDescription(
    "Publish a message for one or many devices of Google, in jobs of at most 500 tokens. Prints the ids of the jobs. " +
      "Exit codes: 0 accepted, 1 usage, 2 broker unreachable, 3 no idle workers, 4 refused"
  ),
  Command.withShortDescription("Publish a message for devices of Google"),
  Command.withExamples([
    {
      command: "backq publish fcm --title Hello --data order=42 --tokens devices.txt",
      description: "A notification with data, to many devices"
    }
  ])
)
