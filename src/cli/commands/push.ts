/** `backq push`: pushes a notification at once, without a queue. */
import * as Command from "effect/cli/Command"
import { apns } from "./push-apns.ts"
import { fcm } from "./push-fcm.ts"
import { webpush } from "./push-webpush.ts"

/** `backq push`. */
export const push = Command.make("push").pipe(
  Command.withDescription("Push a notification at once, without a queue"),
  Command.withSubcommands([apns, fcm, webpush])
)
