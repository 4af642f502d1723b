/**
 * `backq push apns`: pushes one notification at once, without a queue, and prints
 * Apple's answers.
 */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Apns } from "../../push/apns/index.ts"
import { apnsFlags, apnsLayer } from "../flags/apns.ts"
import * as Flags from "../flags/flags.ts"
import { notificationFlags, pushOf } from "../flags/notification.ts"
import { report } from "../pushing.ts"
import { interruptible, withLogging } from "../root.ts"

/** `backq push apns`. */
export const apns = Command.make(
  "apns",
  { ...notificationFlags, ...apnsFlags, json: Flags.json },
  (flags) =>
    Effect.gen(function*() {
      const { notification, tokens } = yield* pushOf(flags)
      const targets = new Set(tokens)
      const pushes = Stream.fromIterable(targets).pipe(
        Stream.map((token) => ({ notification, token })),
        Apns.sendAll,
        Stream.map(({ push: { token }, result }) => ({ target: token, result }))
      )
      yield* report(pushes, {
        json: flags.json,
        name: "token",
        idOf: ({ apnsId }) => apnsId,
        total: targets.size
      }).pipe(
        // the notification has the topic
        Effect.provide(apnsLayer({ ...flags, topic: undefined })),
        withLogging
      )
    }).pipe(interruptible)
).pipe(
  Command.withDescription(
    "Push a notification to devices of Apple at once, without a queue. Prints the id and the token of each push. " +
      "Exit codes: 0 accepted, 1 usage or a bad key or certificate, 2 Apple unreachable or not usable, 4 refused"
  ),
  Command.withShortDescription("Push to devices of Apple"),
  Command.withExamples([
    {
      command: "backq push apns --key AuthKey_ABC123DEFG.p8 --team-id DEF123GHIJ --topic com.example.app " +
        "--body Hello --token 0a1b2c3d",
      description: "An alert"
    }
  ])
)
