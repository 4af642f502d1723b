/** `backq work`: runs workers. */
import * as Command from "effect/cli/Command"
import { apns } from "./work-apns.ts"
import { fcm } from "./work-fcm.ts"
import { process } from "./work-process.ts"
import { webpush } from "./work-webpush.ts"

/** `backq work`. */
export const work = Command.make("work").pipe(
  Command.withDescription("Run jobs"),
  Command.withSubcommands([process, apns, fcm, webpush])
)
