/**
 * `backq push webpush`: sends one message to browsers at once, without a queue, and
 * prints the answers of the push services.
 */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Subscription, WebPush } from "../../push/webpush/index.ts"
import * as Flags from "../flags/flags.ts"
import { webMessageFlags, webMessageOf } from "../flags/webMessage.ts"
import { webPushFlags, webPushLayer } from "../flags/webpush.ts"
import { report } from "../pushing.ts"
import { interruptible, withLogging } from "../root.ts"

/** `backq push webpush`. */
export const webpush = Command.make(
  "webpush",
  { ...webMessageFlags, ...webPushFlags, json: Flags.json },
  (flags) =>
    Effect.gen(function*() {
      const { message, subscriptions } = yield* webMessageOf(flags)
      const pushes = Stream.fromIterable(subscriptions).pipe(
        Stream.map((subscription) => ({ message, subscription })),
        WebPush.sendAll,
        // the host and a hash: an endpoint is a secret
        Stream.map(({ push: { subscription }, result }) => ({
          target: Subscription.nameOf(subscription.endpoint),
          result
        }))
      )
      yield* report(pushes, {
        json: flags.json,
        name: "subscription",
        idOf: () => "accepted by",
        total: subscriptions.length
      }).pipe(Effect.provide(webPushLayer(flags)), withLogging)
    }).pipe(interruptible)
).pipe(
  Command.withDescription(
    "Send a message to browsers at once, without a queue. Prints a line for each subscription: its host and a hash. " +
      "Exit codes: 0 accepted, 1 usage or a bad key, 2 push service unreachable or not usable, 4 refused"
  ),
  Command.withShortDescription("Send a message to browsers"),
  Command.withExamples([
    {
      command: "backq push webpush --key vapid.json --subject mailto:ops@example.com " +
        "--subscriptions subscriptions.json --body Hello --ttl 1h",
      description: "A text"
    }
  ])
)
