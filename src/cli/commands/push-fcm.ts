/**
 * `backq push fcm`: pushes one message to Google's devices at once, without a queue, and
 * prints Google's answers.
 */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Fcm, Target } from "../../push/fcm/index.ts"
import { fcmFlags, fcmLayer } from "../flags/fcm.ts"
import { fcmMessageFlags, fcmMessageOf } from "../flags/fcmMessage.ts"
import * as Flags from "../flags/flags.ts"
import { report } from "../pushing.ts"
import { interruptible, withLogging } from "../root.ts"

/** `backq push fcm`. */
export const fcm = Command.make(
  "fcm",
  { ...fcmMessageFlags, ...fcmFlags, json: Flags.json },
  (flags) =>
    Effect.gen(function*() {
      const { message, targets } = yield* fcmMessageOf(flags)
      const pushes = Stream.fromIterable(targets).pipe(
        Stream.map((target) => ({ message, target })),
        Fcm.sendAll,
        Stream.map(({ push: { target }, result }) => ({ target: Target.fieldOf(target).value, result }))
      )
      yield* report(pushes, {
        json: flags.json,
        name: "target",
        idOf: ({ name }) => name ?? "accepted",
        total: targets.length
      }).pipe(Effect.provide(fcmLayer(flags)), withLogging)
    }).pipe(interruptible)
).pipe(
  Command.withDescription(
    "Push a message to devices of Google at once, without a queue. Prints Google's name of each message and its target. " +
      "Exit codes: 0 accepted, 1 usage or a bad account, 2 Google unreachable or not usable, 4 refused"
  ),
  Command.withShortDescription("Push to devices of Google"),
  Command.withExamples([
    {
      command:
        "backq push fcm --account service-account.json --title Hello --body \"How are you?\" --token dQw4:APA91b",
      description: "A notification"
    }
  ])
)
