/**
 * `backq publish webpush`: publishes one message for any number of browsers, and prints
 * the ids of the jobs.
 */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { WebPushJob } from "../../push/webpush/index.ts"
import { publishFlags, publishJobs, publishOptionsOf } from "../flags/publishing.ts"
import { webMessageFlags, webMessageOf } from "../flags/webMessage.ts"
import { interruptible } from "../root.ts"

/** `backq publish webpush`. */
export const webpush = Command.make(
  "webpush",
  { ...webMessageFlags, ...publishFlags("webpush") },
  (flags) =>
    Effect.gen(function*() {
      const { message, subscriptions } = yield* webMessageOf(flags)
      yield* publishJobs(WebPushJob.publish(message, subscriptions, publishOptionsOf(flags)))
    }).pipe(interruptible)
).pipe(
  Command.withDescription(
    "Publish a message for one or many browsers, in jobs of at most 200 subscriptions. Prints the ids of the jobs. " +
      "Exit codes: 0 accepted, 1 usage, 2 broker unreachable, 3 no idle workers, 4 refused"
  ),
  Command.withShortDescription("Publish a message for browsers"),
  Command.withExamples([
    {
      command: "backq publish webpush --subscriptions subscriptions.json --payload news.json --ttl 1h --urgency high",
      description: "JSON, to many browsers"
    }
  ])
)
